import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { op, operation, reshape, Value } from '../../../src/lib/engine/graph/value.js';
import { constantOperands } from '../../../src/lib/engine/onnx/baking.js';
import { lower } from '../../../src/lib/engine/onnx/lower/index.js';
import { CPU_LOWERING, type Lowering, processorLowering } from '../../../src/lib/engine/onnx/lower/lowering.js';
import { encodeModel } from '../../../src/lib/engine/onnx/model.js';
import { isOfThisVersion, productUnits } from '../../../src/lib/engine/onnx/native.js';
import { PackedArrays } from '../../../src/lib/engine/onnx/packing.js';
import { Session } from '../../../src/lib/engine/onnx/session.js';
import { fillNormal, PURPOSE } from '../../../src/lib/numbers/random.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { temporaryFolder } from '../../commands/binary.js';
import { SAMPLES } from './operation-samples.js';

const skip = productUnits() ? false : 'no units for bf16, or native/ is not built';
const hasCompiler = spawnSync('cc', ['--version']).status === 0;

test('products of each level agree with f64, by a model of the tiles of AMX where there are none', {
  skip: hasCompiler && process.arch === 'x64' && process.platform === 'linux' ? false : 'no C compiler for x64',
}, () => {
  const { status, stdout, stderr } = spawnSync('native/test/run.sh', { encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
});

const BUILT = `native/build/${process.platform}-${process.arch}.so`;

test('a library is of this version, and one that was built from other sources is not', {
  skip: hasCompiler && existsSync(BUILT) ? false : 'no C compiler, or native/ is not built',
}, (t) => {
  assert.ok(isOfThisVersion(path.resolve(BUILT)));
  const cwd = temporaryFolder(t);
  for (const [name, source] of [
    ['older', 'int repa_native_version(void) { return 0; }'],
    ['oldest', 'int repa_product_units(void) { return 1; }'],
  ]) {
    const library = path.join(cwd, `${name}.so`);
    const { status } = spawnSync('cc', ['-shared', '-fPIC', '-x', 'c', '-o', library, '-'], { input: source });
    assert.equal(status, 0);
    assert.ok(!isOfThisVersion(library), name);
  }
  assert.ok(!isOfThisVersion(path.join(cwd, 'none.so')));
});

const normal = (shape: readonly number[], stream: number): Float32Array => {
  const data = new Float32Array(sizeOf(shape));
  fillNormal(data, stream, PURPOSE.noise, 0);
  return data;
};

function compute(lowering: Lowering, shapes: readonly (readonly number[])[], a: boolean, b: boolean, scale: number) {
  const inputs = shapes.map((shape) => new Value('float32', shape, { kind: 'input' }));
  const outputs = operation('product', inputs, { transposeA: a, transposeB: b, scale });
  const { graph, feeds } = lower(outputs, lowering, () => false);
  const session = new Session(graph, encodeModel(graph), { threads: 2, reused: true });
  const data = feeds.map((feed) => normal(feed.shape, inputs.indexOf(feed)));
  const [y] = session.run(data);
  session.dispose();
  return { y: y as Float32Array, types: graph.nodes.map(({ type }) => type) };
}

/** The largest difference by the root mean square of what is expected. */
function difference(y: Float32Array, expected: Float32Array): number {
  const size = Math.sqrt(expected.reduce((sum, x) => sum + x * x, 0) / expected.length);
  return y.reduce((worst, x, i) => Math.max(worst, Math.abs(x - expected[i])), 0) / size;
}

const CASES: [what: string, shapes: number[][], transposeA: boolean, transposeB: boolean][] = [
  [
    'matrices',
    [
      [130, 70],
      [70, 45],
    ],
    false,
    false,
  ],
  ['a bias', [[130, 70], [45, 70], [45]], false, true],
  [
    'the gradient of a weight',
    [
      [130, 45],
      [130, 70],
    ],
    true,
    false,
  ],
  [
    'heads',
    [
      [2, 3, 40, 24],
      [2, 3, 33, 24],
    ],
    false,
    true,
  ],
  [
    'one matrix for a batch',
    [
      [40, 24],
      [2, 3, 24, 20],
    ],
    false,
    false,
  ],
  [
    'one matrix of as many axes',
    [
      [1, 1, 40, 24],
      [2, 3, 24, 20],
    ],
    false,
    false,
  ],
];

for (const [what, shapes, transposeA, transposeB] of CASES) {
  test(`an operation of ONNX Runtime multiplies ${what} by bf16 units`, { skip }, () => {
    const expected = compute(CPU_LOWERING, shapes, transposeA, transposeB, 0.5);
    for (const [precision, tolerance] of [
      ['bf16', 2e-2],
      ['f32x2', 1e-4],
    ] as const) {
      const { y, types } = compute(processorLowering(precision), shapes, transposeA, transposeB, 0.5);
      assert.deepEqual(types, ['Product']);
      const error = difference(y, expected.y);
      assert.ok(error > 0 && error < tolerance, `${precision}: ${error}`);
    }
  });
}

test('a batch that broadcasts in both ways is left to ONNX Runtime', { skip }, () => {
  const shapes = [
    [2, 1, 40, 16],
    [1, 3, 16, 20],
  ];
  const { y, types } = compute(processorLowering('bf16'), shapes, false, false, 1);
  assert.deepEqual(types, ['FusedMatMul']);
  assert.deepEqual(y, compute(CPU_LOWERING, shapes, false, false, 1).y);
});

/** What is computed of `wanted` where constant operands are part of the graph, and by which nodes. */
function computeBaked(wanted: readonly Value[], lowering: Lowering) {
  const constants = constantOperands(wanted, 'bake', lowering);
  const { graph, feeds } = lower(wanted, lowering, (leaf) => constants.has(leaf));
  const session = new Session(graph, encodeModel(graph), { threads: 2, reused: true });
  const results = session.run(feeds.map(({ data }) => data!)) as Float32Array[];
  session.dispose();
  return { results, types: graph.nodes.map(({ type }) => type) };
}

test('what is packed of an array is shared by the programs that have it, and made anew for those that come after', () => {
  const packed = new PackedArrays();
  const [a, b, c] = [packed.user(), packed.user(), packed.user()];
  const array = Float32Array.of(1, 2);
  const pack = (data: Float32Array) => data.map((x) => 2 * x);
  const first = a.packing(array, 'twice', pack);
  assert.deepEqual([...first], [2, 4]);
  assert.equal(b.packing(array, 'twice', pack), first);
  assert.notEqual(a.packing(array, 'otherwise', pack), first);
  a.release();
  array[0] = 3; // which nobody may do before all of them are gone
  assert.equal(b.packing(array, 'twice', pack), first);
  b.release();
  assert.deepEqual([...c.packing(array, 'twice', pack)], [6, 4]);
});

const FROZEN = [
  ['product', ['PackedProduct', 'Product', 'FusedMatMul']],
  ['attention', ['MultiHeadAttention', 'Reshape']],
  ['averagePool', ['AveragePool']],
  ['geluGradient', ['GeluGradient']],
] as const;

for (const [name, expectedTypes] of FROZEN) {
  test(`with constants packed ahead, ${name} agrees with ONNX Runtime's`, { skip }, () => {
    const wanted = SAMPLES[name]();
    const expected = computeBaked(wanted, CPU_LOWERING);
    for (const [precision, tolerance] of [
      ['bf16', 3e-2],
      ['f32x2', 1e-4],
    ] as const) {
      const { results, types } = computeBaked(wanted, processorLowering(precision));
      if (precision === 'bf16') assert.deepEqual(new Set(types), new Set(expectedTypes));
      results.forEach((y, i) => {
        const error = difference(y, expected.results[i]);
        assert.ok(error < tolerance, `${precision}, output ${i}: ${error}`);
      });
    }
  });
}

const data = (shape: readonly number[], stream: number) =>
  new Value('float32', shape, { kind: 'data', data: normal(shape, stream) });

test('products in f32x2 that are small along any axis are left to ONNX Runtime', { skip }, () => {
  for (const shapes of [
    [
      [16, 40],
      [40, 70],
    ],
    [
      [40, 16],
      [16, 70],
    ],
    [
      [40, 70],
      [70, 16],
    ],
  ]) {
    const { y } = compute(processorLowering('f32x2'), shapes, false, false, 1);
    assert.deepEqual(y, compute(CPU_LOWERING, shapes, false, false, 1).y);
  }
});

test('attention of a few heads in bf16 agrees with that of ONNX Runtime, which computes that of f32x2', {
  skip,
}, () => {
  const wanted = [
    op('attention', [data([2, 40, 3, 24], 1), data([2, 150, 3, 24], 2), data([2, 150, 3, 24], 3)], { scale: 0.2 }),
  ];
  const expected = computeBaked(wanted, CPU_LOWERING).results[0];
  const { results, types } = computeBaked(wanted, processorLowering('bf16'));
  assert.deepEqual(types, ['Attention']);
  assert.ok(difference(results[0], expected) < 3e-2);
  assert.deepEqual(computeBaked(wanted, processorLowering('f32x2')).results[0], expected);
});

const WINDOWS = [
  { stride: 1, padding: [1, 1, 1, 1], dilation: 1 },
  { stride: 2, padding: [0, 0, 1, 1], dilation: 1 },
  { stride: 3, padding: [0, 2, 1, 0], dilation: 2 },
] as const;

for (const window of WINDOWS) {
  test(`a convolution in bf16 of stride ${window.stride}, with ReLU, agrees with that of f32`, { skip }, () => {
    const [x, weight, bias] = [data([2, 41, 12, 35], 1), data([48, 41, 3, 2], 2), data([48], 3)];
    const wanted = [op('unary', [op('convolution', [x, weight, bias], window)], { function: 'relu' })];
    const { results, types } = computeBaked(wanted, processorLowering('bf16'));
    assert.deepEqual(types, ['Convolution', 'Identity']);
    assert.ok(difference(results[0], computeBaked(wanted, CPU_LOWERING).results[0]) < 2e-2);
  });
}

for (const approximation of ['tanh', 'none'] as const) {
  test(`a product computes the GELU (${approximation}) that alone reads it`, { skip }, () => {
    const [x, weight, bias] = [data([2, 20, 70], 1), data([45, 70], 2), data([45], 3)];
    const attributes = { transposeA: false, transposeB: true, scale: 1 / 8 };
    const y = reshape(op('product', [reshape(x, [40, 70]), weight, bias], attributes), [2, 20, 45]);
    const gelu = op('gelu', [y], { approximation });
    const joined = computeBaked([gelu], processorLowering('bf16'));
    assert.ok(!joined.types.includes('Gelu'));
    assert.ok(difference(joined.results[0], computeBaked([gelu], CPU_LOWERING).results[0]) < 2e-2);
    const apart = computeBaked([gelu, y], processorLowering('bf16'));
    assert.ok(apart.types.includes('Gelu'), 'what is read twice is computed by itself');
    assert.ok(difference(apart.results[1], computeBaked([y], CPU_LOWERING).results[0]) < 2e-2);
  });
}

const PLAIN = { stride: 1, padding: [1, 1, 1, 1], dilation: 1 } as const;

/** As a residual block has it: x plus a convolution of silu(scale groupNorm(x) + shift). */
function residualBlock(groups: number) {
  const [x, scale, shift] = [data([2, 32, 12, 20], 1), data([1, 32, 1, 1], 2), data([1, 32, 1, 1], 3)];
  const normal = op('groupNorm', [x], { groups, epsilon: 1e-6 });
  const scaled = op('binary', [normal, scale], { function: 'multiply' });
  const shifted = op('binary', [scaled, shift], { function: 'add' });
  const y = op(
    'convolution',
    [op('swish', [shifted], { steepness: 1 }), data([32, 32, 3, 3], 4), data([32], 5)],
    PLAIN,
  );
  return { normal, shifted, sum: op('binary', [x, y], { function: 'add' }) };
}

for (const groups of [16, 32]) {
  test(`a convolution in bf16 reads a norm of ${groups} groups, and adds to it, in two nodes`, { skip }, () => {
    const { sum } = residualBlock(groups);
    const { results, types } = computeBaked([sum], processorLowering('bf16'));
    assert.deepEqual(types, ['GroupNorm', 'Convolution']);
    assert.ok(difference(results[0], computeBaked([sum], CPU_LOWERING).results[0]) < 2e-2);
  });
}

test('what is read elsewhere too stays a node of its own', { skip }, () => {
  for (const other of ['normal', 'shifted'] as const) {
    const { [other]: read, sum } = residualBlock(16);
    const { results } = computeBaked([read, sum], processorLowering('bf16'));
    const expected = computeBaked([read, sum], CPU_LOWERING).results;
    assert.ok(difference(results[0], expected[0]) < 1e-5, 'norms are computed in f32');
    assert.ok(difference(results[1], expected[1]) < 2e-2);
  }
});

test('a convolution in bf16 of an enlarged image sums the weights of each pixel', { skip }, () => {
  const [x, weight, bias] = [data([2, 41, 12, 35], 1), data([48, 41, 3, 3], 2), data([48], 3)];
  const convolved = op('convolution', [op('enlarge', [x], { factor: 2 }), weight, bias], PLAIN);
  const wanted = [op('unary', [convolved], { function: 'relu' })];
  const { results, types } = computeBaked(wanted, processorLowering('bf16'));
  assert.deepEqual(types, ['Convolution', 'Identity']);
  assert.ok(difference(results[0], computeBaked(wanted, CPU_LOWERING).results[0]) < 2e-2);
});
