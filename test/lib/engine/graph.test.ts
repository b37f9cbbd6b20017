import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { sortOperations } from '../../../src/lib/engine/graph/order.js';
import { op, scalar } from '../../../src/lib/engine/graph/value.js';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';

describe('lazy graph', () => {
  before(() => selectBackend({ backend: 'onnx' }));

  test('a pending tensor is computed once, whoever asks first', () => {
    const source = Float32Array.of(1, 2, 3);
    const shared = tf.square(tf.tensor(source));
    const total = tf.sum(shared);
    assert.equal(total.dataSync()[0], 14);
    // The operations read host memory when they run: had `shared` not run along, it would see the change.
    source.fill(0);
    assert.deepEqual([...shared.dataSync()], [1, 4, 9]);
  });

  test('graphs may be deeper than the call stack', () => {
    let value = scalar(0);
    for (let i = 0; i < 100_000; i++) value = op('unary', [value], { function: 'negate' });
    assert.equal(sortOperations([value]).operations.length, 100_000);
  });
});
