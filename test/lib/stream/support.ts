/** Streams in memory, for the tests of the tensor stream. */
import { openTensorStream } from '../../../src/lib/stream/reader.js';
import type { StreamSchema, TensorData } from '../../../src/lib/stream/schema.js';
import type { ByteSink } from '../../../src/lib/stream/sink.js';
import { TensorWriter } from '../../../src/lib/stream/writer.js';

export interface Row {
  key: string;
  label: number;
  tensors: Record<string, TensorData>;
}

export class MemorySink implements ByteSink {
  private readonly chunks: Uint8Array[] = [];

  async write(chunks: Uint8Array[]): Promise<void> {
    for (const chunk of chunks) this.chunks.push(chunk.slice());
  }

  async close(): Promise<void> {}
  async abort(): Promise<void> {}

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

/** A complete stream of these rows, `rowsPerBatch` in each batch. */
export async function encode(schema: StreamSchema, rows: readonly Row[], batchBytes?: number): Promise<Buffer> {
  const sink = new MemorySink();
  const writer = new TensorWriter(sink, schema, batchBytes === undefined ? {} : { batchBytes });
  for (const { key, label, tensors } of rows) await writer.append(key, label, tensors);
  await writer.end();
  return sink.bytes;
}

/** All rows of an input, read in sequence. */
export async function readRows(input: string | number): Promise<{ schema: StreamSchema; rows: Row[] }> {
  const reader = await openTensorStream(input);
  const rows: Row[] = [];
  for await (const batch of reader) {
    if (batch.start !== rows.length) throw new Error(`batch starts at ${batch.start}, ${rows.length} rows were read`);
    for (let row = 0; row < batch.rows; row++) {
      const tensors = Object.entries(batch.tensors).map(([name, values]) => {
        const size = values.length / batch.rows;
        return [name, values.slice(row * size, (row + 1) * size)];
      });
      rows.push({ key: batch.keys[row], label: batch.labels[row], tensors: Object.fromEntries(tensors) });
    }
  }
  return { schema: reader.schema, rows };
}

/** Three rows of f16 [2,2] and u8 [3] that make two batches: as small as a stream with everything in it gets. */
export const SMALL_SCHEMA: StreamSchema = {
  columns: [
    { name: 'latent', dtype: 'f16', shape: [2, 2], dimNames: ['H', 'W'] },
    { name: 'image', dtype: 'u8', shape: [3] },
  ],
  metadata: { 'repa.kind': 'test' },
};

export const SMALL_ROWS: Row[] = ['a.png', 'ü/b.png', ''].map((key, i) => ({
  key,
  label: i - 1,
  tensors: { latent: Uint16Array.of(i, 0x3c00, 2, 3), image: Uint8Array.of(i, 8, 9) },
}));

export const encodeSmall = (): Promise<Buffer> => encode(SMALL_SCHEMA, SMALL_ROWS, 160);
