import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';
import { type ParameterSpec, ParameterStore } from '../../../src/lib/optim/index.js';
import { orthogonalise } from '../../../src/lib/optim/muon.js';
import { assertClose } from '../../tensors.js';

before(() => selectBackend());

type Matrix = number[][];
const transpose = (a: Matrix): Matrix => a[0].map((_, j) => a.map((row) => row[j]));
const multiply = (a: Matrix, b: Matrix): Matrix => {
  const columns = transpose(b);
  return a.map((row) => columns.map((column) => row.reduce((sum, x, i) => sum + x * column[i], 0)));
};
const combine = (x: number, a: Matrix, y: number, b: Matrix): Matrix =>
  a.map((row, i) => row.map((value, j) => x * value + y * b[i][j]));
const rowsOf = (flat: ArrayLike<number>, columns: number): Matrix =>
  Array.from({ length: flat.length / columns }, (_, i) =>
    Array.from({ length: columns }, (_, j) => flat[i * columns + j]),
  );
const normals = (length: number, row: number): Float32Array => {
  const out = new Float32Array(length);
  fillNormal(out, 3, 1, row);
  return out;
};

/** Five steps X <- a X + (b G + c G^2) X with G = X X^T, from X over its norm: all of it in f64. */
function newtonSchulz(x: Matrix): Matrix {
  const norm = Math.sqrt(x.flat().reduce((sum, value) => sum + value * value, 0));
  let y = combine(1 / norm, x, 0, x);
  for (let step = 0; step < 5; step++) {
    const gram = multiply(y, transpose(y));
    y = combine(3.4445, y, 1, multiply(combine(-4.775, gram, 2.0315, multiply(gram, gram)), y));
  }
  return y;
}

for (const [rows, columns] of [
  [4, 9],
  [9, 4],
  [6, 6],
]) {
  test(`a ${rows} x ${columns} matrix is made orthogonal without turning it`, () => {
    const x = normals(rows * columns, rows);
    const y = orthogonalise(tf.tensor2d(x, [rows, columns])).dataSync();
    assertClose(y, newtonSchulz(rowsOf(x, columns)).flat(), 1e-4, 'Newton-Schulz');
  });
}

test('singular values far apart come near 1, and the vectors stay', () => {
  // A rotation by 30 degrees, stretched by 5 and by 0.2.
  const [cosine, sine] = [Math.cos(Math.PI / 6), Math.sin(Math.PI / 6)];
  const [u, v] = [
    [
      [cosine, -sine],
      [sine, cosine],
    ],
    [
      [0.6, -0.8],
      [0.8, 0.6],
    ],
  ];
  const x = multiply(u, multiply([[5, 0], [0, 0.2]], transpose(v))); // biome-ignore format: a matrix
  const y = orthogonalise(tf.tensor2d(x)).arraySync();
  const [[first, off], [offToo, second]] = multiply(transpose(u), multiply(y, v));
  for (const value of [first, second]) assert.ok(value > 0.65 && value < 1.25, `${value}`);
  assertClose([off, offToo], [0, 0], 1e-5, 'other vectors');
});

/** Writes gradients as ranks that sum them do: a store that lies on a device hears of it. */
const setGradients = (store: ParameterStore, gradients: readonly Float32Array[]): void =>
  store.exchangeGradients(() => {
    for (const [i, { gradient }] of store.parameters.entries()) gradient!.set(gradients[i]);
  });

test('steps of matrices follow Muon, the others AdamW', () => {
  const specs: (ParameterSpec & { data: Float32Array })[] = [
    { name: 'wide', shape: [3, 8], data: normals(24, 1), learning: 'muon' },
    { name: 'bias', shape: [5], data: normals(5, 2) },
    { name: 'tall', shape: [7, 2], data: normals(14, 3), learning: 'muon' },
  ];
  const options = { lr: 0.02, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, clip: 1 };
  const store = new ParameterStore(specs, { averages: 2 });
  const alone = new ParameterStore([specs[1]]);
  const values = new Map(specs.map(({ name, shape, data }) => [name, rowsOf(data, shape.at(-1)!)]));
  const momenta = new Map([...values].map(([name, matrix]) => [name, combine(0, matrix, 0, matrix)]));
  const averages = [0.9, 0.5].map((decay) => ({ decay, wide: values.get('wide')! }));
  for (let step = 1; step <= 4; step++) {
    const gradients = specs.map(({ data }, i) => normals(data.length, 10 * step + i));
    setGradients(store, gradients);
    const norm = store.step({ ...options, step, emaDecays: [0.9, 0.5] });
    const clip = 1 / (norm + 1e-6);
    setGradients(alone, [gradients[1].map((g) => g * clip)]);
    alone.step({ ...options, clip: null, step, emaDecays: [] });
    for (const [i, { name, shape }] of specs.entries()) {
      if (name === 'bias') continue;
      const gradient = combine(clip, rowsOf(gradients[i], shape[1]), 0, values.get(name)!);
      momenta.set(name, combine(0.95, momenta.get(name)!, 1, gradient));
      const update = newtonSchulz(combine(1, gradient, 0.95, momenta.get(name)!));
      const scale = 0.2 * Math.sqrt(Math.max(...shape));
      values.set(name, combine(1 - 0.02 * 0.1, values.get(name)!, -0.02 * scale, update));
    }
    for (const average of averages) {
      average.wide = combine(average.decay, average.wide, 1 - average.decay, values.get('wide')!);
    }
  }
  const [wide, bias, tall] = store.parameters;
  assertClose(wide.value, values.get('wide')!.flat(), 1e-4, 'wide');
  assertClose(tall.value, values.get('tall')!.flat(), 1e-4, 'tall');
  assertClose(bias.value, alone.parameters[0].value, 1e-6, 'bias');
  assertClose(wide.firstMoment!, momenta.get('wide')!.flat(), 1e-5, 'momentum');
  assert.equal(wide.secondMoment, null);
  for (const [i, average] of averages.entries()) {
    assertClose(wide.averages[i], average.wide.flat(), 1e-4, `average of decay ${average.decay}`);
  }
});
