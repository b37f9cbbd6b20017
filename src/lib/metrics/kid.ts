/** The kernel Inception distance (arXiv 1801.01401): squared maximum mean discrepancy with a cubic kernel. */

import { UsageError } from '../errors.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';
import { PURPOSE, permutation } from '../numbers/random.js';

export interface KernelDistance {
  /** Mean over the subsets. */
  mean: number;
  /** Standard deviation over the subsets (divided by their number). */
  deviation: number;
}

export interface SubsetOptions {
  subsets?: number;
  subsetSize?: number;
  seed: number;
}

/** Products are computed in the precision of the features: f32 moves the result by about 1e-8. */
type Floats = Float32Array | Float64Array;

/**
 * The mean of the unbiased estimate over pairs of random subsets, as the paper reports it.
 * @param a [N, D] and `b` [M, D]: features
 * @throws UsageError when a set is smaller than a subset
 */
export function kernelDistance<T extends Floats>(a: Matrix<T>, b: Matrix<T>, options: SubsetOptions): KernelDistance {
  const { subsets = 100, subsetSize = 1000, seed } = options;
  const smaller = Math.min(a.rows, b.rows);
  if (smaller < subsetSize || subsetSize < 2) {
    throw new UsageError(
      `cannot draw ${subsetSize} of ${smaller} samples for KID`,
      'Take more samples, or smaller subsets.',
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
export function squaredDiscrepancy<T extends Floats>(a: Matrix<T>, b: Matrix<T>): number {
  const m = a.rows;
  return (pairSum(a) + pairSum(b)) / (m * (m - 1)) - (2 * kernelSum(a, b)) / (m * m);
}

/** The rows of a matrix at `indices`, in that order. */
export function pickRows<T extends Floats>({ columns, data }: Matrix<T>, indices: ArrayLike<number>): Matrix<T> {
  const picked = new (data.constructor as new (length: number) => T)(indices.length * columns);
  for (let row = 0; row < indices.length; row++) {
    picked.set(data.subarray(indices[row] * columns, (indices[row] + 1) * columns), row * columns);
  }
  return { rows: indices.length, columns, data: picked };
}

/** The number of blocks that a set is cut into. */
const BLOCKS = 4;

/** The kernel's sum over pairs of different rows of one set: by symmetry, one product for two blocks is enough. */
function pairSum<T extends Floats>(a: Matrix<T>): number {
  const height = Math.ceil(a.rows / BLOCKS);
  let sum = 0;
  for (let row = 0; row < a.rows; row += height) {
    const block = rowsOf(a, row, height);
    sum += kernelSum(block, block) - diagonalSum(block);
    for (let other = row + height; other < a.rows; other += height) {
      sum += 2 * kernelSum(block, rowsOf(a, other, height));
    }
  }
  return sum;
}

const cubed = (x: number): number => x * x * x; // ten times as fast as a power

/** The sum of (x.y / D + 1)^3 over pairs of a row of one and a row of the other. */
function kernelSum<T extends Floats>(a: Matrix<T>, b: Matrix<T>): number {
  const { data } = matrixProduct(a, b, { transposeB: true });
  const scale = 1 / a.columns;
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += cubed(data[i] * scale + 1);
  return sum;
}

/** The kernel's sum over pairs of a row with itself. */
function diagonalSum({ rows, columns, data }: Matrix<Floats>): number {
  let sum = 0;
  for (let row = 0, i = 0; row < rows; row++) {
    let norm = 0;
    for (let j = 0; j < columns; j++, i++) norm += data[i] * data[i];
    sum += cubed(norm / columns + 1);
  }
  return sum;
}

function rowsOf<T extends Floats>({ rows, columns, data }: Matrix<T>, first: number, count: number): Matrix<T> {
  const end = Math.min(rows, first + count);
  return { rows: end - first, columns, data: data.subarray(first * columns, end * columns) as T };
}
