import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';
import { ntXentLoss } from '../../../src/lib/repa/nt-xent.js';
import { meanProjectionLoss, projectionLoss } from '../../../src/lib/repa/repa.js';
import { assertClose } from '../../tensors.js';

before(() => selectBackend());

const SHAPE: [number, number, number] = [2, 3, 5];
function normals(seed: number): Float32Array {
  const out = new Float32Array(30);
  fillNormal(out, seed, 1, 0);
  return out;
}
const [h, y] = [normals(1), normals(2)];
const token = (values: Float32Array, index: number): number[] => [...values.subarray(5 * index, 5 * index + 5)];
const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * b[i], 0);
const cosine = (a: number[], b: number[]): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));

test('the projection loss is minus the mean cosine of each image', () => {
  const loss = projectionLoss(tf.tensor(h, SHAPE), tf.tensor(y, SHAPE));
  const expected = [0, 3].map((first) => {
    const cosines = [0, 1, 2].map((i) => cosine(token(h, first + i), token(y, first + i)));
    return -cosines.reduce((sum, value) => sum + value) / 3;
  });
  assertClose(loss.dataSync(), expected, 1e-6, 'projection loss');
});

test('NT-Xent is the cross-entropy of finding the own target among those of the batch', () => {
  for (const temperature of [0.1, 0.5]) {
    const loss = ntXentLoss(tf.tensor(h, SHAPE), tf.tensor(y, SHAPE), temperature);
    const tokenLoss = (i: number): number => {
      const exponentials = [0, 1, 2, 3, 4, 5].map((j) => Math.exp(cosine(token(h, i), token(y, j)) / temperature));
      return -Math.log(exponentials[i] / exponentials.reduce((sum, value) => sum + value));
    };
    const expected = [0, 3].map((first) => (tokenLoss(first) + tokenLoss(first + 1) + tokenLoss(first + 2)) / 3);
    assertClose(loss.dataSync(), expected, 1e-5, `NT-Xent at ${temperature}`);
  }
});

test('neither loss depends on the length of features, however large or small', () => {
  for (const loss of [projectionLoss, ntXentLoss]) {
    const expected = loss(tf.tensor(h, SHAPE), tf.tensor(y, SHAPE)).dataSync();
    const scaled = loss(
      tf.tensor(
        h.map((v) => v * 1e15),
        SHAPE,
      ),
      tf.tensor(
        y.map((v) => v * 1e-9),
        SHAPE,
      ),
    );
    assertClose(scaled.dataSync(), expected, 1e-5, loss.name);
  }
});

test('tokens of all zeros give no NaN, neither in the loss nor in its gradient', () => {
  const withZeros = h.slice();
  withZeros.fill(0, 0, 5);
  for (const objective of ['cosine', 'nt-xent'] as const) {
    const { value, grad } = tf.valueAndGrad((x: tf.Tensor) =>
      meanProjectionLoss([x], [tf.tensor(y, SHAPE)], objective),
    )(tf.tensor(withZeros, SHAPE));
    assert.ok(Number.isFinite(value.dataSync()[0]), objective);
    assert.ok(grad.dataSync().every(Number.isFinite), objective);
  }
});

test('several encoders are averaged', () => {
  const [a, b] = [tf.tensor(h, SHAPE), tf.tensor(y, SHAPE)];
  const both = meanProjectionLoss([a, a], [b, a], 'cosine').dataSync();
  assertClose(both, [(meanProjectionLoss([a], [b], 'cosine').dataSync()[0] - 1) / 2], 1e-6, 'two encoders');
});
