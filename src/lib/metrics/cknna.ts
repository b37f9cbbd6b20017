/**
 * How much two representations of the same samples agree on which are neighbours: CKNNA and mutual k-NN, as defined by
 * the platonic representation hypothesis (arXiv 2405.07987) and used by REPA (arXiv 2410.06940, section 3).
 */
import { UsageError } from '../errors.js';
import type { Neighbours } from './neighbours.js';

/** Keeps the score of representations that share no neighbours at 0 instead of 0/0; part of the definition. */
const EPSILON = 1e-6;

/** Unbiased estimates divide by n - 3. */
export const LEAST_ROWS = 4;

/**
 * Centred kernel nearest-neighbour alignment: CKA (linear kernel, unbiased HSIC) restricted to pairs of samples that
 * are among the k nearest in both representations. Samples are row by row the same; 1 is full agreement, and
 * representations that share no neighbours have 0.
 * @throws UsageError with fewer than four samples
 */
export function cknna(a: Neighbours, b: Neighbours): number {
  if (a.rows < LEAST_ROWS) throw new UsageError(`cknna takes at least ${LEAST_ROWS} rows, not ${a.rows}`);
  const [ab, aa, bb] = [maskedHsic(a, b), maskedHsic(a, a), maskedHsic(b, b)];
  // Estimates without bias may be below 0 where hardly any neighbours are shared.
  return ab / (Math.sqrt(Math.max(0, aa) * Math.max(0, bb)) + EPSILON);
}

/** The mean share of its k nearest neighbours that a sample has in common in both representations. */
export function mutualKnn(a: Neighbours, b: Neighbours): number {
  return sharedPairs(a, b).columns.length / (a.rows * a.k);
}

/** The pairs that are neighbours in both, row by row, with both kernels' values. */
interface SharedPairs {
  /** Where each row's pairs begin, and where the last one's end: [rows + 1]. */
  starts: Int32Array;
  columns: number[];
  fromA: number[];
  fromB: number[];
}

function sharedPairs(a: Neighbours, b: Neighbours): SharedPairs {
  const shared: SharedPairs = { starts: new Int32Array(a.rows + 1), columns: [], fromA: [], fromB: [] };
  const near = new Marked(a.rows);
  for (let row = 0; row < a.rows; row++) {
    near.clear();
    for (let i = row * b.k; i < (row + 1) * b.k; i++) near.set(b.indices[i], b.similarities[i]);
    for (let i = row * a.k; i < (row + 1) * a.k; i++) {
      const column = a.indices[i];
      if (!near.has(column)) continue;
      shared.columns.push(column);
      shared.fromA.push(a.similarities[i]);
      shared.fromB.push(near.get(column));
    }
    shared.starts[row + 1] = shared.columns.length;
  }
  return shared;
}

/** Values of some of n samples, which are forgotten all at once. */
class Marked {
  readonly #values: Float64Array;
  readonly #marks: Int32Array;
  #mark = 0;

  constructor(n: number) {
    this.#values = new Float64Array(n);
    this.#marks = new Int32Array(n);
  }

  clear(): void {
    this.#mark++;
  }

  set(sample: number, value: number): void {
    this.#values[sample] = value;
    this.#marks[sample] = this.#mark;
  }

  has(sample: number): boolean {
    return this.#marks[sample] === this.#mark;
  }

  get(sample: number): number {
    return this.#values[sample];
  }
}

/**
 * The unbiased HSIC (Song et al., 2012, equation 5) of two kernel matrices K and L in which only shared neighbours are
 * not zero. They are sparse and not symmetric: 1'KL1 is a sum over the column sums of K and the row sums of L.
 */
function maskedHsic(a: Neighbours, b: Neighbours): number {
  const n = a.rows;
  const { starts, columns, fromA, fromB } = sharedPairs(a, b);
  const columnSums = new Float64Array(n);
  const rowSums = new Float64Array(n);
  let [sumA, sumB] = [0, 0];
  for (let row = 0; row < n; row++) {
    for (let i = starts[row]; i < starts[row + 1]; i++) {
      sumA += fromA[i];
      sumB += fromB[i];
      columnSums[columns[i]] += fromA[i];
      rowSums[row] += fromB[i];
    }
  }
  const trace = traceOfProduct(n, { starts, columns, fromA, fromB });
  const through = columnSums.reduce((sum, value, i) => sum + value * rowSums[i], 0);
  return (trace + (sumA * sumB) / ((n - 1) * (n - 2)) - (2 * through) / (n - 2)) / (n * (n - 3));
}

/** tr(K L): the sum of K_ij L_ji over the pairs that are shared in both directions. */
function traceOfProduct(n: number, { starts, columns, fromA, fromB }: SharedPairs): number {
  // The pairs by their columns, as a counting sort leaves them.
  const ends = new Int32Array(n + 1);
  for (const column of columns) ends[column + 1]++;
  for (let column = 0; column < n; column++) ends[column + 1] += ends[column];
  const next = ends.slice();
  const rows = new Int32Array(columns.length);
  const values = new Float64Array(columns.length); // of K
  for (let row = 0; row < n; row++) {
    for (let i = starts[row]; i < starts[row + 1]; i++) {
      const place = next[columns[i]]++;
      rows[place] = row;
      values[place] = fromA[i];
    }
  }
  const ofRow = new Marked(n); // of L
  let trace = 0;
  for (let row = 0; row < n; row++) {
    ofRow.clear();
    for (let i = starts[row]; i < starts[row + 1]; i++) ofRow.set(columns[i], fromB[i]);
    for (let i = ends[row]; i < ends[row + 1]; i++) {
      if (ofRow.has(rows[i])) trace += values[i] * ofRow.get(rows[i]);
    }
  }
  return trace;
}
