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
const BLOCK = 2048;

/**
 * @param samples [N, D] and `reference` [M, D] features; the ADM suite takes 50,000 and 10,000.
 * @param k neighbours that give a manifold its radii.
 * @throws UsageError when a set has no k neighbours
 */
export function precisionRecall(samples: Features, reference: Features, k = 3): PrecisionRecall {
  const sampleNorms = squaredNorms(samples);
  const referenceNorms = squaredNorms(reference);
  const sampleBall = squaredRadii(samples, sampleNorms, k);
  const referenceBall = squaredRadii(reference, referenceNorms, k);
  const sampleCovered = new Uint8Array(samples.rows);
  const referenceCovered = new Uint8Array(reference.rows);
  const products = new Float32Array(blockSize(samples) * blockSize(reference));
  for (let row = 0; row < samples.rows; row += BLOCK) {
    for (let column = 0; column < reference.rows; column += BLOCK) {
      const block = product(samples, row, reference, column, products);
      for (let i = 0; i < block.rows; i++) {
        const [norm, ball] = [sampleNorms[row + i], sampleBall[row + i]];
        let covered = 0;
        for (let j = 0, at = i * block.columns; j < block.columns; j++, at++) {
          const distance = norm + referenceNorms[column + j] - 2 * block.data[at];
          if (distance <= referenceBall[column + j]) covered = 1;
          if (distance <= ball) referenceCovered[column + j] = 1;
        }
        sampleCovered[row + i] |= covered;
      }
    }
  }
  const share = (covered: Uint8Array): number => covered.reduce((sum, value) => sum + value, 0) / covered.length;
  return { precision: share(sampleCovered), recall: share(referenceCovered) };
}

/**
 * The squared distance of each row to its k-th nearest other row. Distances are symmetric: half of the blocks is
 * enough, each of which tells of its rows and of its columns.
 */
function squaredRadii(features: Features, norms: Float64Array, k: number): Float64Array {
  const { rows } = features;
  if (k < 1 || k >= rows) throw new UsageError(`cannot take ${k} neighbours of ${rows - 1}`);
  const nearest = new Nearest(rows, k);
  const { largest } = nearest;
  const products = new Float32Array(blockSize(features) ** 2);
  for (let row = 0; row < rows; row += BLOCK) {
    for (let column = row; column < rows; column += BLOCK) {
      const block = product(features, row, features, column, products);
      for (let i = 0; i < block.rows; i++) {
        const own = row + i;
        // On the diagonal, what is right of it.
        const first = column === row ? i + 1 : 0;
        for (let j = first, at = i * block.columns + first; j < block.columns; j++, at++) {
          const distance = norms[own] + norms[column + j] - 2 * block.data[at];
          if (distance < largest[own]) nearest.insert(own, distance);
          if (distance < largest[column + j]) nearest.insert(column + j, distance);
        }
      }
    }
  }
  return largest;
}

/** The k smallest distances of each row. */
class Nearest {
  /** For each row the k-th smallest: another distance counts only below it. */
  readonly largest: Float64Array; // [rows]
  readonly #k: number;
  readonly #distances: Float64Array; // [rows, k], ascending in each row

  constructor(rows: number, k: number) {
    this.#k = k;
    this.largest = new Float64Array(rows).fill(Number.POSITIVE_INFINITY);
    this.#distances = new Float64Array(rows * k).fill(Number.POSITIVE_INFINITY);
  }

  /** Rounding may make the distance of equal rows negative: it counts as 0. */
  insert(row: number, distance: number): void {
    const first = row * this.#k;
    let place = first + this.#k - 1;
    for (; place > first && this.#distances[place - 1] > distance; place--) {
      this.#distances[place] = this.#distances[place - 1];
    }
    this.#distances[place] = Math.max(0, distance);
    this.largest[row] = this.#distances[first + this.#k - 1];
  }
}

const blockSize = ({ rows }: Features): number => Math.min(BLOCK, rows);

/** Inner products of a block of rows of `a` with one of `b`: [rows, columns] f32; norms are f64. */
function product(a: Features, row: number, b: Features, column: number, products: Float32Array): Features {
  const [left, right] = [slice(a, row), slice(b, column)];
  const into = products.subarray(0, left.rows * right.rows);
  return matrixProduct(left, right, { transposeB: true, into });
}

function slice({ rows, columns, data }: Features, first: number): Features {
  const end = Math.min(rows, first + BLOCK);
  return { rows: end - first, columns, data: data.subarray(first * columns, end * columns) };
}

function squaredNorms({ rows, columns, data }: Features): Float64Array {
  const norms = new Float64Array(rows);
  for (let row = 0, i = 0; row < rows; row++) {
    let sum = 0;
    for (let j = 0; j < columns; j++, i++) sum += data[i] * data[i];
    norms[row] = sum;
  }
  return norms;
}
