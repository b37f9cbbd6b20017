/**
 * Centred kernel alignment with the linear kernel (arXiv 1905.00414). The N x N kernels are never formed: all that is
 * needed of them follows from the D x D products of the features.
 */
import { UsageError } from '../errors.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';
import { centre } from './statistics.js';

/** That of platonic-rep, with whose numbers ours have to agree. */
const EPSILON = 1e-6;

/**
 * CKA of two representations of the same samples, with the biased estimate of HSIC. A representation that does not vary
 * has 0.
 * @throws UsageError with fewer than two samples
 */
export function cka(a: Matrix, b: Matrix): number {
  refuseFew(a, 2);
  const [x, y] = [centred(a), centred(b)];
  return alignment(squaredNorm(x, y), squaredNorm(x, x), squaredNorm(y, y));
}

/**
 * CKA with the unbiased HSIC, which does not grow with the number of dimensions.
 * @throws UsageError with fewer than four samples
 */
export function unbiasedCka(a: Matrix, b: Matrix): number {
  refuseFew(a, 4);
  return alignment(unbiasedHsic(a, b), unbiasedHsic(a, a), unbiasedHsic(b, b));
}

function refuseFew({ rows }: Matrix, least: number): void {
  if (rows < least) throw new UsageError(`this kernel alignment takes at least ${least} rows, not ${rows}`);
}

/** Unbiased estimates of representations that do not vary may come out below 0. */
const alignment = (ab: number, aa: number, bb: number): number =>
  ab / (Math.sqrt(Math.max(0, aa) * Math.max(0, bb)) + EPSILON);

function centred({ rows, columns, data }: Matrix): Matrix {
  const copy = data.slice();
  centre(copy, columns);
  return { rows, columns, data: copy };
}

/** |A'B|^2, which is tr(K L) of the kernels K = A A' and L = B B'. */
function squaredNorm(a: Matrix, b: Matrix): number {
  return matrixProduct(a, b, { transposeA: true }).data.reduce((sum, value) => sum + value * value, 0);
}

/** Song et al. (2012), equation 5; the kernels' diagonals count as 0. */
function unbiasedHsic(a: Matrix, b: Matrix): number {
  const n = a.rows;
  const [fromA, fromB] = [kernelSums(a), kernelSums(b)];
  const dot = (x: Float64Array, y: Float64Array) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  const trace = squaredNorm(a, b) - dot(fromA.diagonal, fromB.diagonal);
  const through = dot(fromA.rowSums, fromB.rowSums);
  return (trace + (fromA.total * fromB.total) / ((n - 1) * (n - 2)) - (2 * through) / (n - 2)) / (n * (n - 3));
}

/** The diagonal of A A', and the sums of its rows without it. */
function kernelSums({ rows, columns, data }: Matrix) {
  const sum = new Float64Array(columns);
  for (let i = 0; i < data.length; i++) sum[i % columns] += data[i];
  const diagonal = new Float64Array(rows);
  const rowSums = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    for (let j = 0, i = row * columns; j < columns; j++, i++) {
      diagonal[row] += data[i] * data[i];
      rowSums[row] += data[i] * sum[j];
    }
    rowSums[row] -= diagonal[row];
  }
  return { diagonal, rowSums, total: rowSums.reduce((total, value) => total + value, 0) };
}
