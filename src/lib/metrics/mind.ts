/** The Monge inception distance (arXiv 2605.06797): the distance of two sets of features along random directions. */

import { UsageError } from '../errors.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';
import { fillNormal, PURPOSE, permutation } from '../numbers/random.js';
import { pickRows } from './kid.js';

type Features = Matrix<Float32Array>;

export interface MongeOptions {
  seed: number;
  /** The number of random directions; published numbers take 1000 unless they say otherwise. */
  projections?: number;
}

/** Published numbers are this many times the dimension times the sliced distance. */
const SCALE = 3;
/** Directions whose projections are in memory at a time. */
const BLOCK = 64;

/**
 * MIND = 3 D / M sum_m W(u_m a, u_m b), with M unit directions u_m, and W as `wassersteinAlong`. Of sets of different
 * size, as many rows of the larger are drawn as the smaller has; the result falls with that number, so only distances
 * of as many images can be compared (the paper takes 5,000, or 1,000). Checked against torch-fidelity on its
 * directions.
 *
 * @param a [N, D] and `b` [M, D]: features
 * @returns at least 0; 0 for equal sets
 * @throws UsageError when a set has fewer than two rows
 */
export function mongeDistance(a: Features, b: Features, { seed, projections = 1000 }: MongeOptions): number {
  const rows = Math.min(a.rows, b.rows);
  if (rows < 2) throw new UsageError(`cannot compare ${rows} samples by MIND`, 'Take at least two.');
  const [left, right] = [someRows(a, rows, seed, 0), someRows(b, rows, seed, 1)];
  let sum = 0;
  for (let first = 0; first < projections; first += BLOCK) {
    const directions = unitDirections(first, Math.min(BLOCK, projections - first), a.columns, seed);
    for (const distance of wassersteinAlong(left, right, directions)) sum += distance;
  }
  return (SCALE * a.columns * sum) / projections;
}

/**
 * The squared 2-Wasserstein distance of the sets' projections on each direction: in one dimension, optimal transport
 * takes the j-th smallest to the j-th smallest.
 *
 * @param a [N, D] and `b` [N, D]: features, as many of each
 * @param directions [M, D]
 * @returns [M]
 */
export function wassersteinAlong(a: Features, b: Features, directions: Features): Float64Array {
  const left = matrixProduct(directions, a, { transposeB: true }).data; // [M, N]
  const right = matrixProduct(directions, b, { transposeB: true }).data; // [M, N]
  return Float64Array.from({ length: directions.rows }, (_, direction) => {
    const from = left.subarray(direction * a.rows, (direction + 1) * a.rows).sort();
    const to = right.subarray(direction * a.rows, (direction + 1) * a.rows).sort();
    let sum = 0;
    for (let i = 0; i < from.length; i++) sum += (from[i] - to[i]) ** 2;
    return sum / from.length;
  });
}

/** Directions first, first + 1, ... of a seed, spread evenly over the sphere: normals, divided by their length. */
function unitDirections(first: number, rows: number, columns: number, seed: number): Features {
  const data = new Float32Array(rows * columns); // [M, D]
  const normals = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    fillNormal(normals, seed, PURPOSE.direction, first + row);
    const length = Math.sqrt(normals.reduce((sum, value) => sum + value * value, 0));
    data.set(
      normals.map((value) => value / length),
      row * columns,
    );
  }
  return { rows, columns, data };
}

function someRows(features: Features, count: number, seed: number, set: number): Features {
  if (features.rows === count) return features;
  return pickRows(features, permutation(features.rows, seed, PURPOSE.transported, set).subarray(0, count));
}
