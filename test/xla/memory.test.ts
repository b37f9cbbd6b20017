/** What is over takes no memory: neither of steps and eager tensors, nor of programs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capture, selectBackend, tf } from '../../src/lib/engine/index.js';
import { captureGradients, ParameterStore } from '../../src/lib/optim/index.js';
import { temporaryFolder } from '../support.js';

process.env.REPA_HOME = temporaryFolder();
await selectBackend({ backend: 'xla', threads: 2 });

/** Bytes by which the process grows in rounds 1 to `count`, the first of which do not count. */
function grown(count: number, first: number, round: (index: number) => void): number {
  for (let i = 1; i <= first; i++) round(i);
  const before = process.memoryUsage.rss();
  for (let i = first + 1; i <= count; i++) round(i);
  return process.memoryUsage.rss() - before;
}

test('memory stays as it is over 800 steps, of which each uploads 256 KiB', () => {
  const store = new ParameterStore([{ name: 'w', shape: [256, 256] }]);
  const gradients = captureGradients(store, (x) => [tf.mean(tf.matMul(x, store.tensors.w))], [
    { shape: [256, 256], dtype: 'float32' },
  ]);
  const input = new Float32Array(256 * 256).fill(0.5);
  const options = { lr: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01, clip: 1, emaDecays: [0.5] };
  const bytes = grown(1000, 200, (step) => {
    gradients.run(input);
    store.step({ ...options, step });
  });
  assert.ok(bytes < 32 * 2 ** 20, `${bytes} bytes`);
  gradients.dispose();
  store.dispose();
});

test('memory stays as it is over 60 eager products of 4 MiB', () => {
  const data = new Float32Array(2 ** 20);
  const bytes = grown(90, 30, () => tf.tidy(() => tf.mul(tf.tensor(data), 2).dataSync()));
  assert.ok(bytes < 32 * 2 ** 20, `${bytes} bytes`);
});

test('memory stays as it is over 16 programs with weights of 4 MiB', () => {
  const weights = tf.tensor(new Float32Array(2 ** 20));
  const bytes = grown(24, 8, (index) => {
    const program = capture((x) => [tf.sum(tf.mul(x, tf.add(weights, index)))], [{ shape: [1], dtype: 'float32' }], {
      constants: 'bake',
    });
    program.run(Float32Array.of(index));
    program.dispose();
  });
  assert.ok(bytes < 32 * 2 ** 20, `${bytes} bytes`);
});
