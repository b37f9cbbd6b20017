import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { capture, checkpoint, selectBackend, tf } from '../../../src/lib/engine/index.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { captureGradients } from '../../../src/lib/optim/index.js';
import { type Network, networkParameters } from '../../../src/lib/repa/network.js';
import { trainingLoss } from '../../../src/lib/training/loss.js';
import { modelStore } from '../../../src/lib/training/store.js';
import { networkOf, repaOf } from '../../networks.js';

const MIB = 2 ** 20;
const LENGTH = MIB;

const wave = (length: number, phase: number): Float32Array =>
  Float32Array.from({ length }, (_, index) => 0.3 * Math.sin(1.7 * index + phase));

const SIZES = { inputSize: 8, depth: 3, hiddenSize: 16, numHeads: 2, numClasses: 5, alignDepth: 2, qkNorm: true };
const plain = networkOf('SiT-S/2', SIZES, repaOf([6], 12));
/** Blocks that read tensors of the graph besides their own: the angles of the tokens that are kept. */
const routed = networkOf(
  'SiT-S/2',
  { ...SIZES, rotary: true, alignDepth: 1 },
  { ...repaOf([6], 12), tread: { share: 0.5, from: 2, to: 2 } },
);

/** Blocks that nothing modulates. */
const told = networkOf('SiT-S/2', {
  ...{ ...SIZES, rotary: true, norm: 'rms', conditionTokens: { time: 1, label: 2 } },
  head: { depth: 1, hiddenSize: 24, numHeads: 2 },
});

/** Losses and gradients of one batch, with the first blocks computed again in the backward pass. */
function trainingStep(
  network: Network,
  checkpointBlocks: number,
): { losses: number[]; gradients: Record<string, Float32Array> } {
  const weights = [...networkParameters(network)].map(([name, { shape }], index) => {
    return [name, { data: wave(sizeOf(shape), index) }] as const;
  });
  const store = modelStore(network, { weights });
  const shapes = [[2, 4, 8, 8], [2, 4, 8, 8], [2], [2], [2, 16, 6], [2, 2, 16]];
  const program = captureGradients(
    store,
    (x, noise, t, y, features, route) => {
      const inputs = { x, noise, t, y, features: [features], draws: { tread: { route } } };
      return Object.values(trainingLoss(store.tensors, network, inputs, { path: 'linear', checkpointBlocks }));
    },
    shapes.map((shape, index) => ({ shape, dtype: index === 3 || index === 5 ? 'int32' : 'float32' })),
  );
  const [x, noise, , , features] = shapes.map((shape, index) => wave(sizeOf(shape), index + 0.5));
  const order = Array.from({ length: 16 }, (_, i) => (i * 7) % 16);
  const places = order.map((_, token) => order.indexOf(token));
  const route = Int32Array.from([...order, ...places, ...order, ...places]);
  const losses = program.run(x, noise, Float32Array.of(0.2, 0.7), Int32Array.of(1, 5), features, route);
  const gradients = store.parameters.flatMap(({ name, gradient }) => (gradient ? [[name, gradient.slice()]] : []));
  program.dispose();
  store.dispose();
  return { losses: losses.map(([value]) => value as number), gradients: Object.fromEntries(gradients) };
}

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    assert.ok(Math.abs(actual[i] - expected[i]) <= 1e-6, `${what}[${i}]: ${actual[i]}, expected ${expected[i]}`);
  }
}

describe('gradient checkpointing', () => {
  before(() => selectBackend());

  test('changes neither the value nor the gradients of a function', () => {
    const x = tf.tensor(wave(6, 0), [2, 3]);
    const weight = tf.tensor(wave(12, 1), [3, 4]);
    const fn = (x: tf.Tensor, weight: tf.Tensor) => tf.tanh(tf.matMul(tf.sin(x) as tf.Tensor2D, weight as tf.Tensor2D));
    const twice = (call: typeof fn) => tf.grads((x, weight) => tf.mul(call(x, weight), call(x, weight)));
    const plain = twice(fn)([x, weight]);
    const checkpointed = twice((...inputs) => checkpoint(fn as (...inputs: tf.Tensor[]) => tf.Tensor, inputs))([
      x,
      weight,
    ]);
    plain.forEach((gradient, index) => {
      assertClose(checkpointed[index].dataSync(), gradient.dataSync(), `gradient ${index}`);
    });
  });

  for (const [name, network] of Object.entries({
    plain,
    'with rotary positions and a route': routed,
    'with tokens of time and class': told,
  })) {
    test(`changes neither the losses nor the gradients of a model, ${name}`, () => {
      const kept = trainingStep(network, 0);
      assert.ok(kept.gradients['blocks.0.attn.qkv.weight'].some((value) => Math.abs(value) > 1e-4));
      for (const blocks of [1, 3]) {
        const { losses, gradients } = trainingStep(network, blocks);
        assertClose(losses, kept.losses, 'loss');
        for (const [name, gradient] of Object.entries(kept.gradients)) assertClose(gradients[name], gradient, name);
      }
    });
  }
});

describe('gradient checkpointing on onnx', () => {
  before(() => selectBackend({ backend: 'onnx' }));

  /** What a backward pass leaves in the arena of its session: 64 values of 4 MiB, or 8 and those of one of 8 stages. */
  function retained(stage: (fn: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor) => tf.Tensor): number {
    const work = (x: tf.Tensor) => Array.from({ length: 8 }).reduce<tf.Tensor>((value) => tf.tanh(tf.sin(value)), x);
    const deep = (x: tf.Tensor) => Array.from({ length: 8 }).reduce<tf.Tensor>((value) => stage(work, value), x);
    const input = new Float32Array(LENGTH).fill(0.5);
    const before = process.memoryUsage.rss();
    const program = capture((x) => [tf.sum(tf.grad(deep)(x))], [{ shape: [LENGTH], dtype: 'float32' }]);
    program.run(input);
    const growth = process.memoryUsage.rss() - before;
    program.dispose();
    return growth;
  }

  test('saves memory: the runtime does not merge what is computed twice', () => {
    const checkpointed = retained((fn, x) => checkpoint(fn, [x]));
    const plain = retained((fn, x) => fn(x));
    assert.ok(checkpointed < 0.5 * plain, `${checkpointed / MIB} MiB against ${plain / MIB} MiB`);
  });
});
