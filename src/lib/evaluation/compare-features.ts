/** The alignment of two files of features of the same images. */

import { DataError, UsageError } from '../errors.js';
import type { Matrix } from '../linalg/matrix-product.js';
import { cka, unbiasedCka } from '../metrics/cka.js';
import { cknna, mutualKnn } from '../metrics/cknna.js';
import { clampOutliers, unitRows } from '../metrics/features.js';
import { pickRows } from '../metrics/kid.js';
import { type Neighbours, nearestNeighbours } from '../metrics/neighbours.js';
import { type FeatureColumn, readFeatureColumns } from './feature-columns.js';

export type AlignmentMetric = 'cknna' | 'cka' | 'unbiased-cka' | 'mutual-knn';

export interface Alignment {
  metric: AlignmentMetric;
  /** The columns that were compared: `hidden.b4.t0.5 ~ feature`. */
  column: string;
  value: number;
  rows: number;
  /** Neighbours, for metrics that use them. */
  k: number | undefined;
}

export interface AlignmentOptions {
  metrics: readonly string[];
  /** Neighbours of each row. */
  k: number;
  /** Clamps each feature to plus or minus this quantile of all magnitudes first, as platonic-rep does with 0.95. */
  clamp?: number;
}

interface UnitColumn extends Pick<FeatureColumn, 'name' | 'keys'> {
  matrix: Matrix; // [N, D], rows of length 1
}

/**
 * Compares every column of `a` with every column of `b`.
 * @throws DataError when the two are not of the same images; UsageError for an unknown metric
 */
export async function* compareFeatures(
  a: string,
  b: string,
  { metrics, k, clamp }: AlignmentOptions,
): AsyncGenerator<Alignment> {
  for (const metric of metrics) {
    if (Object.hasOwn(MEASURES, metric)) continue;
    throw new UsageError(`there is no metric '${metric}'`, `There are ${Object.keys(MEASURES).join(', ')}.`);
  }
  if (a === '-' && b === '-') throw new UsageError('only one of the two can come from stdin');
  const [left, right] = [await readColumns(a, clamp), await readColumns(b, clamp)];
  for (const one of left) {
    for (const other of right) {
      const [x, y] = joined(one, other, a, b);
      for (const metric of metrics as AlignmentMetric[]) {
        const value = MEASURES[metric](x, y, k);
        const usesNeighbours = metric === 'cknna' || metric === 'mutual-knn';
        yield { metric, column: `${one.name} ~ ${other.name}`, value, rows: x.rows, k: usesNeighbours ? k : undefined };
      }
    }
  }
}

/** Neighbours by set: they serve two metrics, and those of the reference serve every column. */
const known = new WeakMap<Matrix, Neighbours>();

function neighbours(matrix: Matrix, k: number): Neighbours {
  const found = known.get(matrix) ?? nearestNeighbours(matrix, matrix, k);
  known.set(matrix, found);
  return found;
}

const MEASURES: Readonly<Record<AlignmentMetric, (a: Matrix, b: Matrix, k: number) => number>> = {
  cknna: (a, b, k) => cknna(neighbours(a, k), neighbours(b, k)),
  cka: (a, b) => cka(a, b),
  'unbiased-cka': (a, b) => unbiasedCka(a, b),
  'mutual-knn': (a, b, k) => mutualKnn(neighbours(a, k), neighbours(b, k)),
};

async function readColumns(input: string, clamp: number | undefined): Promise<UnitColumn[]> {
  const columns = await readFeatureColumns(input);
  return columns.map(({ name, keys, dim, values }) => {
    return { name, keys, matrix: unitRows(clamp === undefined ? values : clampOutliers(values, clamp), dim) };
  });
}

/** Both matrices with the rows of the images that both have, in the order of the first. */
function joined(a: UnitColumn, b: UnitColumn, pathA: string, pathB: string): [Matrix, Matrix] {
  if (!a.keys || !b.keys) {
    if (a.matrix.rows === b.matrix.rows) return [a.matrix, b.matrix];
    throw new DataError(
      `${pathA} has ${a.matrix.rows} rows, ${pathB} has ${b.matrix.rows}: they are not of the same images`,
    );
  }
  if (a.keys.length === b.keys.length && a.keys.every((key, i) => key === b.keys![i])) return [a.matrix, b.matrix];
  const rowInB = new Map(b.keys.map((key, row) => [key, row]));
  const shared = a.keys.flatMap((key, row) => (rowInB.has(key) ? [[row, rowInB.get(key)!]] : []));
  if (shared.length === 0) throw new DataError(`${pathA} and ${pathB} have no image in common`);
  const [own, others] = [shared.map(([row]) => row), shared.map(([, row]) => row)];
  return [pickRows(a.matrix, own), pickRows(b.matrix, others)];
}
