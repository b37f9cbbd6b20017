/** k-nearest-neighbour classification: a probe of a representation that trains nothing. */
import type { Matrix } from '../linalg/matrix-product.js';
import { nearestNeighbours } from './neighbours.js';

export interface KnnOptions {
  k?: number;
  /** Of the weights exp(cosine / temperature). */
  temperature?: number;
}

/**
 * The share of test samples whose label wins the weighted vote of their nearest training samples, by the protocol of DINO
 * (arXiv 2104.14294, section 4: k = 20, temperature 0.07).
 *
 * @param train [N, D] and `test` [M, D]: rows of length 1 (see unitRows).
 * @throws UsageError when there are fewer than k training samples
 */
export function knnAccuracy(
  train: Matrix,
  trainLabels: Int32Array,
  test: Matrix,
  testLabels: Int32Array,
  { k = 20, temperature = 0.07 }: KnnOptions = {},
): number {
  const { indices, similarities } = nearestNeighbours(test, train, k);
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
