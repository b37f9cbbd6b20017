import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { toParameters, type Weights } from '../../../src/lib/models/parameters.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { captureGradients } from '../../../src/lib/optim/index.js';
import { inferNetwork } from '../../../src/lib/repa/infer.js';
import { convolution } from '../../../src/lib/repa/irepa.js';
import type { MethodSettings } from '../../../src/lib/repa/methods.js';
import { forward, type Network, networkParameters } from '../../../src/lib/repa/network.js';
import { trainingLoss } from '../../../src/lib/training/loss.js';
import { modelStore } from '../../../src/lib/training/store.js';
import { networkOf, repaOf } from '../../networks.js';
import { assertClose, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const BASE = { inputSize: 8, depth: 4, hiddenSize: 16, numHeads: 2, numClasses: 3 };
const REPA = repaOf([6], 12);
const tiny = (methods: MethodSettings, alignDepth = 1): Network =>
  networkOf('SiT-S/2', { ...BASE, alignDepth }, methods);

function normals(shape: readonly number[], row: number, scale = 1): Float32Array {
  const out = new Float32Array(sizeOf(shape));
  fillNormal(out, 5, 1, row);
  return out.map((value) => scale * value);
}

/** Weights none of which is zero, so that every term has a gradient. */
const weightsOf = (network: Network): Weights =>
  new Map(
    [...networkParameters(network)].map(([name, { shape }], i) => [name, { shape, data: normals(shape, i, 0.2) }]),
  );

const SHAPES = { x: [3, 4, 8, 8], noise: [3, 4, 8, 8], features: [3, 16, 6] };
const x = normals(SHAPES.x, 100);
const noise = normals(SHAPES.noise, 101);
const features = normals(SHAPES.features, 102);
const t = Float32Array.of(0.2, 0.5, 0.9);
const teacherT = Float32Array.of(0.1, 0.4, 0.75);
const y = Int32Array.of(0, 2, 3);

/** Losses by name, and gradients by parameter. */
function step(network: Network, weights = weightsOf(network)) {
  const store = modelStore(network, { weights });
  const average = store.emaTensors;
  let names: string[] = [];
  const program = captureGradients(
    store,
    (x, noise, t, y, features, teacherT) => {
      const inputs = { x, noise, t, y, features: [features], draws: { sra: { t: teacherT } } };
      const losses = trainingLoss(store.tensors, network, inputs, { path: 'linear', average });
      names = Object.keys(losses);
      return Object.values(losses);
    },
    [SHAPES.x, SHAPES.noise, [3], [3], SHAPES.features, [3]].map((shape, i) => {
      return { shape, dtype: i === 3 ? 'int32' : 'float32' };
    }),
  );
  const values = program.run(x, noise, t, y, features, teacherT).map((value) => Number(value[0]));
  const gradients = new Map(store.parameters.map(({ name, gradient }) => [name, gradient]));
  return { losses: Object.fromEntries(names.map((name, i) => [name, values[i]])), gradients };
}

test('the loss is the weighted sum of its terms, each computed only where it counts', () => {
  const all: MethodSettings = {
    ...REPA,
    'u-repa': { weight: 3 },
    irepa: { projector: 'mlp', kernel: 3, spatialNorm: 1 },
    direction: { weight: 0.7 },
    'delta-fm': { weight: 0.05 },
    'layer-sync': { weight: 0.2, block: 1, teacher: 3 },
    dispersive: { weight: 0.5, block: 2 },
    sra: { weight: 0.3, block: 2, teacher: 4, maxTimeShift: 0.2 },
  };
  const { losses } = step(tiny(all));
  const { total, velocity, direction, contrastive, projection, manifold, layer_sync, dispersive, self_alignment } =
    losses;
  const sum = velocity + 0.7 * direction - 0.05 * contrastive + 0.5 * (projection + 3 * manifold);
  assertClose([total], [sum + 0.2 * layer_sync + 0.5 * dispersive + 0.3 * self_alignment], 1e-5, 'total');
  assert.deepEqual(Object.keys(step(tiny({})).losses), ['total', 'velocity']);
  assert.deepEqual(Object.keys(step(tiny(REPA)).losses), ['total', 'velocity', 'projection']);
});

test('SRA 2: what five layers make of each token is as near to the latents of its patch as the smooth L1 distance says', () => {
  const network = tiny({ 'sra-2': { weight: 1, block: 2, channels: 4 } });
  const weights = weightsOf(network);
  const noisy = x.map((value, i) => value + t[Math.floor(i / 256)] * (noise[i] - value));
  const inputs = { x: tf.tensor(noisy, SHAPES.x), t: tf.tensor(t), y: tf.tensor(y, [3], 'int32') };
  const tokens = forward(toParameters(weights), network, inputs).hidden[1].dataSync(); // [3, 16, 16]
  const layer = (index: number, values: number[]): number[] => {
    const { shape, data } = weights.get(`latent_head.${2 * index}.weight`)!;
    const active = index === 0 ? values : values.map((value) => value / (1 + Math.exp(-value)));
    const row = (out: number): number => active.reduce((sum, value, i) => sum + value * data[out * shape[1] + i], 0);
    return Array.from(weights.get(`latent_head.${2 * index}.bias`)!.data, (bias, out) => bias + row(out));
  };
  let sum = 0;
  for (let token = 0; token < 3 * 16; token++) {
    const start = [...tokens.subarray(token * 16, (token + 1) * 16)];
    const values = [0, 1, 2, 3, 4].reduce((each, index) => layer(index, each), start); // [2, 2, 4]
    const [image, row, column] = [Math.floor(token / 16), Math.floor((token % 16) / 4), token % 4];
    values.forEach((value, i) => {
      const [down, right, channel] = [Math.floor(i / 8), Math.floor(i / 4) % 2, i % 4];
      const latent = x[((image * 4 + channel) * 8 + 2 * row + down) * 8 + 2 * column + right];
      const distance = Math.abs(value - latent);
      sum += distance < 0.05 ? distance ** 2 / 0.1 : distance - 0.025;
    });
  }
  assertClose([step(network, weights).losses.latent_alignment], [sum / x.length], 1e-5, 'latent alignment');
});

describe('where gradients flow', () => {
  /** The same weights, those that a method adds left out without it. */
  const touched = (methods: MethodSettings): ((name: string) => boolean) => {
    const [with_, without] = [tiny(methods), tiny({})];
    const weights = weightsOf(with_);
    const own = networkParameters(without);
    const plain = step(without, new Map([...weights].filter(([name]) => own.has(name))));
    const changed = step(with_, weights);
    return (name) => {
      const before = plain.gradients.get(name);
      const difference = changed.gradients.get(name)!.map((value, i) => value - (before?.[i] ?? 0));
      return largestMagnitude(difference) > 1e-6;
    };
  };

  test('LayerSync reaches the early block and not the late one', () => {
    const reaches = touched({ 'layer-sync': { weight: 0.2, block: 2, teacher: 3 } });
    assert.deepEqual(
      ['blocks.1', 'blocks.2'].map((block) => reaches(`${block}.mlp.fc2.weight`)),
      [true, false],
    );
  });

  test('Dispersive reaches its block and not the next', () => {
    const reaches = touched({ dispersive: { weight: 0.5, block: 2 } });
    assert.deepEqual(
      ['blocks.1', 'blocks.2'].map((block) => reaches(`${block}.mlp.fc2.weight`)),
      [true, false],
    );
  });

  test('Delta-FM and the direction reach the output', () => {
    assert.ok(touched({ 'delta-fm': { weight: 0.05 } })('final_layer.linear.weight'));
    assert.ok(touched({ direction: { weight: 1 } })('final_layer.linear.weight'));
  });

  test('SRA reaches the head and the student, and not the blocks behind', () => {
    const reaches = touched({ sra: { weight: 1, block: 2, teacher: 4, maxTimeShift: 0.2 } });
    assert.ok(
      reaches('ap_head.linear1.weight') && reaches('ap_head.linear2.bias') && reaches('blocks.1.mlp.fc2.weight'),
    );
    assert.ok(!reaches('blocks.2.mlp.fc2.weight') && !reaches('blocks.3.mlp.fc2.weight'));
  });

  test('SRA 2 reaches the head and its block, and not the blocks behind', () => {
    const reaches = touched({ 'sra-2': { weight: 1, block: 2, channels: 4 } });
    assert.ok(reaches('latent_head.0.weight') && reaches('latent_head.8.bias') && reaches('blocks.1.mlp.fc2.weight'));
    assert.ok(!reaches('blocks.2.mlp.fc2.weight'));
  });

  test('the convolution learns', () => {
    const { gradients } = step(tiny({ ...REPA, irepa: { projector: 'conv', kernel: 3, spatialNorm: 1 } }));
    for (const part of ['weight', 'bias']) {
      assert.ok(largestMagnitude(gradients.get(`projectors.0.projection_layer.${part}`)!) > 1e-6, part);
    }
  });
});

describe("iREPA's projector", () => {
  const network = tiny({ ...REPA, irepa: { projector: 'conv', kernel: 3, spatialNorm: null } }, 3);
  const weights = weightsOf(network);

  test('each token is a weighted sum of the 3 x 3 tokens around it', () => {
    const [xT, times, labels] = [tf.tensor(x, SHAPES.x), tf.tensor(t), tf.tensor(y)];
    const p = toParameters(weights);
    const { hidden } = forward(p, network, { x: xT, t: times, y: labels });
    const projected = convolution(3).project(p, 'projectors.0', hidden[2]);
    const tokens = hidden[2].dataSync(); // [3, 16, 16]: tokens in a grid of 4 x 4
    const kernel = weights.get('projectors.0.projection_layer.weight')!.data; // [6, 16, 3, 3]
    const bias = weights.get('projectors.0.projection_layer.bias')!.data;
    const at = (image: number, row: number, column: number, channel: number): number =>
      row < 0 || row > 3 || column < 0 || column > 3 ? 0 : tokens[((image * 4 + row) * 4 + column) * 16 + channel];
    const expected: number[] = [];
    for (let place = 0; place < 3 * 16 * 6; place++) {
      const [image, row, column, out] = [
        Math.floor(place / 96),
        Math.floor(place / 24) % 4,
        Math.floor(place / 6) % 4,
        place % 6,
      ];
      let sum = bias[out];
      for (let channel = 0; channel < 16; channel++) {
        for (let k = 0; k < 9; k++) {
          const neighbour = at(image, row + Math.floor(k / 3) - 1, column + (k % 3) - 1, channel);
          sum += neighbour * kernel[(out * 16 + channel) * 9 + k];
        }
      }
      expected.push(sum);
    }
    assertClose(projected.dataSync(), expected, 1e-4, 'projected');
  });

  test('it is known from the weights, as are the heads of self-alignment and of SRA 2', () => {
    const conv = { irepa: { projector: 'conv', kernel: 3, spatialNorm: null } };
    const sra = { sra: { weight: 0.2, block: 1, teacher: 4, maxTimeShift: 0.2 } };
    const sra2 = { 'sra-2': { weight: 1, block: 1, channels: 4 } };
    // A convolution does not tell the width that a perceptron would have.
    for (const methods of [{ ...repaOf([6], 2048), ...conv }, { ...REPA, ...sra }, sra, sra2]) {
      const each = tiny(methods);
      assert.deepEqual(inferNetwork('SiT', networkParameters(each), 'test', { numHeads: 2, alignDepth: 1 }), each);
    }
  });
});
