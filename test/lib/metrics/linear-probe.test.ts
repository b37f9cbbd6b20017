import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError } from '../../../src/lib/errors.js';
import { rowsOf } from '../../../src/lib/metrics/feature-rows.js';
import { type LabelledFeatures, probeAccuracy, trainLinearProbe } from '../../../src/lib/metrics/linear-probe.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';

before(() => selectBackend());

const CLASSES = 5;
const DIMS = 8;

function normals(count: number, seed: number): Float32Array {
  const out = new Float32Array(count);
  fillNormal(out, seed, 1, 0);
  return out;
}

const centres = normals(CLASSES * DIMS, 1);
/** Clusters of classes, on axes of very different scale and offset. */
function draw(rows: number, seed: number, spread = 0.3): LabelledFeatures & { data: Float32Array } {
  const labels = Int32Array.from({ length: rows }, (_, row) => row % CLASSES);
  const data = normals(rows * DIMS, seed).map((value, i) => {
    const axis = i % DIMS;
    return (spread * value + centres[labels[Math.floor(i / DIMS)] * DIMS + axis]) * 10 ** (axis - 3) + 100 * axis;
  });
  return { features: rowsOf({ rows, columns: DIMS, data }), labels, data };
}

const options = { epochs: 30, batchSize: 64, learningRate: 0.02, seed: 1 };

test('a probe reads classes that are separate, whatever the scale of the features', () => {
  const losses: number[] = [];
  const probe = trainLinearProbe(draw(300, 2), { ...options, onEpoch: (_, loss) => losses.push(loss) });
  assert.equal(probe.classes, CLASSES);
  assert.equal(losses.length, 30);
  assert.ok(Math.abs(losses[0] - Math.log(CLASSES)) < 0.8, `first loss ${losses[0]}`);
  assert.ok(losses[29] < 0.1, `last loss ${losses[29]}`);
  const held = draw(100, 3);
  assert.equal(probeAccuracy(probe, held), 1);
  const rotated = { ...held, labels: held.labels.map((label) => (label + 1) % CLASSES) };
  assert.equal(probeAccuracy(probe, rotated), 0);
  assert.equal(probeAccuracy(probe, rotated, CLASSES), 1);
});

test('where classes overlap, more of them are among the best three than the best one', () => {
  const probe = trainLinearProbe(draw(300, 2, 2), options);
  const held = draw(200, 3, 2);
  const [one, three] = [probeAccuracy(probe, held), probeAccuracy(probe, held, 3)];
  assert.ok(one > 0.3 && one < three && three < 1, `${one} ${three}`);
});

test('the running moments are those of the features', () => {
  const train = draw(400, 4);
  const { mean, variance } = trainLinearProbe(train, { ...options, batchSize: 16384 });
  for (let axis = 0; axis < DIMS; axis++) {
    const values = Array.from({ length: 400 }, (_, row) => train.data[row * DIMS + axis]);
    const average = values.reduce((sum, value) => sum + value, 0) / 400;
    const spread = values.reduce((sum, value) => sum + (value - average) ** 2, 0) / 399;
    assert.ok(Math.abs(mean[axis] - average) < 1e-4 * Math.max(1, Math.abs(average)), `mean of axis ${axis}`);
    // The batch's variance is an f32 sum over values whose mean is large.
    assert.ok(Math.abs(variance[axis] - spread) < 1e-3 * spread + 1e-9 * average ** 2, `variance of axis ${axis}`);
  }
});

test('the same seed trains the same probe, another one another', () => {
  const train = draw(200, 5);
  const weights = (seed: number) => trainLinearProbe(train, { ...options, epochs: 2, seed }).weight;
  assert.deepEqual(weights(1), weights(1));
  assert.notDeepEqual(weights(1), weights(2));
});

test('labels that a probe has not seen are never right; missing labels and other features are refused', () => {
  const train = draw(100, 6);
  const probe = trainLinearProbe(train, { ...options, epochs: 1 });
  const unseen = { ...train, labels: train.labels.map(() => CLASSES) };
  assert.equal(probeAccuracy(probe, unseen, CLASSES), 0);
  assert.throws(() => trainLinearProbe({ ...train, labels: train.labels.map(() => -1) }, options), DataError);
  const narrow = rowsOf({ rows: 2, columns: 3, data: new Float32Array(6) });
  assert.throws(() => probeAccuracy(probe, { features: narrow, labels: Int32Array.of(0, 1) }), DataError);
});

test('a batch that is computed in blocks gives the probe of one that is not', () => {
  const train = draw(150, 6);
  const whole = trainLinearProbe(train, { ...options, epochs: 5 });
  for (const rows of [1, 7, 64]) {
    const blocks = trainLinearProbe(train, { ...options, epochs: 5, blockElements: rows * DIMS });
    assert.deepEqual(blocks.mean, whole.mean);
    for (const [i, value] of whole.weight.entries()) {
      assert.ok(Math.abs(value - blocks.weight[i]) < 2e-5, `${rows} rows a block: ${value} ${blocks.weight[i]}`);
    }
  }
});
