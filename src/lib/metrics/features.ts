/** Normalises feature vectors before they are compared. */
import type { Matrix } from '../linalg/matrix-product.js';

/** Rows of `columns` features, each divided by its length (one of length 0 stays 0): f64. */
export function unitRows(features: ArrayLike<number>, columns: number): Matrix {
  const data = new Float64Array(features);
  for (let start = 0; start < data.length; start += columns) {
    let sum = 0;
    for (let i = start; i < start + columns; i++) sum += data[i] * data[i];
    const norm = Math.max(Math.sqrt(sum), 1e-12);
    for (let i = start; i < start + columns; i++) data[i] /= norm;
  }
  return { rows: data.length / columns, columns, data };
}

/**
 * Clamps features to plus or minus the `quantile` of their magnitudes, as platonic-rep does (0.95) against outliers.
 */
export function clampOutliers(features: Float32Array, quantile: number): Float32Array {
  const magnitudes = features.map(Math.abs).sort();
  const limit = magnitudes[Math.min(features.length - 1, Math.floor(quantile * features.length))];
  return features.map((value) => Math.min(limit, Math.max(-limit, value)));
}
