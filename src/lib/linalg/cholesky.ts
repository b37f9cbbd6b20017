/** Cholesky factors of covariances, which may be rank-deficient. */
import { DataError } from '../errors.js';
import { type Matrix, matrixProduct } from './matrix-product.js';

const BLOCK = 64;

/**
 * How far below 0 rounding may leave a pivot or an eigenvalue of a covariance, relative to the largest: covariances
 * that were summed in f32 need that much.
 */
export const NEGATIVE = 1e-3;

/** The error for a matrix that is further below 0. */
export const notCovariance = (): DataError =>
  new DataError('a covariance is not positive semi-definite', 'It was not computed from features: make it anew.');

/**
 * The lower triangular L with L L' = `matrix` (symmetric positive semi-definite; only its lower triangle is read). A
 * pivot that is zero up to rounding gives a column of zeros, so a matrix of rank r has n - r of them.
 *
 * @throws DataError when the matrix is indefinite by more than rounding
 *
 * Goes by blocks of columns, from the left: nearly all of the work is one matrix product a block.
 */
export function cholesky({ rows: n, data: a }: Matrix): Matrix {
  const factor = new Float64Array(n * n);
  const smallestPivot = n * Number.EPSILON * largestDiagonal(a, n);
  for (let first = 0; first < n; first += BLOCK) {
    const width = Math.min(BLOCK, n - first);
    const remaining = n - first;
    // The columns of the factor from `first` on are still zero, so whole rows can be multiplied where they lie.
    const below: Matrix = { rows: remaining, columns: n, data: factor.subarray(first * n) };
    const block: Matrix = { rows: width, columns: n, data: factor.subarray(first * n, (first + width) * n) };
    const known = matrixProduct(below, block, { transposeB: true }).data; // [remaining, width]
    for (let i = 0; i < remaining; i++) {
      const row = (first + i) * n + first;
      for (let j = 0; j < Math.min(width, i + 1); j++) factor[row + j] = a[row + j] - known[i * width + j];
    }
    factorBlock(a, factor, first, width, smallestPivot);
  }
  return { rows: n, columns: n, data: factor };
}

/** Factors the columns `first ... first + width - 1` from the diagonal down, in place. */
function factorBlock(a: Float64Array, factor: Float64Array, first: number, width: number, smallestPivot: number): void {
  const n = Math.sqrt(a.length);
  for (let i = first; i < n; i++) {
    const row = i * n;
    for (let j = first; j < Math.min(first + width, i + 1); j++) {
      const other = j * n;
      let sum = factor[row + j];
      for (let k = first; k < j; k++) sum -= factor[row + k] * factor[other + k];
      if (i === j && sum < -NEGATIVE * a[row + j]) throw notCovariance();
      if (i === j) factor[row + j] = sum > smallestPivot ? Math.sqrt(sum) : 0;
      else factor[row + j] = factor[other + j] > 0 ? sum / factor[other + j] : 0;
    }
  }
}

function largestDiagonal(a: Float64Array, n: number): number {
  let largest = 0;
  for (let i = 0; i < n; i++) largest = Math.max(largest, a[i * n + i]);
  return largest;
}
