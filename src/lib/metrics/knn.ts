/** k-nearest-neighbour classification: a probe of a representation that trains nothing. */
import { UsageError } from '../errors.js';
import type { Matrix } from '../linalg/matrix-product.js';
import { type FeatureRows, rowRange, rowsAtATime } from './feature-rows.js';
import { unitRows } from './features.js';
import { type Neighbours, nearestNeighbours } from './neighbours.js';

export interface KnnOptions {
  k?: number;
  /** The temperature of the weights exp(cosine / temperature). */
  temperature?: number;
  blockElements?: number;
}

/** Elements of features that are converted to f64 at a time. */
const BLOCK_ELEMENTS = 2 ** 23;

/** The most bytes held at a time for these sets: a block of each, and products of their rows. */
export const knnMemory = (sets: readonly Pick<FeatureRows, 'rows' | 'columns'>[]): number =>
  PRODUCTS + sets.reduce((sum, set) => sum + 12 * rowsAtATime(set, BLOCK_ELEMENTS) * set.columns, 0);
const PRODUCTS = 2 ** 25;

/**
 * The share of test samples whose label wins the weighted vote of their nearest training samples, by the protocol of
 * DINO (arXiv 2104.14294, section 4: k = 20, temperature 0.07).
 *
 * @param train [N, D] and `test` [M, D]; a block of each is read at a time, and normalised in f64.
 * @throws UsageError when there are fewer than k training samples
 */
export function knnAccuracy(
  train: FeatureRows,
  trainLabels: Int32Array,
  test: FeatureRows,
  testLabels: Int32Array,
  { k = 20, temperature = 0.07, blockElements = BLOCK_ELEMENTS }: KnnOptions = {},
): number {
  const { indices, similarities } = nearestInBlocks(test, train, k, blockElements);
  let right = 0;
  for (let row = 0; row < test.rows; row++) {
    const votes = new Map<number, number>();
    for (let i = row * k; i < (row + 1) * k; i++) {
      const label = trainLabels[indices[i]];
      votes.set(label, (votes.get(label) ?? 0) + Math.exp(similarities[i] / temperature));
    }
    // Of equal votes the nearest neighbour's class wins: it was entered first.
    const [winner] = [...votes].reduce((best, vote) => (vote[1] > best[1] ? vote : best));
    if (winner === testLabels[row]) right++;
  }
  return right / test.rows;
}

/** The nearest neighbours, found in one block of the candidates after another. */
function nearestInBlocks(queries: FeatureRows, candidates: FeatureRows, k: number, elements: number): Neighbours {
  const height = Math.max(1, Math.ceil(elements / candidates.columns));
  if (k > candidates.rows)
    throw new UsageError(`cannot take ${k} neighbours of ${candidates.rows}`, 'Choose a smaller -k.');
  const indices = new Int32Array(queries.rows * k);
  const similarities = new Float64Array(queries.rows * k).fill(Number.NEGATIVE_INFINITY);
  for (let first = 0; first < candidates.rows; first += height) {
    const others = unitBlock(candidates, first, height);
    for (let row = 0; row < queries.rows; row += height) {
      const block = unitBlock(queries, row, height);
      const found = nearestNeighbours(block, others, Math.min(k, others.rows));
      for (let i = 0; i < block.rows; i++) {
        const [from, to] = [(row + i) * k, (row + i + 1) * k];
        merge(found, i, first, indices.subarray(from, to), similarities.subarray(from, to));
      }
    }
  }
  return { rows: queries.rows, k, indices, similarities };
}

function unitBlock(features: FeatureRows, first: number, count: number): Matrix {
  const rows = rowRange(features, first, count);
  const values = new Float32Array(rows.length * features.columns);
  features.read(rows, values);
  return unitRows(values, features.columns);
}

/** Merges the neighbours of a row in one block with those of earlier blocks, which stay first among equals. */
function merge(found: Neighbours, row: number, first: number, indices: Int32Array, values: Float64Array): void {
  for (let i = row * found.k; i < (row + 1) * found.k; i++) {
    let place = values.length - 1;
    if (!(found.similarities[i] > values[place])) return;
    for (; place > 0 && values[place - 1] < found.similarities[i]; place--) {
      values[place] = values[place - 1];
      indices[place] = indices[place - 1];
    }
    values[place] = found.similarities[i];
    indices[place] = first + found.indices[i];
  }
}
