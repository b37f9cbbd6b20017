/** A stream of latents, read to be decoded. */
import { DataError, UsageError } from '../errors.js';
import { openTensorStream } from '../stream/reader.js';
import { floatRow } from '../stream/rows.js';

export interface LatentRow {
  key: string;
  label: number;
  latent: Float32Array; // [C, h, w], as the codec gave it
}

export interface LatentStream {
  readonly metadata: Readonly<Record<string, string>>;
  /** Name of the codec that made the latents, or that decodes them. */
  readonly codec: string;
  /** The shape of one latent. */
  readonly shape: readonly [channels: number, height: number, width: number];
  readonly rows: AsyncIterable<LatentRow>;
}

/**
 * Opens latents: a `latent` column as it is, or the mean of a `moments` column.
 * @throws DataError when the stream has neither; UsageError when its latents are not square
 */
export async function openLatents(input: string): Promise<LatentStream> {
  const reader = await openTensorStream(input);
  const { columns, metadata } = reader.schema;
  const column = columns.find(({ name }) => name === 'latent' || name === 'moments');
  if (column?.shape.length !== 3) {
    throw new DataError(`${reader.name}: has no latents, but ${columns.map(({ name }) => name).join(', ')}`);
  }
  const [planes, height, width] = column.shape;
  if (height !== width)
    throw new UsageError(`${reader.name}: latents are ${height}x${width}: only square ones are decoded`);
  const channels = column.name === 'moments' ? planes / 2 : planes;
  async function* rows(): AsyncGenerator<LatentRow> {
    for await (const batch of reader) {
      for (let row = 0; row < batch.rows; row++) {
        const values = floatRow(batch, column!.name, row); // moments: mean, then std
        yield { key: batch.keys[row], label: batch.labels[row], latent: values.subarray(0, channels * height * width) };
      }
    }
    await reader.close();
  }
  // Of sampled latents, the model is what sampled them.
  const codec = metadata['repa.codec'] ?? metadata['repa.model'] ?? 'sd-vae-ft-ema';
  return { metadata, codec, shape: [channels, height, width], rows: rows() };
}
