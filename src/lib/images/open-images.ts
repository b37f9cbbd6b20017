/** Images from wherever they are: a folder, a tar, ADM's .npz, or a tensor stream of images. */
import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { DataError, MissingInputError, type RepaError } from '../errors.js';
import { openNpz } from '../formats/npz.js';
import { readTar } from '../formats/tar.js';
import { openTensorStream } from '../stream/reader.js';
import { rawRow } from '../stream/rows.js';
import { findColumn } from '../stream/schema.js';
import { parsePartName, type Shard } from '../stream/shards.js';
import { centerCrop } from './crop.js';
import { type DecodedImage, decodeImages, type ImageSource } from './decode-images.js';
import { isImageName, listImages } from './list.js';
import type { RgbImage } from './rgb-image.js';

export interface ImageInput {
  /** How many there are, where the input tells beforehand. */
  readonly total: number | undefined;
  /** The header of a tensor stream; empty for anything else. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly images: AsyncIterable<DecodedImage>;
}

export interface ImageInputOptions {
  /** The part of the images to take: a run of a folder's files, every N-th of anything else. */
  shard?: Shard;
  /** Side of the centre crop that is cut from each image. */
  crop?: number;
  /** How many images are wanted at once: at least so many files are decoded before they are asked for. */
  ahead?: number;
  /** Asked about a file that cannot be read; true leaves it out. */
  skip?: (error: RepaError) => boolean;
}

const LEAST_AHEAD = 16;

/**
 * @param input a folder of images (labels from its first level or dataset.json), a shard folder, a .tar, .tar.gz or
 *   .tgz, an .npz with `arr_0` [N, H, W, 3] u8, a tensor stream, or '-' for one on stdin.
 * @throws MissingInputError when there is nothing; DataError when it holds no images
 */
export async function openImages(input: string, options: ImageInputOptions = {}): Promise<ImageInput> {
  if (input !== '-' && !existsSync(input)) throw new MissingInputError(`${input}: no such file or folder`);
  if (input === '-') return fromStream(input, options);
  if (isImageFolder(input)) return fromFolder(input, options);
  if (statSync(input).isDirectory()) return fromStream(input, options);
  if (/\.(tar|tar\.gz|tgz)$/.test(input)) return fromTar(input, options);
  return path.extname(input) === '.npz' ? fromNpz(input, options) : fromStream(input, options);
}

/** Whether `input` is a folder of image files, and not one of stream parts. */
export const isImageFolder = (input: string): boolean =>
  (statSync(input, { throwIfNoEntry: false })?.isDirectory() ?? false) &&
  !readdirSync(input).some((name) => parsePartName(name) !== undefined);

const decodeAhead = (
  sources: Iterable<ImageSource> | AsyncIterable<ImageSource>,
  { ahead = 0, crop, skip }: ImageInputOptions,
): AsyncIterable<DecodedImage> => decodeImages(sources, { ahead: Math.max(ahead, LEAST_AHEAD), crop, skip });

function fromFolder(folder: string, { shard, ...options }: ImageInputOptions): ImageInput {
  const all = listImages(folder);
  const edge = (index: number): number => Math.floor((index * all.length) / (shard?.count ?? 1));
  const files = shard ? all.slice(edge(shard.index), edge(shard.index + 1)) : all;
  return {
    total: files.length,
    metadata: {},
    images: decodeAhead(files, options),
  };
}

function fromTar(file: string, { shard, ...options }: ImageInputOptions): ImageInput {
  const sources = everyNth(tarImages(file), shard);
  return {
    total: undefined,
    metadata: {},
    images: decodeAhead(sources, options),
  };
}

/** Members that are images, with the class that a WebDataset's `.cls` member of the same name gives before them. */
async function* tarImages(file: string): AsyncGenerator<ImageSource> {
  let count = 0;
  const labels = new Map<string, number>();
  for await (const entry of readTar(createReadStream(file), file)) {
    const stem = entry.name.replace(/\.[^./]+$/, '');
    if (entry.name.endsWith('.cls')) labels.set(stem, Number(Buffer.from(await entry.read()).toString()));
    if (!isImageName(entry.name)) continue;
    count++;
    yield { key: entry.name, label: labels.get(stem) ?? -1, bytes: await entry.read() };
    labels.delete(stem);
  }
  if (count === 0) throw new DataError(`${file}: holds no images`);
}

async function fromStream(input: string, { shard, crop }: ImageInputOptions): Promise<ImageInput> {
  const reader = await openTensorStream(input);
  const [height, width] = findColumn(reader.schema, 'image', reader.name).shape;
  async function* rows(): AsyncGenerator<DecodedImage> {
    for await (const batch of reader) {
      for (let row = 0; row < batch.rows; row++) {
        const image = { width, height, data: rawRow(batch, 'image', row) as Uint8Array };
        yield { key: batch.keys[row], label: batch.labels[row], image: cropped(image, crop) };
      }
    }
    await reader.close();
  }
  return { total: undefined, metadata: reader.schema.metadata, images: everyNth(rows(), shard) };
}

function fromNpz(file: string, { shard, crop }: ImageInputOptions): ImageInput {
  const archive = openNpz(file);
  const { shape, dtype } = archive.info('arr_0');
  const [count, height, width, channels] = shape;
  if (dtype !== 'u8' || shape.length !== 4 || channels !== 3) {
    throw new DataError(`${file}: arr_0 is ${dtype} [${shape}], not images: u8 [N, H, W, 3]`);
  }
  async function* rows(): AsyncGenerator<DecodedImage> {
    const size = height * width * 3;
    let row = 0;
    for await (const batch of archive.batches('arr_0', LEAST_AHEAD)) {
      for (let start = 0; start < batch.length; start += size, row++) {
        const image = { width, height, data: batch.subarray(start, start + size) as Uint8Array };
        yield { key: String(row).padStart(6, '0'), label: -1, image: cropped(image, crop) };
      }
    }
    archive.close();
  }
  return { total: shard ? undefined : count, metadata: {}, images: everyNth(rows(), shard) };
}

const cropped = (image: RgbImage, side: number | undefined): RgbImage =>
  side === undefined ? image : centerCrop(image, side);

async function* everyNth<T>(items: AsyncIterable<T>, shard: Shard | undefined): AsyncGenerator<T> {
  let i = 0;
  for await (const item of items) if (!shard || i++ % shard.count === shard.index) yield item;
}
