/**
 * Images in any order: where each lies, and reading it there. Places are plain data, which threads hand to each other.
 */
import { existsSync, statSync } from 'node:fs';
import { UsageError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { BinaryFile } from '../formats/binary-file.js';
import { isParquet } from '../formats/parquet.js';
import { sizeOf } from '../numbers/typed-array.js';
import { openTensorFile, type TensorFile } from '../stream/file.js';
import { findColumn } from '../stream/schema.js';
import { classNames } from './class-map.js';
import { decodeImage } from './decode.js';
import { noImages, openImageFolder } from './list.js';
import { isImageFolder } from './open-images.js';
import { pictureSet } from './picture-set.js';
import type { RgbImage } from './rgb-image.js';
import { isTarName, isTarPattern, openTarFiles } from './tar-files.js';
import { isZipName } from './zip-files.js';

/** A file, a part of an archive, or a row of a stream. */
export type ImagePlace =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'part'; readonly path: string; readonly key: string; readonly at: number; readonly size: number }
  | { readonly kind: 'row'; readonly path: string; readonly row: number };

export interface ImageStore {
  has(key: string): boolean;
  /** The key is one that the store has. */
  place(key: string): ImagePlace;
}

/** A picture of a set, and where it lies. */
export interface PlacedPicture {
  key: string;
  /** Class index; -1 for none. */
  label: number;
  place: ImagePlace;
}

export interface PlacedPictures {
  pictures: readonly PlacedPicture[];
  /** The folders that classes are numbered by; undefined where a file tells them. */
  classes: readonly string[] | undefined;
}

/** Finds the images of a set by their keys. Errors as of {@link listPictures}. */
export async function openImageStore(input: string): Promise<ImageStore> {
  const { pictures } = await listPictures(input);
  const places = new Map(pictures.map(({ key, place }) => [key, place]));
  return { has: (key) => places.has(key), place: (key) => places.get(key)! };
}

/**
 * Lists the images of a folder, a .tar or several by a pattern (each is read through once), or a file or shard folder
 * of a tensor stream.
 * @throws MissingInputError when there is nothing; UsageError for what cannot be read in any order
 */
export async function listPictures(input: string): Promise<PlacedPictures> {
  if (!isTarPattern(input) && !existsSync(input)) throw missingInput(input, 'file or folder');
  if (isImageFolder(input) && !isParquet(input)) return folderPictures(input);
  const isFolder = statSync(input, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (isFolder && !isParquet(input)) return streamPictures(input);
  if (/\.tar$/i.test(input)) return tarPictures(input);
  if (isTarName(input) || isZipName(input) || isParquet(input) || /\.npz$/.test(input)) {
    throw new UsageError(
      `${input} cannot be read in any order`,
      'Unpack it into a folder, or into a .tar that is not compressed.',
    );
  }
  return streamPictures(input);
}

function folderPictures(folder: string): PlacedPictures {
  const { files, classes } = openImageFolder(folder);
  const pictures = files.map(({ key, label, path }): PlacedPicture => ({ key, label, place: { kind: 'file', path } }));
  return { pictures, classes };
}

async function tarPictures(file: string): Promise<PlacedPictures> {
  const files = await openTarFiles(file);
  const { pictures, classes, notes } = pictureSet(files);
  if (pictures.length === 0) throw noImages(file, notes);
  const placed = pictures.map(({ key, label, name }): PlacedPicture => {
    const { archive, at, size } = files.places.get(name)!;
    return { key, label, place: { kind: 'part', path: archive, key, at, size } };
  });
  return { pictures: placed, classes };
}

async function streamPictures(input: string): Promise<PlacedPictures> {
  const file = await openTensorFile(input);
  findColumn(file.schema, 'image', file.name);
  const labels = file.labels();
  const pictures = file.keys().map((key, row): PlacedPicture => {
    return { key, label: labels[row], place: { kind: 'row', path: input, row } };
  });
  file.close();
  return { pictures, classes: classNames(file.schema.metadata) };
}

/** Reads images at their places; archives and streams stay open between reads. */
export class ImageReader {
  readonly #archives = new Map<string, BinaryFile>();
  readonly #streams = new Map<string, TensorFile>();

  /** @throws DataError when there is no sound image; MissingInputError when its file is gone */
  async read(place: ImagePlace): Promise<RgbImage> {
    if (place.kind === 'file') return decodeImage(place.path, place.path);
    if (place.kind === 'row') return this.#readRow(place.path, place.row);
    const { path: file, key, at, size } = place;
    const archive = this.#archives.get(file) ?? new BinaryFile(file);
    this.#archives.set(file, archive);
    return decodeImage(archive.read(at, size), `${file}: ${key}`);
  }

  async #readRow(input: string, row: number): Promise<RgbImage> {
    const stream = this.#streams.get(input) ?? (await openTensorFile(input));
    this.#streams.set(input, stream);
    const { shape } = findColumn(stream.schema, 'image', stream.name);
    const values = new Float32Array(sizeOf(shape)); // [H, W, 3]
    stream.read('image', [row], values);
    return { width: shape[1], height: shape[0], data: Uint8Array.from(values) };
  }

  close(): void {
    for (const archive of this.#archives.values()) archive.close();
    for (const stream of this.#streams.values()) stream.close();
  }
}
