/** Nearest neighbours by blocks of the matrix of inner products, which is never whole in memory. */

import { UsageError } from '../errors.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';

export interface Neighbours {
  readonly rows: number;
  readonly k: number;
  /** For each row its neighbours, the nearest first. */
  readonly indices: Int32Array; // [rows, k]
  readonly similarities: Float64Array; // [rows, k]
}

/** Elements of a block of inner products. */
const BLOCK_ELEMENTS = 1 << 22;

/**
 * The k rows of `candidates` with the largest inner product with each row of `queries`; of equals, the first. Where
 * both are the same object, a row is not its own neighbour.
 *
 * @throws UsageError when there are not k candidates
 */
export function nearestNeighbours(queries: Matrix, candidates: Matrix, k: number): Neighbours {
  const excludeSelf = queries === candidates;
  const available = candidates.rows - Number(excludeSelf);
  if (k < 1 || k > available)
    throw new UsageError(`cannot take ${k} neighbours of ${available}`, 'Choose a smaller -k.');
  const indices = new Int32Array(queries.rows * k);
  const similarities = new Float64Array(queries.rows * k).fill(Number.NEGATIVE_INFINITY);
  const height = Math.max(1, Math.floor(BLOCK_ELEMENTS / candidates.rows));
  const products = new Float64Array(Math.min(height, queries.rows) * candidates.rows);
  for (let first = 0; first < queries.rows; first += height) {
    const rows = Math.min(height, queries.rows - first);
    const block: Matrix = {
      rows,
      columns: queries.columns,
      data: queries.data.subarray(first * queries.columns, (first + rows) * queries.columns),
    };
    const into = products.subarray(0, rows * candidates.rows);
    matrixProduct(block, candidates, { transposeB: true, into }); // [rows, candidates]
    for (let row = 0; row < rows; row++) {
      const place = (first + row) * k;
      keepLargest(
        into.subarray(row * candidates.rows, (row + 1) * candidates.rows),
        excludeSelf ? first + row : -1,
        indices.subarray(place, place + k),
        similarities.subarray(place, place + k),
      );
    }
  }
  return { rows: queries.rows, k, indices, similarities };
}

/** Fills `indices` and `values` with the largest of `row` in descending order, leaving out position `excluded`. */
function keepLargest(row: Float64Array, excluded: number, indices: Int32Array, values: Float64Array): void {
  const last = values.length - 1;
  let least = values[last];
  for (let candidate = 0; candidate < row.length; candidate++) {
    const value = row[candidate];
    if (!(value > least) || candidate === excluded) continue;
    let place = last;
    for (; place > 0 && values[place - 1] < value; place--) {
      values[place] = values[place - 1];
      indices[place] = indices[place - 1];
    }
    values[place] = value;
    indices[place] = candidate;
    least = values[last];
  }
}
