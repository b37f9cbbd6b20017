/** Opens images in a folder, a tar, a zip, Parquet, ADM's .npz, or a tensor stream of images. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { DataError, type RepaError, UsageError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { type NpzFile, openNpz } from '../formats/npz.js';
import { isParquet } from '../formats/parquet.js';
import { showShape } from '../numbers/typed-array.js';
import { openTensorFile } from '../stream/file.js';
import { openTensorStream } from '../stream/reader.js';
import { rawRow } from '../stream/rows.js';
import { findColumn } from '../stream/schema.js';
import { parsePartName, rangeOf, type Shard, WHOLE } from '../stream/shards.js';
import { ADM_IMAGES, arrayLabels, isOfImages, notTaken, numberedKey } from './array-rows.js';
import { classMetadata } from './class-map.js';
import { centerCrop } from './crop.js';
import { type DecodedImage, decodeImages, type ImageSource } from './decode-images.js';
import { isImageName } from './image-names.js';
import type { LabelList } from './label-file.js';
import { noImages, openImageFolder } from './list.js';
import { openParquetImages } from './parquet-images.js';
import { type Picture, pictureSet } from './picture-set.js';
import type { RgbImage } from './rgb-image.js';
import { isTarName, isTarPattern, openTarFiles, readTarFiles, type TarFiles } from './tar-files.js';
import { isZipName, openZipFiles, type ZipFiles } from './zip-files.js';

export interface ImageInput {
  /** How many there are, where the input tells beforehand. */
  readonly total: number | undefined;
  /** The header of a tensor stream; of anything else, the names of its classes where they have some. */
  readonly metadata: Readonly<Record<string, string>>;
  /** SHA-256 of the keys and labels of the whole set, whatever the shard; undefined for what comes through a pipe. */
  readonly names?: string;
  /** What was left out or may surprise, one sentence each. */
  readonly notes: readonly string[];
  readonly images: AsyncIterable<DecodedImage>;
}

export interface ImageInputOptions {
  /** The part of the images to take: a run of a folder's or an archive's, every N-th of anything else. */
  shard?: Shard;
  /** Side of the centre crop that is cut from each image. */
  crop?: number;
  /** How many images are wanted at once: at least so many files are decoded before they are asked for. */
  ahead?: number;
  /** Tells the classes of pictures in a folder, a tar or a zip, before all that these tell themselves. */
  labels?: LabelList;
  /** Asked about a file that cannot be read; true leaves it out. */
  skip?: (error: RepaError) => boolean;
}

const LEAST_AHEAD = 16;

/** A picture by its name. */
interface Named {
  key: string;
  /** -1 for none. */
  label: number;
}

/**
 * @param input a folder of images (labels from its first level or dataset.json), a shard folder, a .tar, .tar.gz, .tgz
 *   or .zip, several tars by a pattern such as `imgs-{000..127}.tar`, a .parquet or a folder of some, an .npz with
 *   `arr_0` [N, H, W, 3] u8, a tensor stream, or '-' for one on stdin.
 * @throws MissingInputError when there is nothing; DataError when it holds no images
 */
export async function openImages(input: string, options: ImageInputOptions = {}): Promise<ImageInput> {
  if (options.labels && !tellsNames(input)) {
    throw new UsageError(
      `${options.labels.where}: labels are given by file names, and ${input} has none`,
      'A folder, a tar or a zip of pictures has.',
    );
  }
  if (isTarPattern(input)) return fromTar(input, options);
  if (input !== '-' && !existsSync(input)) throw missingInput(input, 'file or folder');
  if (input === '-') return fromStream(input, options);
  if (isParquet(input)) return fromParquet(input, options);
  if (isImageFolder(input)) return fromFolder(input, options);
  if (statSync(input).isDirectory()) return fromStream(input, options);
  if (isTarName(input)) return fromTar(input, options);
  if (isZipName(input)) return fromZip(input, options);
  if (isImageName(input)) {
    throw new DataError(`${input}: is one picture, not a set of them`, 'Put it into a folder, and name that.');
  }
  return path.extname(input) === '.npz' ? fromNpz(input, options) : fromStream(input, options);
}

const tellsNames = (input: string): boolean =>
  isTarName(input) || isZipName(input) || (isImageFolder(input) && !isParquet(input));

/** Whether `input` is a folder of image files, and not one of stream parts. */
export const isImageFolder = (input: string): boolean =>
  (statSync(input, { throwIfNoEntry: false })?.isDirectory() ?? false) &&
  !readdirSync(input).some((name) => parsePartName(name) !== undefined);

const decodeAhead = (
  sources: Iterable<ImageSource> | AsyncIterable<ImageSource>,
  { ahead = 0, crop, skip }: ImageInputOptions,
): AsyncIterable<DecodedImage> => decodeImages(sources, { ahead: Math.max(ahead, LEAST_AHEAD), crop, skip });

function namesHash(pictures: readonly Named[]): string {
  const hash = createHash('sha256');
  for (const line of pictures.map(({ key, label }) => `${key}\0${label}\n`).sort()) hash.update(line);
  return hash.digest('hex');
}

/** The pictures of a shard; all without one. */
function runOf<T>(all: readonly T[], shard: Shard = WHOLE): readonly T[] {
  const { first, end } = rangeOf(shard, all.length);
  return all.slice(first, end);
}

function fromFolder(folder: string, { shard, labels, ...options }: ImageInputOptions): ImageInput {
  const { files, classes, notes } = openImageFolder(folder, labels);
  const run = runOf(files, shard);
  const names = namesHash(files);
  return { total: run.length, metadata: classMetadata(classes), names, notes, images: decodeAhead(run, options) };
}

async function fromTar(file: string, { shard, labels, ...options }: ImageInputOptions): Promise<ImageInput> {
  const archive = await openTarFiles(file);
  const { pictures, classes, notes } = pictureSet(archive, undefined, labels);
  if (pictures.length === 0) throw noImages(file, notes);
  const run = runOf(pictures, shard);
  return {
    total: run.length,
    metadata: classMetadata(classes),
    names: namesHash(pictures),
    notes: [...archive.notes, ...notes],
    images: decodeAhead(tarImages(archive, run), options),
  };
}

async function* tarImages(archive: TarFiles, pictures: readonly Picture[]): AsyncGenerator<ImageSource> {
  const byName = new Map(pictures.map((picture) => [picture.name, picture]));
  for await (const { name, bytes } of readTarFiles(archive, byName.keys())) {
    const { key, label } = byName.get(name)!;
    yield { key, label, bytes, path: archive.show(name) };
  }
}

/** What `use` makes of an open file, which is closed if it fails. */
function whileOpen<F extends { close(): void }, T>(file: F, use: (file: F) => T): T {
  try {
    return use(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

const fromZip = (file: string, options: ImageInputOptions): ImageInput =>
  whileOpen(openZipFiles(file), (archive) => zipImages(file, archive, options));

function zipImages(file: string, archive: ZipFiles, { shard, labels, ...options }: ImageInputOptions): ImageInput {
  const { pictures, classes, notes } = pictureSet(archive, undefined, labels);
  if (pictures.length === 0) throw noImages(file, notes);
  const run = runOf(pictures, shard);
  async function* sources(): AsyncGenerator<ImageSource> {
    try {
      for (const { name, key, label } of run) {
        yield { key, label, bytes: archive.read(name), path: archive.show(name) };
      }
    } finally {
      archive.close();
    }
  }
  const names = namesHash(pictures);
  return { total: run.length, metadata: classMetadata(classes), names, notes, images: decodeAhead(sources(), options) };
}

async function fromParquet(input: string, { shard = WHOLE, ...options }: ImageInputOptions): Promise<ImageInput> {
  const { total, classes, notes, named, images } = await openParquetImages(input);
  const { first, end } = rangeOf(shard, total);
  return {
    total: end - first,
    metadata: classMetadata(classes),
    names: namesHash(await named()),
    notes,
    images: decodeAhead(images(first, end), options),
  };
}

async function fromStream(input: string, { shard, crop }: ImageInputOptions): Promise<ImageInput> {
  const reader = await openTensorStream(input);
  const [height, width] = whileOpen(reader, () => findColumn(reader.schema, 'image', reader.name)).shape;
  async function* rows(): AsyncGenerator<DecodedImage> {
    try {
      for await (const batch of reader) {
        for (let row = 0; row < batch.rows; row++) {
          const image = { width, height, data: rawRow(batch, 'image', row) as Uint8Array };
          yield { key: batch.keys[row], label: batch.labels[row], image: cropped(image, crop) };
        }
      }
    } finally {
      await reader.close();
    }
  }
  const { metadata } = reader.schema;
  return { total: undefined, metadata, names: await streamNames(input), notes: [], images: everyNth(rows(), shard) };
}

/** Of a stream that can be read in any order; what comes through a pipe is not known beforehand. */
async function streamNames(input: string): Promise<string | undefined> {
  const found = input === '-' ? undefined : statSync(input);
  if (!found?.isFile() && !found?.isDirectory()) return undefined;
  const file = await openTensorFile(input);
  const labels = file.labels();
  const names = namesHash(file.keys().map((key, row) => ({ key, label: labels[row] })));
  file.close();
  return names;
}

const fromNpz = (file: string, options: ImageInputOptions): ImageInput =>
  whileOpen(openNpz(file), (archive) => npzImages(file, archive, options));

function npzImages(file: string, archive: NpzFile, { shard, crop }: ImageInputOptions): ImageInput {
  const info = archive.info(ADM_IMAGES);
  if (!isOfImages(info)) {
    throw new DataError(
      `${file}: ${ADM_IMAGES} is ${info.dtype} ${showShape(info.shape)}, not images: u8 [N, H, W, 3]`,
      'Bring the channels to the end, and grey to three channels, before it is saved.',
    );
  }
  const [count, height, width] = info.shape;
  const labels = arrayLabels(archive, count, file);
  async function* rows(): AsyncGenerator<DecodedImage> {
    const size = height * width * 3;
    let row = 0;
    try {
      for await (const batch of archive.batches(ADM_IMAGES, LEAST_AHEAD)) {
        for (let start = 0; start < batch.length; start += size, row++) {
          const image = { width, height, data: batch.subarray(start, start + size) as Uint8Array };
          yield { key: numberedKey(row), label: labels?.[row] ?? -1, image: cropped(image, crop) };
        }
      }
    } finally {
      archive.close();
    }
  }
  return {
    total: shard ? undefined : count,
    metadata: {},
    names: namesHash(
      Array.from({ length: count }, (_, row) => ({ key: numberedKey(row), label: labels?.[row] ?? -1 })),
    ),
    notes: notTaken(archive, [ADM_IMAGES]),
    images: everyNth(rows(), shard),
  };
}

const cropped = (image: RgbImage, side: number | undefined): RgbImage =>
  side === undefined ? image : centerCrop(image, side);

async function* everyNth<T>(items: AsyncIterable<T>, shard: Shard | undefined): AsyncGenerator<T> {
  let i = 0;
  for await (const item of items) if (!shard || i++ % shard.count === shard.index) yield item;
}
