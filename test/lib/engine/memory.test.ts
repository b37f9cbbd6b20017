import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { capture, conv2d, selectBackend, tf } from '../../../src/lib/engine/index.js';

const MIB = 2 ** 20;
const SIDE = 1024; // 4 MiB a matrix

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function residentBytes(): number {
  collectGarbage();
  return process.memoryUsage.rss();
}

/** How much more memory is resident after `rounds` of `work`, once it has warmed up. */
function growth(rounds: number, work: (round: number) => void): number {
  for (let round = 0; round < rounds; round++) work(round);
  const start = residentBytes();
  for (let round = 0; round < rounds; round++) work(rounds + round);
  return residentBytes() - start;
}

describe('memory', () => {
  before(() => selectBackend({ backend: 'onnx' }));

  test('of disposed tensors is given back', () => {
    const work = () =>
      tf.tidy(() => {
        const x = tf.tensor(new Float32Array(SIDE * SIDE).fill(0.5), [SIDE, SIDE]);
        tf.add(tf.square(x), x).dataSync();
      });
    assert.ok(growth(60, work) < 100 * MIB); // 60 rounds make 480 MiB
    assert.equal(tf.memory().numTensors, 0);
  });

  test('of disposed captures is given back', () => {
    const x = new Float32Array(SIDE * SIDE).fill(0.5);
    const work = () => {
      const spec = { shape: [SIDE, SIDE], dtype: 'float32' } as const;
      const program = capture((input) => [tf.sum(tf.tanh(tf.square(input)))], [spec]);
      program.run(x);
      program.dispose();
    };
    assert.ok(growth(60, work) < 100 * MIB); // 60 rounds use 480 MiB
  });

  test('of weights is let go once they are compiled in', async () => {
    const channels = 768; // 20 MiB of weights
    const compiled = () => {
      const data = new Float32Array(channels * channels * 9).fill(1 / channels);
      const weight = tf.tensor(data, [channels, channels, 3, 3]);
      const fn = (x: tf.Tensor) => [conv2d(x, weight, null, { stride: 1, padding: [1, 1, 1, 1] })];
      const program = capture(fn, [{ shape: [1, channels, 2, 2], dtype: 'float32' }], { constants: 'bake' });
      return { program, weights: new WeakRef(data) };
    };
    const { program, weights } = compiled();
    await nextTurn(); // what is referred to weakly is held to the end of its turn
    const [y] = program.run(new Float32Array(channels * 4).fill(1));
    assert.ok(Math.abs((y[0] as number) - 4) < 1e-4); // 2 x 2 pixels under each window
    assert.equal(weights.deref(), undefined);
    program.dispose();
  });

  test('of compiled graphs is bounded, however many shapes there are', () => {
    const work = (round: number) => tf.tidy(() => tf.tanh(tf.zeros([round + 1, 3])).dataSync());
    assert.ok(growth(300, work) < 50 * MIB); // 300 sessions take 150 MiB
  });
});
