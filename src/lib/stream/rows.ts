/** Values of tensor columns as f32. */
import { floatFromHalf } from '../numbers/half.js';
import { expandVectors } from './compact.js';
import type { TensorData } from './schema.js';

/** One batch of rows as it lies in the stream. */
export interface TensorBatch {
  /** Index of its first row in the whole input. */
  readonly start: number;
  readonly rows: number;
  readonly keys: string[];
  readonly labels: Int32Array;
  /** Raw values of each column, row-major: rows x size of one row's tensor; f16 as bits. */
  readonly tensors: Record<string, TensorData>;
}

/**
 * Raw values of a column as f32; u8 becomes 0..255.
 *
 * @param out where to write; must be as long as `raw`. Allocated if absent.
 */
export function toFloats(raw: TensorData, out: Float32Array = new Float32Array(raw.length)): Float32Array {
  if (raw instanceof Uint16Array) return floatFromHalf(raw, out);
  out.set(raw);
  return out;
}

function rawColumn(batch: TensorBatch, column: string): TensorData {
  const raw = batch.tensors[column];
  if (raw === undefined) throw new RangeError(`the batch has no column '${column}'`);
  return raw;
}

/** All rows of a column of a batch: [rows, ...shape]; i8 is scaled back. */
export function floatColumn(batch: TensorBatch, column: string): Float32Array {
  const raw = rawColumn(batch, column);
  if (!(raw instanceof Int8Array)) return toFloats(raw);
  return expandVectors({ values: raw, scales: rawColumn(batch, `${column}.scale`) as Uint16Array });
}

/** Raw values of one row (counted within the batch), as a view of the batch. */
export function rawRow(batch: TensorBatch, column: string, row: number): TensorData {
  const raw = rawColumn(batch, column);
  const size = raw.length / batch.rows;
  return raw.subarray(row * size, (row + 1) * size);
}

/** One row (counted within the batch) of a column: [...shape]; i8 is scaled back. */
export function floatRow(batch: TensorBatch, column: string, row: number, out?: Float32Array): Float32Array {
  const raw = rawRow(batch, column, row);
  if (!(raw instanceof Int8Array)) return toFloats(raw, out);
  return expandVectors({ values: raw, scales: rawRow(batch, `${column}.scale`, row) as Uint16Array }, out);
}
