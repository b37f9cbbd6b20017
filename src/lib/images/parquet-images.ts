/**
 * Images from Parquet files as Hugging Face's datasets write them: a column of `{bytes, path}`, and one of class numbers whose
 * names stand in the file's metadata.
 */
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { asyncBufferFromFile, type FileMetaData, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DataError } from '../errors.js';
import { numberedKey } from './array-rows.js';
import type { ImageSource } from './decode-images.js';
import { isClass } from './picture-set.js';

/** Bytes of a row group, unpacked: one is held in memory at a time. */
const LARGEST_GROUP = 2 ** 31;
const LABEL_COLUMNS = ['label', 'labels', 'fine_label', 'class'];

interface ParquetFile {
  path: string;
  buffer: Awaited<ReturnType<typeof asyncBufferFromFile>>;
  metadata: FileMetaData;
  /** Of its first row, over all files. */
  start: number;
  rows: number;
}

export interface ParquetImages {
  readonly total: number;
  /** Names of the classes, in the order of their numbers. */
  readonly classes: readonly string[] | undefined;
  readonly notes: readonly string[];
  /** The images from one row to another; a row's key is its number. */
  images(from: number, to: number): AsyncGenerator<ImageSource>;
}

const isParquetName = (name: string): boolean => /\.parquet$/i.test(name);

/** Whether `input` is a Parquet file, or a folder that holds some. */
export const isParquet = (input: string): boolean =>
  statSync(input).isDirectory() ? readdirSync(input).some(isParquetName) : isParquetName(input);

/**
 * Opens a Parquet file, or all of a folder in the order of their names.
 * @throws DataError when one is damaged or holds no column of images
 */
export async function openParquetImages(input: string): Promise<ParquetImages> {
  const paths = statSync(input).isDirectory()
    ? readdirSync(input)
        .filter(isParquetName)
        .sort()
        .map((name) => path.join(input, name))
    : [input];
  const files: ParquetFile[] = [];
  for (const file of paths) {
    const { buffer, metadata } = await reading(file, async () => {
      const buffer = await asyncBufferFromFile(file);
      return { buffer, metadata: await parquetMetadataAsync(buffer) };
    });
    const last = files.at(-1);
    const rows = Number(metadata.num_rows);
    files.push({ path: file, buffer, metadata, start: last ? last.start + last.rows : 0, rows });
  }
  const [first] = files;
  const columns = columnsOf(first.metadata);
  const image = columns.find(({ name, parts }) => parts.includes('bytes') || name === 'image');
  if (!image) {
    const names = columns.map(({ name }) => name).join(', ');
    throw new DataError(
      `${first.path}: holds no column of images`,
      `Its columns are ${names}; one of {bytes, path} is looked for.`,
    );
  }
  const label = LABEL_COLUMNS.find((name) => columns.some((column) => column.name === name));
  const total = files.reduce((sum, { rows }) => sum + rows, 0);
  const others = columns.filter(({ name }) => name !== image.name && name !== label).map(({ name }) => name);
  const notes = others.length > 0 ? [`columns that are not taken: ${others.join(', ')}`] : [];
  const names = label === undefined ? undefined : classNames(first.metadata, label);
  async function* images(from: number, to: number): AsyncGenerator<ImageSource> {
    for (const file of files) yield* fileImages(file, image!.name, label, from, to);
  }
  return { total, classes: names, notes, images };
}

/** What the reader throws of a damaged file is no error of its own kind. */
async function reading<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof DataError || (error as NodeJS.ErrnoException).code !== undefined) throw error;
    throw new DataError(`${file}: cannot be read as Parquet: ${(error as Error).message}`);
  }
}

/** The columns at the top, with the parts of those that have some. */
function columnsOf({ schema }: FileMetaData): { name: string; parts: string[] }[] {
  const columns: { name: string; parts: string[] }[] = [];
  for (let i = 1; i < schema.length; i++) {
    const { name, num_children: children = 0 } = schema[i];
    columns.push({ name, parts: schema.slice(i + 1, i + 1 + children).map((part) => part.name) });
    i += children;
  }
  return columns;
}

/** The names that datasets keeps of a column of class numbers. */
function classNames({ key_value_metadata: entries = [] }: FileMetaData, label: string): string[] | undefined {
  const text = entries.find(({ key }) => key === 'huggingface')?.value;
  try {
    const names = JSON.parse(text ?? 'null')?.info?.features?.[label]?.names as unknown;
    return Array.isArray(names) ? names.map(String) : undefined;
  } catch {
    return undefined;
  }
}

async function* fileImages(
  { path: file, buffer, metadata, start }: ParquetFile,
  image: string,
  label: string | undefined,
  from: number,
  to: number,
): AsyncGenerator<ImageSource> {
  let first = 0;
  for (const { num_rows: count, total_byte_size: bytes } of metadata.row_groups) {
    const [rowStart, rowEnd] = [Math.max(first, from - start), Math.min(first + Number(count), to - start)];
    first += Number(count);
    if (rowStart >= rowEnd) continue;
    if (Number(bytes) > LARGEST_GROUP) {
      throw new DataError(
        `${file}: a row group of ${bytes} bytes is more than is read at once`,
        'Write it with smaller row groups.',
      );
    }
    const columns = label === undefined ? [image] : [image, label];
    const rows = await reading(file, () =>
      parquetReadObjects({ file: buffer, metadata, compressors, columns, rowStart, rowEnd, utf8: false }),
    );
    for (const [i, row] of rows.entries()) {
      const number = start + rowStart + i;
      const where = `${file}: row ${rowStart + i}`;
      const bytes: unknown = row[image]?.bytes ?? row[image];
      if (!(bytes instanceof Uint8Array)) throw new DataError(`${where}: its image has no bytes`);
      yield {
        key: numberedKey(number),
        label: labelOf(label === undefined ? null : row[label], where),
        bytes,
        path: where,
      };
    }
  }
}

/** @throws DataError for what is no class number */
function labelOf(value: unknown, where: string): number {
  if (value === null || value === undefined) return -1;
  const label = Number(value);
  if ((typeof value === 'bigint' || typeof value === 'number') && isClass(label)) return label;
  throw new DataError(`${where}: its label is no class number`);
}
