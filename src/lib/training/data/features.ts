/**
 * Features that belong to latents: stored ones, joined by key, or those of an encoder that computes them while
 * training.
 */

import type { FeatureSource } from '../../diffusion/draws.js';
import { DataError, UsageError } from '../../errors.js';
import type { ImagePlace, ImageStore } from '../../images/image-store.js';
import type { RgbImage } from '../../images/rgb-image.js';
import { showShape } from '../../numbers/typed-array.js';
import type { EncoderOptions } from '../../pretrained/encoder.js';
import { type OpenedFile, openTensorFile, reopenTensorFile, type TensorFile } from '../../stream/file.js';
import { KeyTable } from '../../stream/key-table.js';

// ------------------------------------------------------------------------------------------------------------- stored

/** Features of a file, joined with latents. */
export interface JoinedFeatures extends FeatureSource {
  file: TensorFile;
  /** For each row of the latents, the row of this file. */
  rowOf: Uint32Array;
}

/** Joined features as plain data, by which another thread opens them without joining keys again. */
export type OpenedFeatures = FeatureSource & { file: OpenedFile; rowOf: Uint32Array };

export const openedFeatures = ({ file, ...known }: JoinedFeatures): OpenedFeatures => ({ ...known, file: file.opened });

export const reopenFeatures = ({ file, ...known }: OpenedFeatures): JoinedFeatures => ({
  ...known,
  file: reopenTensorFile(file),
});

/** One column of an encoder's rows: patch features [B, T, D], or class tokens [B, D]. */
export async function readJoined(
  { file, rowOf, tokens, dim }: JoinedFeatures,
  column: 'feature' | 'cls',
  rows: Uint32Array,
): Promise<Float32Array> {
  const out = new Float32Array(rows.length * dim * (column === 'cls' ? 1 : tokens));
  await file.read(
    column,
    Uint32Array.from(rows, (row) => rowOf[row]),
    out,
  );
  return out;
}

/** @throws DataError when a latent has no feature row of its key, or the stream holds something else. */
export async function joinFeatures(
  path: string,
  latents: Pick<TensorFile, 'name' | 'rows' | 'keyHashes' | 'keyOf'>,
): Promise<JoinedFeatures> {
  const file = await openTensorFile(path);
  const column = file.schema.columns.find(({ name }) => name === 'feature');
  if (column?.shape.length !== 2) {
    const found = file.schema.columns.map(({ name, shape }) => `${name} ${showShape(shape)}`).join(', ');
    throw new DataError(`${path}: has no features, but ${found}`, 'Make features with repa extract-dino.');
  }
  const [tokens, dim] = column.shape;
  const source = { name: file.schema.metadata['repa.model'] ?? path, tokens, dim, file };
  const [wanted, own] = [latents.keyHashes(), file.keyHashes()];
  // As a rule both are of the same images in the same order.
  if (own.length === wanted.length && own.every((hash, i) => hash === wanted[i])) {
    return { ...source, rowOf: Uint32Array.from({ length: latents.rows }, (_, row) => row) };
  }
  const table = new KeyTable(own);
  const rowOf = new Uint32Array(latents.rows);
  const missing: number[] = [];
  for (let row = 0; row < latents.rows; row++) {
    const found = table.find(wanted, row);
    if (found === undefined) missing.push(row);
    else rowOf[row] = found;
  }
  if (missing.length > 0) {
    throw new DataError(
      `${path}: ${missing.length} of the ${latents.rows} images in ${latents.name} have no features, first '${latents.keyOf(missing[0])}'`,
      'Run repa extract-dino on the same images as repa encode-vae.',
    );
  }
  return { ...source, rowOf };
}

/**
 * Checks features of which a model generates something beside the images.
 * @throws UsageError when there are none; DataError when they have no class token, or another width
 */
export function checkGenerated(
  [first]: readonly JoinedFeatures[],
  { classToken, dim }: { classToken: boolean; dim: number | undefined },
): void {
  if (!first) {
    throw new UsageError(
      'the model generates what an encoder sees along with the image, but there are no features',
      'Make them with repa extract-dino --cls.',
    );
  }
  if (classToken) checkClassToken(first);
  if (dim !== undefined && dim !== first.dim) {
    throw new DataError(`${first.file.name}: features of width ${first.dim}, but the components are of ${dim}`);
  }
}

/** @throws DataError where there is no class token, or one of another width than the patches' features */
function checkClassToken({ file, dim }: JoinedFeatures): void {
  const token = file.schema.columns.find(({ name }) => name === 'cls');
  if (!token)
    throw new DataError(`${file.name}: has no class tokens`, 'Make the features again with repa extract-dino --cls.');
  if (showShape(token.shape) !== showShape([dim])) {
    throw new DataError(
      `${file.name}: class tokens of ${showShape(token.shape)}, but features of width ${dim}`,
      'One perceptron aligns the class token and the patches, so both have the same width.',
    );
  }
}

// ----------------------------------------------------------------------------------------------------------- computed

export interface EncoderChoice {
  encoder: string;
  encoderOptions: Omit<EncoderOptions, 'encoder' | 'batchSize'>;
  /** The images that the latents were made of. */
  images: string;
}

export interface ComputedFeatures extends FeatureSource {
  /** The header that extract-dino would have written. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Side of the square crop that the encoder takes. */
  readonly cropSize: number;
  /** Where the image of a latent lies. */
  place(key: string): ImagePlace;
  /** Features [N, T, D] of N crops, as many as `batchSize`. */
  encode(crops: readonly RgbImage[]): Float32Array;
  dispose(): void;
}

/**
 * @param batchSize crops that are encoded at a time
 * @throws DataError when a key has no image; and whatever openEncoder and openImageStore throw
 */
export async function openComputedFeatures(
  { encoder: name, images, encoderOptions }: EncoderChoice,
  keys: readonly string[],
  batchSize: number,
): Promise<ComputedFeatures> {
  // Imported here: the threads that load batches do not need them, and they take longest to start.
  const { openImageStore } = await import('../../images/image-store.js');
  const { openEncoder } = await import('../../pretrained/encoder.js');
  const store = await openImageStore(images);
  checkKeys(store, keys, images);
  const encoder = await openEncoder({ ...encoderOptions, encoder: name, batchSize });
  return {
    name: encoder.name,
    tokens: encoder.tokens,
    dim: encoder.dim,
    metadata: {
      'repa.model': encoder.name,
      'repa.model.sha256': encoder.sha256,
      'repa.preprocess': JSON.stringify(encoder.preprocess),
    },
    cropSize: encoder.size,
    place: (key) => store.place(key),
    encode: (crops) => encoder.encode(crops).feature,
    dispose: () => encoder.dispose(),
  };
}

function checkKeys(store: ImageStore, keys: readonly string[], images: string): void {
  const missing = keys.filter((key) => !store.has(key));
  if (missing.length === 0) return;
  throw new DataError(
    `${images}: ${missing.length} of the ${keys.length} images that have latents are not there, first '${missing[0]}'`,
    'Name the images that repa encode-vae was run on.',
  );
}
