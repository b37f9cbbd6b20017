import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError, UsageError } from '../../../src/lib/errors.js';
import { openSafetensors } from '../../../src/lib/formats/safetensors.js';
import type { Matrix } from '../../../src/lib/linalg/matrix-product.js';
import { type FeatureRows, rowsOf } from '../../../src/lib/metrics/feature-rows.js';
import { unitRows } from '../../../src/lib/metrics/features.js';
import { InceptionScoreEstimate } from '../../../src/lib/metrics/inception-score.js';
import { kernelDistance, pickRows, squaredDiscrepancy } from '../../../src/lib/metrics/kid.js';
import { knnAccuracy } from '../../../src/lib/metrics/knn.js';
import { mongeDistance, wassersteinAlong } from '../../../src/lib/metrics/mind.js';
import { precisionRecall } from '../../../src/lib/metrics/precision-recall.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';
import { fixturePath } from '../../support.js';

before(() => selectBackend());

const file = openSafetensors(fixturePath('metrics/io.safetensors'));
const floats = (name: string) => file.read(name).data as Float32Array;
const results = JSON.parse(readFileSync(fixturePath('metrics/results.json'), 'utf8'));

const single = (data: Float32Array, columns: number): Matrix<Float32Array> => {
  return { rows: data.length / columns, columns, data };
};
const double = (data: Float32Array, columns: number): Matrix => {
  return { rows: data.length / columns, columns, data: Float64Array.from(data) };
};
const [A, B] = [floats('fid.A'), floats('fid.B')];

function normals(count: number, seed: number): Float32Array {
  const out = new Float32Array(count);
  fillNormal(out, seed, 1, 0);
  return out;
}

function assertNear(actual: number, wanted: number, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual - wanted) <= tolerance, `${what}: ${actual} for ${wanted}`);
}

/** Scored in pieces of 7 rows, as they come from a network. */
function inceptionScore(logits: Float32Array, classes: number, splitSize?: number) {
  const estimate = new InceptionScoreEstimate(classes, splitSize);
  for (let start = 0; start < logits.length; start += 7 * classes) {
    estimate.add(logits.subarray(start, start + 7 * classes));
  }
  return estimate.result();
}

test('the Inception Score is that of the ADM suite and of torch-fidelity', () => {
  const logits = floats('is.logits');
  const score = (splitSize: number) => inceptionScore(logits, 25, splitSize);
  assertNear(score(5000).mean, results.is['adm_split5000 (one split)'], 1e-6, 'ADM');
  assertNear(score(100).mean, results.is.adm_split100, 1e-6, 'ADM with a short last split');
  for (const splits of [1, 5, 10]) {
    const expected = results.is[`torch_fidelity_splits${splits}_shuffleFalse`];
    assert.equal(score(260 / splits).splits, splits);
    assertNear(score(260 / splits).mean, expected.inception_score_mean, 1e-6, `mean of ${splits}`);
    assertNear(score(260 / splits).deviation, expected.inception_score_std, 1e-6, `deviation of ${splits}`);
  }
});

test('the Inception Score is 1 when nothing is told apart and the number of classes when all is', () => {
  assertNear(inceptionScore(new Float32Array(40), 4).mean, 1, 1e-12, 'uniform');
  const certain = new Float32Array(16);
  for (let i = 0; i < 4; i++) certain[5 * i] = 1000;
  assertNear(inceptionScore(certain, 4).mean, 4, 1e-12, 'certain');
  assert.throws(() => inceptionScore(new Float32Array(0), 4), DataError);
});

test('precision and recall are those of the ADM suite and of torch-fidelity', () => {
  const [samples, reference] = [single(A, 48), single(B, 48)];
  assert.deepEqual(precisionRecall(samples, reference, 3), results.prc['adm_k3_fp64 (ref=B, sample=A)']);
  const { precision, recall } = results.prc['torch_fidelity_k5 (1st=generated A, 2nd=real B)'];
  const five = precisionRecall(samples, reference, 5);
  // Averaged in f32 there.
  assertNear(five.precision, precision, 1e-7, 'precision at 5');
  assertNear(five.recall, recall, 1e-7, 'recall at 5');
});

test('precision and recall tell missing modes from wrong samples, across blocks', () => {
  const reference = normals(2 * 4500, 5);
  const half = reference.filter((_, i) => reference[i - (i % 2)] > 0);
  const inside = precisionRecall(single(half, 2), single(reference, 2));
  assert.equal(inside.precision, 1);
  assert.ok(inside.recall > 0.45 && inside.recall < 0.6, `${inside.recall}`);
  const outside = precisionRecall(single(reference, 2), single(half, 2));
  assert.equal(outside.recall, 1);
  assert.equal(outside.precision, inside.recall);
  assert.throws(() => precisionRecall(single(reference.slice(0, 6), 2), single(reference, 2)), UsageError);
});

test('the kernel distance of given subsets is that of torch-fidelity', () => {
  const [a, b] = [double(A, 48), double(B, 48)];
  const [first, second] = [file.read('kid.idx1').data, file.read('kid.idx2').data] as Int32Array[];
  const distances = Array.from({ length: 20 }, (_, i) => {
    const subset = (indices: Int32Array) => indices.subarray(100 * i, 100 * (i + 1));
    return squaredDiscrepancy(pickRows(a, subset(first)), pickRows(b, subset(second)));
  });
  const mean = distances.reduce((sum, value) => sum + value, 0) / 20;
  const deviation = Math.sqrt(distances.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 20);
  const expected = results.kid.poly_default_subsets20_size100;
  assertNear(mean, expected.kernel_inception_distance_mean, 1e-6, 'mean');
  assertNear(deviation, expected.kernel_inception_distance_std, 1e-6, 'deviation');
});

test('the kernel distance of all samples is that of torch-fidelity, and does not hang on the seed', () => {
  const [a, b] = [double(A, 48), double(B, 48)].map((set) =>
    pickRows(
      set,
      Array.from({ length: 250 }, (_, i) => i),
    ),
  );
  const expected = results.kid.full_mmd2_first250_unbiased;
  for (const seed of [1, 2]) {
    const { mean, deviation } = kernelDistance(a, b, { subsets: 2, subsetSize: 250, seed });
    assertNear(mean, expected, 1e-6, 'mean');
    assertNear(deviation, 0, 1e-12, 'deviation');
  }
  const subsets = (seed: number) => kernelDistance(a, b, { subsets: 3, subsetSize: 50, seed });
  assert.deepEqual(subsets(1), subsets(1));
  assert.notDeepEqual(subsets(1), subsets(2));
  assert.throws(() => kernelDistance(a, b, { seed: 1 }), UsageError);
});

test('nearest neighbours classify separate classes, and guess where labels are random', () => {
  const [classes, dims] = [4, 16];
  const centres = normals(classes * dims, 1);
  const draw = (rows: number, seed: number) => {
    const labels = Int32Array.from({ length: rows }, (_, row) => row % classes);
    const noise = normals(rows * dims, seed);
    const features = noise.map((value, i) => 0.3 * value + centres[labels[Math.floor(i / dims)] * dims + (i % dims)]);
    return { labels, features: rowsOf(unitRows(features, dims)) };
  };
  const [train, held] = [draw(200, 2), draw(80, 3)];
  assert.equal(knnAccuracy(train.features, train.labels, held.features, held.labels), 1);
  const wrong = held.labels.map((label) => (label + 1) % classes);
  assert.equal(knnAccuracy(train.features, train.labels, held.features, wrong), 0);
  const random = Int32Array.from(normals(200, 4), (value) => (value > 0 ? 1 : 0));
  const guess = knnAccuracy(
    train.features,
    random,
    held.features,
    held.labels.map((label) => label % 2),
    { k: 5 },
  );
  assert.ok(guess > 0.25 && guess < 0.75, `${guess}`);
});

test('nearer neighbours weigh more', () => {
  const rows = (angles: number[]): FeatureRows => {
    const data = Float64Array.from(angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]));
    return rowsOf({ rows: angles.length, columns: 2, data });
  };
  const train = rows([0.05, 1.2, 1.3]);
  const labels = Int32Array.of(7, 8, 8);
  assert.equal(knnAccuracy(train, labels, rows([0]), Int32Array.of(7), { k: 3 }), 1);
  assert.equal(knnAccuracy(train, labels, rows([0]), Int32Array.of(7), { k: 3, temperature: 10 }), 0);
});

test('neighbours that are found in blocks of the candidates vote as those that are not', () => {
  const side = (rows: number, salt: number) =>
    rowsOf({
      rows,
      columns: 3,
      data: Float32Array.from({ length: rows * 3 }, (_, i) => Math.round(3 * Math.sin(salt + 7 * i))), // with equal rows
    });
  const [train, held] = [side(60, 1), side(40, 2)];
  const labels = (rows: number) => Int32Array.from({ length: rows }, (_, i) => (i * i) % 5);
  const accuracy = (blockElements?: number) =>
    knnAccuracy(train, labels(60), held, labels(40), { k: 7, blockElements });
  for (const rows of [4, 7, 25, 60]) assert.equal(accuracy(3 * rows), accuracy(), `${rows}`);
});

test('MIND is that of torch-fidelity along its directions', () => {
  const mind = openSafetensors(fixturePath('metrics/mind.safetensors'));
  const matrix = (name: string) => single(mind.read(name).data as Float32Array, 24);
  const along = wassersteinAlong(matrix('a'), matrix('b'), matrix('directions'));
  const value = (3 * 24 * along.reduce((sum, distance) => sum + distance, 0)) / along.length;
  const [wanted] = mind.read('mind').data as Float32Array;
  assertNear(value, wanted, 1e-6 * wanted, 'MIND');
});

test('MIND of a shift is three times its square, from either side and from any rows of the larger set', () => {
  const columns = 8;
  const a = single(normals(4000 * columns, 1), columns);
  const moved = single(
    a.data.map((value) => value + 0.5),
    columns,
  );
  const distance = mongeDistance(a, moved, { seed: 0 });
  // D times the mean over directions u of (u . shift)^2 is the shift's square: 8 x 0.25.
  assertNear(distance, 3 * columns * 0.25, 0.3, 'of all rows');
  assertNear(mongeDistance(moved, a, { seed: 0 }), distance, 1e-9, 'from the other side');
  const some = pickRows(
    moved,
    Uint32Array.from({ length: 2000 }, (_, i) => 2 * i),
  );
  const apart = mongeDistance(a, some, { seed: 0 });
  assertNear(apart, distance, 0.3, 'of half the rows');
  assert.throws(() => mongeDistance(a, pickRows(a, [0]), { seed: 0 }), UsageError);
});
