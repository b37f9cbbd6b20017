/** Rows of features in memory or on disk, read some at a time. */
import type { Matrix } from '../linalg/matrix-product.js';

export interface FeatureRows {
  readonly rows: number;
  readonly columns: number;
  /** Copies these rows into `into`, one after the other: [n, D]. */
  read(rows: ArrayLike<number>, into: Float32Array): void;
}

/** The rows of a matrix in memory. */
export const rowsOf = ({ rows, columns, data }: Matrix<Float32Array> | Matrix): FeatureRows => ({
  rows,
  columns,
  read(chosen, into) {
    for (let i = 0; i < chosen.length; i++) {
      into.set(data.subarray(chosen[i] * columns, (chosen[i] + 1) * columns), i * columns);
    }
  },
});

/** Some of the rows, in this order. */
export const someRows = (features: FeatureRows, chosen: Uint32Array): FeatureRows => ({
  rows: chosen.length,
  columns: features.columns,
  read: (rows, into) =>
    features.read(
      Uint32Array.from(rows, (row) => chosen[row]),
      into,
    ),
});

/** The numbers of `count` rows from `first` on, or of as many as there are. */
export const rowRange = ({ rows }: FeatureRows, first: number, count: number): Uint32Array =>
  Uint32Array.from({ length: Math.max(0, Math.min(count, rows - first)) }, (_, i) => first + i);

/** How many rows have about `elements` elements. */
export const rowsAtATime = ({ rows, columns }: Pick<FeatureRows, 'rows' | 'columns'>, elements: number): number =>
  Math.min(rows, Math.max(1, Math.floor(elements / columns)));
