/** The kernel Inception distance (arXiv 1801.01401): squared maximum mean discrepancy with a cubic kernel. */

import { UsageError } from '../errors.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';
import { PURPOSE, permutation } from '../numbers/random.js';

export interface KernelDistance {
  /** Over the subsets. */
  mean: number;
  /** Of the subsets, divided by their number. */
  deviation: number;
}

export interface SubsetOptions {
  subsets?: number;
  subsetSize?: number;
  seed: number;
}

type Features = Matrix<Float32Array> | Matrix;

/**
 * The mean of the unbiased estimate over pairs of random subsets, as the paper reports it. Only the subsets are in f64.
 * @param a [N, D] and `b` [M, D]: features
 * @throws UsageError when a set is smaller than a subset
 */
export function kernelDistance(a: Features, b: Features, options: SubsetOptions): KernelDistance {
  const { subsets = 100, subsetSize = 1000, seed } = options;
  const smaller = Math.min(a.rows, b.rows);
  if (smaller < subsetSize) {
    throw new UsageError(
      `cannot draw ${subsetSize} of ${smaller} samples for KID`,
      'take more samples, or smaller subsets',
    );
  }
  const distances = Array.from({ length: subsets }, (_, subset) => {
    const draw = (rows: number, turn: number) => {
      return permutation(rows, seed, PURPOSE.subset, 2 * subset + turn).subarray(0, subsetSize);
    };
    return squaredDiscrepancy(pickRows(a, draw(a.rows, 0)), pickRows(b, draw(b.rows, 1)));
  });
  const mean = distances.reduce((sum, value) => sum + value, 0) / subsets;
  const variance = distances.reduce((sum, value) => sum + (value - mean) ** 2, 0) / subsets;
  return { mean, deviation: Math.sqrt(variance) };
}

/** The unbiased estimate for two sets of m samples (pairs of a sample with itself left out); it can be negative. */
export function squaredDiscrepancy(a: Matrix, b: Matrix): number {
  const m = a.rows;
  const within = kernelSum(a, a, true) + kernelSum(b, b, true);
  return within / (m * (m - 1)) - (2 * kernelSum(a, b, false)) / (m * m);
}

/** The rows of a matrix at `indices`, in that order, in f64. */
export function pickRows({ columns, data }: Features, indices: ArrayLike<number>): Matrix {
  const picked = new Float64Array(indices.length * columns);
  for (let row = 0; row < indices.length; row++) {
    picked.set(data.subarray(indices[row] * columns, (indices[row] + 1) * columns), row * columns);
  }
  return { rows: indices.length, columns, data: picked };
}

/** The sum of (x.y / D + 1)^3 over pairs of rows. */
function kernelSum(a: Matrix, b: Matrix, skipDiagonal: boolean): number {
  const { rows, columns, data } = matrixProduct(a, b, { transposeB: true });
  const kernel = (product: number): number => (product / a.columns + 1) ** 3;
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += kernel(data[i]);
  for (let i = 0; skipDiagonal && i < rows; i++) sum -= kernel(data[i * (columns + 1)]);
  return sum;
}
