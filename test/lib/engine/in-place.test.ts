import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { matrixProduct } from '../../../src/lib/linalg/matrix-product.js';
import { captureGradients, ParameterStore } from '../../../src/lib/optim/index.js';

before(() => selectBackend({ backend: 'onnx' }));

const SIDE = 2048;
const BYTES = SIDE * SIDE * 4;

/** Bytes of arrays that `fn` leaves behind, used or not. */
function allocated(fn: () => unknown): number {
  const { arrayBuffers } = process.memoryUsage();
  fn();
  return process.memoryUsage().arrayBuffers - arrayBuffers;
}

describe('outputs with a place', () => {
  it('are written there and copied nowhere: products of matrices', () => {
    const a = { rows: SIDE, columns: 1, data: Float32Array.from({ length: SIDE }, (_, i) => i) };
    const b = { rows: 1, columns: SIDE, data: new Float32Array(SIDE).fill(2) };
    const into = new Float32Array(SIDE * SIDE);
    const product = () => matrixProduct(a, b, { into });
    assert.equal(product().data, into);
    assert.equal(into[3 * SIDE + 1], 6);
    assert.ok(allocated(product) < BYTES / 8);
  });

  it('are written there and copied nowhere: gradients', () => {
    const store = new ParameterStore([{ name: 'w', shape: [SIDE, SIDE] }]);
    const step = captureGradients(store, (x) => [tf.sum(tf.mul(x, store.tensors.w))], [
      { shape: [1], dtype: 'float32' },
    ]);
    const run = () => step.run(Float32Array.of(3));
    run();
    assert.ok(store.parameters[0].gradient!.every((value) => value === 3));
    assert.ok(allocated(run) < BYTES / 8);
    step.dispose();
    store.dispose();
  });
});
