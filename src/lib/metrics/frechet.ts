/** The Frechet distance between two Gaussians, on Inception features known as FID (arXiv 1706.08500). */

import { DataError } from '../errors.js';
import { cholesky, NEGATIVE, notCovariance } from '../linalg/cholesky.js';
import { symmetricEigenvalues } from '../linalg/eigenvalues.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';
import type { Gaussian } from './statistics.js';

/**
 * |m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)).
 *
 * With S1 = L L', the product S1 S2 has the eigenvalues of the symmetric L' S2 L, so the last trace is the sum of their
 * roots: no matrix root is taken, and covariances of too few samples need no padding.
 *
 * @throws DataError when the dimensions differ, or a matrix is not finite or not a covariance
 */
export function frechetDistance(a: Gaussian, b: Gaussian): number {
  const n = a.mean.length;
  if (b.mean.length !== n) {
    throw new DataError(`cannot compare features of ${n} dimensions with features of ${b.mean.length}`);
  }
  const square = (data: Float64Array): Matrix => ({ rows: n, columns: n, data });
  const factor = cholesky(square(a.covariance));
  const product = matrixProduct(matrixProduct(factor, square(b.covariance), { transposeA: true }), factor);
  const eigenvalues = symmetricEigenvalues(product.data, n);
  const [least, largest] = eigenvalues.reduce(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)],
    [0, 0],
  );
  if (least < -NEGATIVE * largest) throw notCovariance();
  const rootTrace = eigenvalues.reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
  const means = a.mean.reduce((sum, value, i) => sum + (value - b.mean[i]) ** 2, 0);
  const distance = means + trace(a.covariance, n) + trace(b.covariance, n) - 2 * rootTrace;
  if (!Number.isFinite(distance)) throw new DataError('the mean or the covariance of the features is not finite');
  // Equal distributions come out a rounding error below 0.
  return Math.max(0, distance);
}

/**
 * Whether there are too few samples for a covariance of full rank: the distance is then far from that of many samples.
 */
export const isRankDeficient = ({ mean, count }: Gaussian): boolean => count !== undefined && count <= mean.length;

function trace(matrix: Float64Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += matrix[i * (n + 1)];
  return sum;
}
