import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError, UsageError } from '../../../src/lib/errors.js';
import { openNpz, writeNpz } from '../../../src/lib/formats/npz.js';
import { openSafetensors } from '../../../src/lib/formats/safetensors.js';
import { cholesky } from '../../../src/lib/linalg/cholesky.js';
import { matrixProduct } from '../../../src/lib/linalg/matrix-product.js';
import { frechetDistance, isRankDeficient } from '../../../src/lib/metrics/frechet.js';
import { frechetInfinity, interceptOf } from '../../../src/lib/metrics/frechet-infinity.js';
import { FeatureStatistics, type Gaussian } from '../../../src/lib/metrics/statistics.js';
import {
  hasStatistics,
  readOrigin,
  readStatistics,
  writeStatistics,
} from '../../../src/lib/metrics/statistics-file.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';
import { fixturePath, temporaryFolder } from '../../support.js';
import { assertClose } from '../../tensors.js';

before(() => selectBackend());

const file = openSafetensors(fixturePath('metrics/io.safetensors'));
const floats = (name: string) => file.read(name).data as Float32Array;
const results = JSON.parse(readFileSync(fixturePath('metrics/results.json'), 'utf8'));

function estimate(features: Float32Array | Float64Array, dims: number): Gaussian {
  const statistics = new FeatureStatistics(dims);
  statistics.add(features);
  return statistics.gaussian();
}

function normals(count: number, seed = 1): Float64Array {
  const out = new Float64Array(count);
  fillNormal(out, seed, 1, 0);
  return out;
}

test('mean and covariance are those of NumPy', () => {
  const { mean, covariance, count } = estimate(floats('fid.A'), 48);
  assert.equal(count, 260);
  // The fixture's mean was summed in f32.
  assertClose(mean, file.read('fid.mu_A').data as Float64Array, 1e-6, 'mean');
  assertClose(covariance, file.read('fid.sigma_A').data as Float64Array, 1e-6, 'covariance');
});

test('features may come in any pieces, and shards merge to the whole', () => {
  const [rows, dims] = [1300, 7];
  // A mean a million times the deviation, which sums of squares would lose.
  const features = normals(rows * dims).map((value) => value + 1e6);
  const whole = estimate(features, dims);
  const [first, second] = [new FeatureStatistics(dims), new FeatureStatistics(dims)];
  for (let row = 0; row < 100; row++) first.add(features.subarray(row * dims, (row + 1) * dims));
  second.add(features.subarray(100 * dims));
  first.merge(second);
  for (const other of [first.gaussian(), FeatureStatistics.from({ ...whole, count: rows }).gaussian()]) {
    assert.equal(other.count, rows);
    assertClose(other.mean, whole.mean, 1e-8, 'mean');
    assertClose(other.covariance, whole.covariance, 1e-9, 'covariance');
  }
  const mean = features.reduce((sum, value, i) => (i % dims === 0 ? sum + value : sum), 0) / rows;
  const variance =
    features.reduce((sum, value, i) => (i % dims === 0 ? sum + (value - mean) ** 2 : sum), 0) / (rows - 1);
  assert.ok(Math.abs(whole.covariance[0] - variance) < 1e-9, `${whole.covariance[0]} for ${variance}`);
});

test('one sample has no covariance', () => {
  const statistics = new FeatureStatistics(3);
  statistics.add(Float32Array.of(1, 2, 3));
  assert.throws(() => statistics.gaussian(), DataError);
});

test('the distance is that of pytorch-fid', () => {
  const [a, b] = [estimate(floats('fid.A'), 48), estimate(floats('fid.B'), 48)];
  const expected = results.fid.A_vs_B.pytorch_fid_f64_features;
  assert.ok(Math.abs(frechetDistance(a, b) / expected - 1) < 1e-6, `${frechetDistance(a, b)} for ${expected}`);
  assert.ok(Math.abs(frechetDistance(b, a) / expected - 1) < 1e-6, 'symmetric');
  assert.ok(frechetDistance(a, a) >= 0 && frechetDistance(a, a) < 1e-10, 'nothing between a set and itself');
});

test('the distance exists with fewer samples than dimensions, on either side', () => {
  const [few, b] = [estimate(floats('fid.S_few'), 48), estimate(floats('fid.B'), 48)];
  const expected = results.fid['S_few_vs_B (rank-deficient, N=20<D)'].pytorch_fid_f64_features;
  assert.ok(isRankDeficient(few) && !isRankDeficient(b));
  assert.ok(Math.abs(frechetDistance(few, b) / expected - 1) < 1e-6, `${frechetDistance(few, b)} for ${expected}`);
  assert.ok(Math.abs(frechetDistance(b, few) / expected - 1) < 1e-6, 'symmetric');
  assert.ok(frechetDistance(few, few) < 1e-4);
});

test('the distance of Gaussians with commuting covariances is known', () => {
  const diagonal = (values: number[]): Gaussian => ({
    mean: Float64Array.from(values, (_, i) => i * values[0]),
    covariance: Float64Array.from({ length: 9 }, (_, i) => (i % 4 === 0 ? values[i / 4] : 0)),
  });
  const distance = frechetDistance(diagonal([1, 4, 0]), diagonal([9, 1, 0]));
  assert.ok(Math.abs(distance - (64 + 256 + 4 + 1)) < 1e-9, `${distance}`);
});

test('sets of different dimensions and values that are not finite are refused', () => {
  const [a, b] = [estimate(normals(30), 3), estimate(normals(40), 4)];
  assert.throws(() => frechetDistance(a, b), DataError);
  assert.throws(() => frechetDistance(a, { ...a, covariance: a.covariance.map(() => Number.NaN) }), DataError);
});

test('the line through points meets 0 where it should', () => {
  const x = [1, 1 / 2, 1 / 3, 1 / 7];
  assert.ok(
    Math.abs(
      interceptOf(
        x,
        x.map((value) => 3 + 5 * value),
      ) - 3,
    ) < 1e-12,
  );
  assert.ok(Math.abs(interceptOf([1, 2, 3, 4], [1, 3, 2, 4]) - 0.5) < 1e-12); // slope 0.8 through (2.5, 2.5)
});

test('the distance of infinitely many samples is free of the bias of few', () => {
  const [rows, columns] = [3000, 64];
  const identity = Float64Array.from({ length: columns ** 2 }, (_, i) => (i % (columns + 1) === 0 ? 1 : 0));
  const truth: Gaussian = { mean: new Float64Array(columns), covariance: identity };
  for (const [shift, expected] of [
    [0, 0],
    [0.5, columns * 0.25],
  ]) {
    const data = Float32Array.from(normals(rows * columns, 7), (value) => value + shift);
    const biased = frechetDistance(estimate(data, columns), truth) - expected;
    const rest = frechetInfinity({ rows, columns, data }, truth, 1) - expected;
    if (shift === 0) assert.ok(biased > 0.3 && Math.abs(rest) < biased / 5, `${biased} becomes ${rest}`);
    else assert.ok(Math.abs(rest) < 0.05 * expected, `${biased} becomes ${rest}`);
  }
  const data = Float32Array.from(normals(3 * columns));
  assert.throws(() => frechetInfinity({ rows: 3, columns, data }, truth, 1), UsageError);
});

test('a Cholesky factor gives back its matrix, of full rank or not, whatever the blocks', () => {
  for (const [n, rank] of [
    [1, 1],
    [5, 5],
    [64, 64],
    [65, 65],
    [150, 150],
    [150, 40],
    [70, 1],
    [4, 0],
  ]) {
    const root = {
      rows: n,
      columns: Math.max(rank, 1),
      data: normals(n * Math.max(rank, 1), n).map((v) => (rank ? v : 0)),
    };
    const matrix = matrixProduct(root, root, { transposeB: true });
    const factor = cholesky(matrix);
    assertClose(
      matrixProduct(factor, factor, { transposeB: true }).data,
      matrix.data,
      1e-11 * n,
      `${n} of rank ${rank}`,
    );
    assert.ok(
      factor.data.every((value, i) => i % n <= Math.floor(i / n) || value === 0),
      'lower triangular',
    );
  }
});

test('statistics are read back from a file as they were, and foreign files are read or refused', async () => {
  const folder = temporaryFolder();
  const [pooled, spatial] = [estimate(normals(300), 6), estimate(normals(150), 3)];
  const saved = path.join(folder, 'statistics.npz');
  const origin = { network: 'Inception \u00e9', network_sha256: 'ab', resize: 'adm', image_size: 256, resized: 3 };
  await writeStatistics(saved, { pooled, spatial }, origin);
  const ours = openNpz(saved);
  assert.deepEqual(readOrigin(ours, saved), origin);
  assert.deepEqual(readStatistics(ours, saved, 'pooled'), pooled);
  assert.deepEqual(readStatistics(ours, saved, 'spatial'), spatial);
  ours.close();

  const foreign = path.join(folder, 'foreign.npz');
  await writeNpz(foreign, [
    ['mu', { shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) }],
    ['sigma', { shape: [2, 2], dtype: 'f32', data: Float32Array.of(1, 0, 0, 1) }],
    ['mu_s', { shape: [3], dtype: 'f64', data: new Float64Array(3) }],
    ['sigma_s', { shape: [2, 2], dtype: 'f64', data: new Float64Array(4) }],
  ]);
  const reference = openNpz(foreign);
  const read = readStatistics(reference, foreign, 'pooled');
  assert.equal(read.count, undefined);
  assert.equal(readOrigin(reference, foreign), undefined);
  assert.deepEqual(read.mean, Float64Array.of(1, 2));
  assert.equal(hasStatistics(reference, 'spatial'), true);
  assert.throws(() => readStatistics(reference, foreign, 'spatial'), DataError);
  reference.close();
});
