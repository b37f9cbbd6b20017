/** Rows from one stream to another, as they are stored. */
import type { TensorReader } from './reader.js';
import { rawRow } from './rows.js';
import type { TensorData } from './schema.js';
import type { TensorWriter } from './writer.js';

/** A row with tensors of the stored types. */
export interface StoredRow {
  key: string;
  /** -1 for none. */
  label: number;
  /** Views of the batch that it came in. */
  tensors: Record<string, TensorData>;
}

/** The rows of a stream one by one. */
export async function* storedRows(reader: TensorReader): AsyncGenerator<StoredRow> {
  for await (const batch of reader) {
    for (let row = 0; row < batch.rows; row++) {
      const tensors = Object.keys(batch.tensors).map((name) => [name, rawRow(batch, name, row)]);
      yield { key: batch.keys[row], label: batch.labels[row], tensors: Object.fromEntries(tensors) };
    }
  }
}

/** Copies rows until the reader ends or `limit` rows are copied. Both streams have the same columns. */
export async function copyRows(
  reader: TensorReader,
  writer: Pick<TensorWriter, 'append'>,
  limit = Number.POSITIVE_INFINITY,
): Promise<void> {
  let copied = 0;
  if (limit === 0) return;
  for await (const { key, label, tensors } of storedRows(reader)) {
    await writer.append(key, label, tensors);
    if (++copied === limit) return;
  }
}
