import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { UsageError } from '../../../src/lib/errors.js';
import { openSafetensors } from '../../../src/lib/formats/safetensors.js';
import type { Matrix } from '../../../src/lib/linalg/matrix-product.js';
import { cka, unbiasedCka } from '../../../src/lib/metrics/cka.js';
import { cknna, mutualKnn } from '../../../src/lib/metrics/cknna.js';
import { clampOutliers, unitRows } from '../../../src/lib/metrics/features.js';
import { nearestNeighbours } from '../../../src/lib/metrics/neighbours.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';
import { fixturePath } from '../../support.js';

before(() => selectBackend());

const file = openSafetensors(fixturePath('metrics/io.safetensors'));
const floats = (name: string) => file.read(name).data as Float32Array;
const expected = JSON.parse(readFileSync(fixturePath('metrics/results.json'), 'utf8')).align;
const [A, B] = [floats('align.A'), floats('align.B')];

const raw = (data: Float32Array, columns: number): Matrix => {
  return { rows: data.length / columns, columns, data: Float64Array.from(data) };
};
const neighbours = (matrix: Matrix, k: number) => nearestNeighbours(matrix, matrix, k);

function assertNear(actual: number, wanted: number, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual - wanted) <= tolerance, `${what}: ${actual} for ${wanted}`);
}

for (const [name, a, b] of [
  ['normalized_fp64', unitRows(A, 64), unitRows(B, 48)],
  ['raw_fp64', raw(A, 64), raw(B, 48)],
] as const) {
  test(`${name}: the alignments are those of platonic-rep`, () => {
    const scores = expected[name];
    for (const k of [2, 5, 10, 20, 50, 100, 199]) {
      const [ofA, ofB] = [neighbours(a, k), neighbours(b, k)];
      assertNear(cknna(ofA, ofB), scores[`cknna@${k}`], 1e-9, `CKNNA at ${k}`);
      // Averaged in f32 there.
      assertNear(mutualKnn(ofA, ofB), scores[`mutual_knn@${k}`], 1e-7, `mutual k-NN at ${k}`);
    }
    assertNear(cka(a, b), scores.cka, 1e-9, 'CKA');
    assertNear(unbiasedCka(a, b), scores.unbiased_cka, 1e-9, 'unbiased CKA');
  });
}

test('clamping outliers first is that of platonic-rep', () => {
  const [a, b] = [unitRows(clampOutliers(A, 0.95), 64), unitRows(clampOutliers(B, 0.95), 48)];
  for (const k of [5, 10, 20]) {
    const score = cknna(neighbours(a, k), neighbours(b, k));
    assertNear(score, expected.outlier95_exact_then_normalized_fp64[k], 1e-9, `CKNNA at ${k}`);
  }
});

test('neighbours are listed from the nearest on, without the sample itself', () => {
  assert.deepEqual(neighbours(unitRows(A, 64), 10).indices, file.read('align.knn10_A').data);
  assert.deepEqual(neighbours(unitRows(B, 48), 10).indices, file.read('align.knn10_B').data);
});

test('neighbours among other rows may have the same index; of equals the first is taken', () => {
  const queries: Matrix = { rows: 2, columns: 1, data: Float64Array.of(1, -1) };
  const candidates: Matrix = { rows: 4, columns: 1, data: Float64Array.of(5, 7, 7, -2) };
  const found = nearestNeighbours(queries, candidates, 3);
  assert.deepEqual([...found.indices], [1, 2, 0, 3, 0, 1]);
  assert.deepEqual([...found.similarities], [7, 7, 5, 2, -5, -7]);
  assert.throws(() => nearestNeighbours(candidates, candidates, 4), UsageError);
});

test('blocks do not change neighbours: more rows than fit in one', () => {
  const features = new Float64Array(5000 * 2);
  fillNormal(features, 3, 1, 0);
  const all = unitRows(features, 2);
  const found = neighbours(all, 3);
  for (const row of [0, 837, 838, 2500, 4999]) {
    const cosines = Array.from({ length: 5000 }, (_, i) => {
      return all.data[2 * row] * all.data[2 * i] + all.data[2 * row + 1] * all.data[2 * i + 1];
    });
    cosines[row] = Number.NEGATIVE_INFINITY;
    const nearest = Math.max(...cosines);
    assertNear(found.similarities[3 * row], nearest, 1e-15, `row ${row}`);
    assertNear(cosines[found.indices[3 * row]], nearest, 1e-15, `row ${row}`);
  }
});

test('a representation agrees with itself, and not with one of shuffled samples', () => {
  const [a, b] = [unitRows(A, 64), unitRows(A.slice().reverse(), 64)];
  // Computed in f32 there.
  assertNear(cknna(neighbours(a, 10), neighbours(a, 10)), expected.self_cknna10, 1e-5, 'itself');
  assert.ok(cknna(neighbours(a, 10), neighbours(b, 10)) < 0.1, 'shuffled');
  assertNear(cka(a, a), 1, 1e-6, 'CKA with itself');
});
