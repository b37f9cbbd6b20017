import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';
import { contrastiveLoss } from '../../../src/lib/repa/delta-fm.js';
import { directionLoss } from '../../../src/lib/repa/direction.js';
import { dispersiveLoss } from '../../../src/lib/repa/dispersive.js';
import { spatialNorm } from '../../../src/lib/repa/irepa.js';
import { layerSyncLoss } from '../../../src/lib/repa/layer-sync.js';
import { smoothDistance } from '../../../src/lib/repa/sra.js';
import { manifoldLoss } from '../../../src/lib/repa/u-repa.js';
import { assertClose, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const [BATCH, TOKENS, DIM] = [3, 4, 5];
const normals = (length: number, row: number): Float32Array => {
  const out = new Float32Array(length);
  fillNormal(out, 1, 1, row);
  return out;
};
const [h, y] = [normals(BATCH * TOKENS * DIM, 1), normals(BATCH * TOKENS * DIM, 2)];
const asTokens = (values: Float32Array): tf.Tensor => tf.tensor(values, [BATCH, TOKENS, DIM]);
const token = (values: Float32Array, image: number, index: number): number[] => {
  const start = (image * TOKENS + index) * DIM;
  return [...values.subarray(start, start + DIM)];
};
const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * b[i], 0);
const cosine = (a: number[], b: number[]): number => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** The slope of `loss` along each element of `values`, by differences. */
function slopes(loss: (x: tf.Tensor) => tf.Tensor, values: Float32Array, shape: number[]): number[] {
  const at = (i: number, by: number): number => {
    const moved = values.slice();
    moved[i] += by;
    return loss(tf.tensor(moved, shape)).dataSync()[0];
  };
  return range(values.length).map((i) => (at(i, 1e-2) - at(i, -1e-2)) / 2e-2);
}

/** Checks the gradient of a scalar function of `values`. */
function checkGradient(loss: (x: tf.Tensor) => tf.Tensor, values: Float32Array, shape: number[], what: string): void {
  const gradient = tf.grad(loss)(tf.tensor(values, shape)).dataSync();
  const expected = slopes(loss, values, shape);
  assertClose(gradient, expected, 2e-3 * largestMagnitude(expected) + 1e-5, `gradient of ${what}`);
  assert.ok(largestMagnitude(gradient) > 0);
}

describe('terms that follow features', () => {
  test('iREPA: features lose their mean over the image and are divided by their deviation', () => {
    for (const gamma of [1, 0.6]) {
      const expected = range(BATCH).flatMap((image) =>
        range(TOKENS).flatMap((index) =>
          range(DIM).map((channel) => {
            const column = range(TOKENS).map((i) => token(y, image, i)[channel]);
            const average = mean(column);
            const variance = column.reduce((sum, value) => sum + (value - average) ** 2, 0) / (TOKENS - 1);
            return (token(y, image, index)[channel] - gamma * average) / (Math.sqrt(variance) + 1e-6);
          }),
        ),
      );
      assertClose(spatialNorm(asTokens(y), gamma).dataSync(), expected, 1e-5, `gamma ${gamma}`);
    }
    const flat = spatialNorm(tf.ones([1, 4, 2]), 1).dataSync();
    assert.deepEqual([...flat], Array(8).fill(0)); // and not NaN
  });

  test("U-REPA: the similarities among an image's tokens are those among its features", () => {
    const differences = range(BATCH).flatMap((image) =>
      range(TOKENS).flatMap((i) =>
        range(TOKENS).map((j) => {
          const [ofFeatures, ofTokens] = [y, h].map((values) =>
            cosine(token(values, image, i), token(values, image, j)),
          );
          return (ofFeatures - ofTokens) ** 2;
        }),
      ),
    );
    assertClose(manifoldLoss(asTokens(h), asTokens(y)).dataSync(), [mean(differences)], 1e-6, 'manifold');
    checkGradient((x) => manifoldLoss(x, asTokens(y)), h, [BATCH, TOKENS, DIM], 'the manifold loss');
  });
});

describe('terms on the velocity', () => {
  const shape = [BATCH, 2, 3, 3];
  const [predicted, velocity] = [normals(54, 3), normals(54, 4)];
  const image = (values: Float32Array, index: number): Float32Array => values.subarray(18 * index, 18 * (index + 1));

  test('LightningDiT: the angle between velocities at each pixel', () => {
    const angles = range(BATCH).flatMap((index) =>
      range(9).map((pixel) => {
        const at = (values: Float32Array): number[] => [0, 9].map((channel) => image(values, index)[channel + pixel]);
        return 1 - cosine(at(predicted), at(velocity));
      }),
    );
    const loss = (x: tf.Tensor): tf.Tensor => directionLoss(x, tf.tensor(velocity, shape));
    assertClose(loss(tf.tensor(predicted, shape)).dataSync(), [mean(angles)], 1e-6, 'direction');
    checkGradient(loss, predicted, shape, 'the direction loss');
  });

  test("Delta-FM: the distance to the next image's velocity, the last image's next being the first", () => {
    const distances = range(BATCH).flatMap((index) => {
      const other = image(velocity, (index + 1) % BATCH);
      return [...image(predicted, index)].map((value, i) => (value - other[i]) ** 2);
    });
    const loss = (x: tf.Tensor): tf.Tensor => contrastiveLoss(x, tf.tensor(velocity, shape));
    assertClose(loss(tf.tensor(predicted, shape)).dataSync(), [mean(distances)], 1e-5, 'contrastive');
    checkGradient(loss, predicted, shape, 'the contrastive loss');
  });
});

describe('terms on hidden states', () => {
  const shape = [BATCH, TOKENS, DIM];

  test('LayerSync: minus the cosine to a later block, into which no gradient flows', () => {
    const cosines = range(BATCH).flatMap((image) =>
      range(TOKENS).map((index) => cosine(token(h, image, index), token(y, image, index))),
    );
    assertClose(layerSyncLoss(asTokens(h), asTokens(y)).dataSync(), [-mean(cosines)], 1e-6, 'layer sync');
    checkGradient((x) => layerSyncLoss(x, asTokens(y)), h, shape, 'the sync loss');
    const [, toTeacher] = tf.grads((a, b) => layerSyncLoss(a, b))([asTokens(h), asTokens(y)]);
    assert.equal(largestMagnitude(toTeacher.dataSync()), 0);
  });

  test('Dispersive: the logarithm of the mean affinity of all pairs of images', () => {
    const size = TOKENS * DIM;
    for (const offset of [0, 100]) {
      // What all images share changes no distance.
      const shifted = h.map((value) => value + offset);
      const affinities = range(BATCH).flatMap((i) =>
        range(BATCH).map((j) => {
          const distance = range(size).reduce((sum, at) => sum + (h[i * size + at] - h[j * size + at]) ** 2, 0);
          return Math.exp(-distance / size);
        }),
      );
      const loss = dispersiveLoss(asTokens(shifted)).dataSync();
      assertClose(loss, [Math.log(mean(affinities))], offset === 0 ? 1e-6 : 1e-4, `dispersive, offset ${offset}`);
    }
    const half = dispersiveLoss(asTokens(h), 0.5).dataSync();
    assertClose(half, dispersiveLoss(asTokens(h.map((value) => Math.SQRT2 * value))).dataSync(), 1e-6, 'temperature');
    checkGradient((x) => dispersiveLoss(x), h, shape, 'the dispersive loss');
  });

  test('SRA: smooth l1 to the teacher, into which no gradient flows', () => {
    const near = h.map((value, i) => (i % 2 ? value : y[i] + 0.02 * value)); // on both sides of where it is smooth
    const distances = [...near].map((value, i) => {
      const distance = Math.abs(value - y[i]);
      return distance < 0.05 ? distance ** 2 / 0.1 : distance - 0.025;
    });
    assert.ok(distances.some((value) => value < 0.025) && distances.some((value) => value > 0.025));
    const loss = smoothDistance(asTokens(near), asTokens(y)).dataSync();
    assertClose(loss, [mean(distances)], 1e-6, 'self-alignment');
    const [toStudent, toTeacher] = tf.grads((a, b) => smoothDistance(a, b))([asTokens(near), asTokens(y)]);
    const expected = [...near].map((value, i) => Math.max(-1, Math.min(1, (value - y[i]) / 0.05)) / near.length);
    assertClose(toStudent.dataSync(), expected, 1e-6, 'gradient');
    assert.equal(largestMagnitude(toTeacher.dataSync()), 0);
  });
});
