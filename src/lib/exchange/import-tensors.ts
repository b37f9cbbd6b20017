/** Images, arrays and latents from elsewhere as a tensor stream. */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { DataError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { isParquet } from '../formats/parquet.js';
import { centerCrop } from '../images/crop.js';
import { openImages } from '../images/open-images.js';
import type { RgbImage } from '../images/rgb-image.js';
import { isTarName, isTarPattern, openTarFiles } from '../images/tar-files.js';
import { isZipName } from '../images/zip-files.js';
import { firstNonFinite } from '../numbers/finite.js';
import { openTensorFile } from '../stream/file.js';
import { isNpzOfImages, readNpyRows, readNpzRows } from './arrays.js';
import { imageRows } from './image-folder.js';
import { readParquetRows } from './parquet-rows.js';
import { isPreprocessed, readPreprocessed } from './preprocessed.js';
import type { Row, RowSource } from './rows.js';
import { holdsArrays, readTarRows } from './webdataset.js';

export interface TensorImport {
  /** Name of the column of an array, if not the usual one for its shape. */
  column?: string;
  /** A stream or shard folder whose keys and labels the rows take, in its order. */
  like?: string;
  /** Side to which images are cropped. */
  size?: number;
}

/**
 * Opens images in a folder, a .zip or Parquet, a folder of the official preprocessing, a WebDataset .tar, an .npy or an
 * .npz.
 * @throws MissingInputError when there is nothing; DataError when it is none of these, or damaged
 */
export async function openRows(input: string, { column, like, size }: TensorImport): Promise<RowSource> {
  if (!isTarPattern(input) && !existsSync(input)) throw missingInput(input, 'file or folder');
  const source = finite(await openSource(input, column, size), input);
  return like === undefined ? source : withKeysOf(source, like, input);
}

async function openSource(input: string, column: string | undefined, size: number | undefined): Promise<RowSource> {
  const isFolder = statSync(input, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (isFolder && isPreprocessed(input)) return readPreprocessed(input);
  if (isTarName(input)) {
    const archive = await openTarFiles(input);
    const crop = (image: RgbImage) => (size === undefined ? image : centerCrop(image, size));
    if (holdsArrays(archive)) return readTarRows(archive, crop);
  }
  if (isTarPattern(input)) return imageRows(await openImages(input, { crop: size }), input);
  if (isParquet(input)) {
    const rows = await readParquetRows(input);
    if (rows) return rows;
  }
  if (isFolder || isTarName(input) || isZipName(input) || isParquet(input) || isNpzOfImages(input)) {
    return imageRows(await openImages(input, { crop: size }), input);
  }
  if (path.extname(input) === '.npy') return readNpyRows(input, column);
  if (path.extname(input) === '.npz') return readNpzRows(input, column);
  if (ARROW.test(input)) {
    await (await openTensorFile(input)).close(); // what another program wrote is refused here
    throw new DataError(`${input}: is a tensor stream already`, 'Every verb reads it as it is.');
  }
  throw new DataError(
    `${input}: not a kind of data that is imported`,
    'Images in a folder, .zip or .parquet, .npy, .npz, WebDataset .tar, official preprocessing, .pt and .safetensors are.',
  );
}

const ARROW = /\.(arrows?|feather|ipc)$/i;

/** The rows, checked for NaN and infinity: training on them would fail much later. */
function finite(source: RowSource, input: string): RowSource {
  async function* rows(): AsyncGenerator<Row> {
    for await (const row of source.rows) {
      for (const [name, values] of Object.entries(row.tensors)) {
        if (firstNonFinite(values) < 0) continue;
        throw new DataError(`${input}: '${name}' of '${row.key}' holds NaN or infinity`, 'Make the data again.');
      }
      yield row;
    }
  }
  return { ...source, rows: rows() };
}

/** Whether what is at `input` is data, and not a checkpoint. */
export const isData = (input: string): boolean =>
  isTarName(input) ||
  /\.(np[yz]|zip|parquet)$/i.test(input) ||
  ARROW.test(input) ||
  (statSync(input, { throwIfNoEntry: false })?.isDirectory() ?? false);

/** @throws DataError when there are more or fewer rows than keys. */
async function withKeysOf(source: RowSource, like: string, input: string): Promise<RowSource> {
  const file = await openTensorFile(like);
  const [keys, labels] = [file.keys(), file.labels()];
  await file.close();
  const differ = (count: number | string): never => {
    throw new DataError(`${input} has ${count} rows, ${like} has ${keys.length}`);
  };
  if (source.total !== undefined && source.total !== keys.length) differ(source.total);
  async function* rows(): AsyncGenerator<Row> {
    let i = 0;
    for await (const { tensors } of source.rows) {
      if (i === keys.length) differ('more');
      yield { key: keys[i], label: labels[i], tensors };
      i++;
    }
    if (i < keys.length) differ(i);
  }
  return { ...source, total: keys.length, rows: rows() };
}
