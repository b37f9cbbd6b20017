/** Mean and covariance of features that arrive in batches or lie in shards, in f64. */

import { DataError } from '../errors.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';

/** The Gaussian that the Frechet distance compares. */
export interface Gaussian {
  readonly mean: Float64Array; // [D]
  /** Divided by the number of samples less one. */
  readonly covariance: Float64Array; // [D, D]
  /** How many samples it was estimated from; published references often do not tell. */
  readonly count?: number;
}

/** Rows taken into one matrix product. */
const BLOCK = 512;

/**
 * Count, mean and scatter matrix (the sum of the outer products of the deviations from the mean), combined by the
 * formulas of Chan, Golub and LeVeque (1979): no cancellation whatever the mean, and shards merge in any order.
 */
export class FeatureStatistics {
  readonly dims: number;
  #count = 0;
  readonly #mean: Float64Array; // [D]
  readonly #scatter: Float64Array; // [D, D]
  readonly #pending: Float64Array; // [BLOCK, D]
  #pendingRows = 0;

  constructor(dims: number) {
    this.dims = dims;
    this.#mean = new Float64Array(dims);
    this.#scatter = new Float64Array(dims * dims);
    this.#pending = new Float64Array(BLOCK * dims);
  }

  get count(): number {
    return this.#count + this.#pendingRows;
  }

  /** Takes in rows of features, [rows, D]. */
  add(features: Float32Array | Float64Array): void {
    for (let start = 0; start < features.length; start += this.dims) {
      this.#pending.set(features.subarray(start, start + this.dims), this.#pendingRows * this.dims);
      this.#pendingRows++;
      if (this.#pendingRows === BLOCK) this.#flush();
    }
  }

  /** Adds the rows that another one has taken in. */
  merge(other: FeatureStatistics): void {
    other.#flush();
    this.#flush();
    this.#combine(other.#count, other.#mean, other.#scatter);
  }

  /**
   * The estimate from all rows so far.
   * @throws DataError with fewer than two
   */
  gaussian(): Gaussian {
    this.#flush();
    if (this.#count < 2) throw new DataError(`cannot estimate a covariance from ${this.#count} samples`);
    return {
      mean: this.#mean.slice(),
      covariance: this.#scatter.map((sum) => sum / (this.#count - 1)),
      count: this.#count,
    };
  }

  /** The statistics that an estimate came from, so that shards saved as estimates can be merged. */
  static from({ mean, covariance, count }: Gaussian & { count: number }): FeatureStatistics {
    const statistics = new FeatureStatistics(mean.length);
    statistics.#combine(
      count,
      mean,
      covariance.map((value) => value * (count - 1)),
    );
    return statistics;
  }

  #flush(): void {
    const rows = this.#pendingRows;
    if (rows === 0) return;
    const block = this.#pending.subarray(0, rows * this.dims); // [rows, D]
    const mean = centre(block, this.dims);
    const centred: Matrix = { rows, columns: this.dims, data: block };
    const scatter = matrixProduct(centred, centred, { transposeA: true }); // [D, D]
    this.#combine(rows, mean, scatter.data);
    this.#pendingRows = 0;
  }

  #combine(count: number, mean: Float64Array, scatter: Float64Array): void {
    if (count === 0) return;
    const total = this.#count + count;
    const weight = (this.#count * count) / total;
    const shift = mean.map((value, i) => value - this.#mean[i]);
    for (let i = 0, at = 0; i < this.dims; i++) {
      const scaled = weight * shift[i];
      for (let j = 0; j < this.dims; j++, at++) this.#scatter[at] += scatter[at] + scaled * shift[j];
    }
    for (let i = 0; i < this.dims; i++) this.#mean[i] += (count / total) * shift[i];
    this.#count = total;
  }
}

/** Subtracts their mean from rows of `columns` values, in place, and returns it. */
export function centre(rows: Float64Array, columns: number): Float64Array {
  const mean = new Float64Array(columns);
  for (let start = 0; start < rows.length; start += columns) {
    for (let j = 0; j < columns; j++) mean[j] += rows[start + j];
  }
  const count = rows.length / columns;
  for (let j = 0; j < columns; j++) mean[j] /= count;
  for (let start = 0; start < rows.length; start += columns) {
    for (let j = 0; j < columns; j++) rows[start + j] -= mean[j];
  }
  return mean;
}
