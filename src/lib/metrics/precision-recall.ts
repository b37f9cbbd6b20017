/** Improved precision and recall (arXiv 1904.06991): how much of one set lies on the manifold of the other. */

import { UsageError } from '../errors.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';

type Features = Matrix<Float32Array>;

export interface PrecisionRecall {
  /** Share of the samples that lie within the k-th neighbour's distance of some reference. */
  precision: number;
  /** Share of the references that lie within the k-th neighbour's distance of some sample. */
  recall: number;
}

/** Rows and columns of a block of distances. */
const BLOCK_ROWS = 1024;
const BLOCK_COLUMNS = 4096;

/**
 * @param samples [N, D] and `reference` [M, D] features; the ADM suite takes 50,000 and 10,000.
 * @param k neighbours that give a manifold its radii.
 * @throws UsageError when a set has no k neighbours
 */
export function precisionRecall(samples: Features, reference: Features, k = 3): PrecisionRecall {
  const sampleBall = squaredRadii(samples, k);
  const referenceBall = squaredRadii(reference, k);
  const sampleCovered = new Uint8Array(samples.rows);
  const referenceCovered = new Uint8Array(reference.rows);
  forEachDistance(samples, reference, (row, columns, distances) => {
    for (let j = 0; j < distances.length; j++) {
      if (distances[j] <= referenceBall[columns + j]) sampleCovered[row] = 1;
      if (distances[j] <= sampleBall[row]) referenceCovered[columns + j] = 1;
    }
  });
  const share = (covered: Uint8Array): number => covered.reduce((sum, value) => sum + value, 0) / covered.length;
  return { precision: share(sampleCovered), recall: share(referenceCovered) };
}

/** The squared distance of each row to its k-th nearest other row. */
function squaredRadii(features: Features, k: number): Float64Array {
  const { rows } = features;
  if (k < 1 || k >= rows) throw new UsageError(`cannot take ${k} neighbours of ${rows - 1}`);
  const nearest = new Float64Array(rows * k).fill(Number.POSITIVE_INFINITY); // ascending in each row
  forEachDistance(features, features, (row, columns, distances) => {
    const own = nearest.subarray(row * k, (row + 1) * k);
    for (let j = 0; j < distances.length; j++) {
      if (distances[j] < own[k - 1] && columns + j !== row) insert(own, distances[j]);
    }
  });
  return Float64Array.from({ length: rows }, (_, row) => nearest[row * k + k - 1]);
}

/** Puts `value` in its place among ascending values, dropping the last. */
function insert(ascending: Float64Array, value: number): void {
  let place = ascending.length - 1;
  for (; place > 0 && ascending[place - 1] > value; place--) ascending[place] = ascending[place - 1];
  ascending[place] = value;
}

/**
 * Hands out the squared distances of each row of `a` to runs of rows of `b`, the first of which is `columns`. Products are
 * f32, norms f64: |x|^2 + |y|^2 - 2 x y.
 */
function forEachDistance(
  a: Features,
  b: Features,
  visit: (row: number, columns: number, distances: Float64Array) => void,
): void {
  const [normsA, normsB] = [squaredNorms(a), squaredNorms(b)];
  const products = new Float32Array(Math.min(BLOCK_ROWS, a.rows) * Math.min(BLOCK_COLUMNS, b.rows));
  for (let column = 0; column < b.rows; column += BLOCK_COLUMNS) {
    const right = slice(b, column, BLOCK_COLUMNS);
    const distances = new Float64Array(right.rows);
    for (let row = 0; row < a.rows; row += BLOCK_ROWS) {
      const left = slice(a, row, BLOCK_ROWS);
      const into = products.subarray(0, left.rows * right.rows);
      matrixProduct(left, right, { transposeB: true, into });
      for (let i = 0; i < left.rows; i++) {
        for (let j = 0; j < right.rows; j++) {
          distances[j] = Math.max(0, normsA[row + i] + normsB[column + j] - 2 * into[i * right.rows + j]);
        }
        visit(row + i, column, distances);
      }
    }
  }
}

function slice({ rows, columns, data }: Features, first: number, count: number): Features {
  const end = Math.min(rows, first + count);
  return { rows: end - first, columns, data: data.subarray(first * columns, end * columns) };
}

function squaredNorms({ rows, columns, data }: Features): Float64Array {
  const norms = new Float64Array(rows);
  for (let row = 0, i = 0; row < rows; row++) {
    for (let j = 0; j < columns; j++, i++) norms[row] += data[i] * data[i];
  }
  return norms;
}
