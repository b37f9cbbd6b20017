/**
 * The Frechet distance extrapolated to infinitely many samples (arXiv 1911.07023); on Inception features, FID-infinity.
 */

import { UsageError } from '../errors.js';
import type { Matrix } from '../linalg/matrix-product.js';
import { PURPOSE, permutation } from '../numbers/random.js';
import { frechetDistance } from './frechet.js';
import { FeatureStatistics, type Gaussian } from './statistics.js';

/** The paper takes subsets of 5000 samples up to all; with fewer than 10,000 samples, they start at half. */
const SMALLEST = 5000;
const SUBSETS = 15;

/**
 * The distance of N samples is too large by about c / N, so a line through the distances of random subsets of several
 * sizes, drawn over 1 / N, meets 0 at the distance without that bias. One subset is held at a time.
 *
 * @param samples [N, D]
 * @throws UsageError when there are too few samples to make subsets of
 */
export function frechetInfinity(samples: Matrix<Float32Array>, reference: Gaussian, seed: number): number {
  const { rows } = samples;
  const smallest = Math.min(SMALLEST, Math.floor(rows / 2));
  if (smallest < 2) throw new UsageError(`cannot take subsets of ${rows} samples`, 'Take more samples.');
  const sizes = Array.from({ length: SUBSETS }, (_, i) =>
    Math.floor(smallest + ((rows - smallest) * i) / (SUBSETS - 1)),
  );
  const distances = sizes.map((size, subset) => {
    const chosen = permutation(rows, seed, PURPOSE.subset, subset).subarray(0, size);
    return frechetDistance(gaussianOf(samples, chosen), reference);
  });
  return interceptOf(
    sizes.map((size) => 1 / size),
    distances,
  );
}

function gaussianOf({ columns, data }: Matrix<Float32Array>, rows: Uint32Array): Gaussian {
  const statistics = new FeatureStatistics(columns);
  for (const row of rows) statistics.add(data.subarray(row * columns, (row + 1) * columns));
  return statistics.gaussian();
}

/** Where the least-squares line through points meets x = 0. */
export function interceptOf(x: readonly number[], y: readonly number[]): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanX, meanY] = [mean(x), mean(y)];
  const covariance = mean(x.map((value, i) => (value - meanX) * (y[i] - meanY)));
  const variance = mean(x.map((value) => (value - meanX) ** 2));
  return meanY - (covariance / variance) * meanX;
}
