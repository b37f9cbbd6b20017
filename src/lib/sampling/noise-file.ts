/** Initial noise from a file, for exact comparisons with other samplers. */
import path from 'node:path';
import { DataError } from '../errors.js';
import { toFloat32 } from '../formats/host-tensor.js';
import { readNpy } from '../formats/npy.js';
import { firstNonFinite } from '../numbers/finite.js';
import { concatenated, sameShape, showShape, sizeOf } from '../numbers/typed-array.js';
import { openTensorStream } from '../stream/reader.js';
import { floatColumn } from '../stream/rows.js';
import { findColumn } from '../stream/schema.js';

export interface Noise {
  rows: number;
  values: Float32Array; // [rows, C, h, w]
}

/**
 * Reads an .npy of [N, C, h, w], or a stream with a `latent` column.
 * @throws DataError when it is not noise for latents of `shape`, or not finite
 */
export async function readNoise(file: string, shape: readonly number[]): Promise<Noise> {
  const [found, values] = path.extname(file) === '.npy' ? fromNpy(file) : await fromStream(file);
  if (!sameShape(found, shape)) {
    throw new DataError(`${file}: holds ${showShape(found)} a row, but the model's latents are ${showShape(shape)}`);
  }
  if (firstNonFinite(values) >= 0) throw new DataError(`${file}: holds NaN or infinity`);
  return { rows: values.length / sizeOf(shape), values };
}

function fromNpy(file: string): [number[], Float32Array] {
  const tensor = readNpy(file);
  return [tensor.shape.slice(1), toFloat32(tensor)];
}

async function fromStream(file: string): Promise<[readonly number[], Float32Array]> {
  const reader = await openTensorStream(file);
  const { shape } = findColumn(reader.schema, 'latent', reader.name);
  const batches: Float32Array[] = [];
  for await (const batch of reader) batches.push(floatColumn(batch, 'latent'));
  return [shape, concatenated(batches, Float32Array)];
}
