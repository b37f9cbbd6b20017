/**
 * Images from Parquet files as Hugging Face's datasets write them: a column of `{bytes, path}`, and one of class
 * numbers whose names stand in the file's metadata.
 */
import { DataError } from '../errors.js';
import { openParquet, type ParquetColumn, type ParquetSet } from '../formats/parquet.js';
import { numberedKey } from './array-rows.js';
import type { ImageSource } from './decode-images.js';
import { isClass } from './picture-set.js';

const LABEL_COLUMNS = ['label', 'labels', 'fine_label', 'class'];
const KEY_COLUMN = 'key';

export interface ParquetImages {
  readonly total: number;
  /** Names of the classes, in the order of their numbers. */
  readonly classes: readonly string[] | undefined;
  readonly notes: readonly string[];
  /** Keys and labels of all rows. */
  named(): Promise<{ key: string; label: number }[]>;
  /** The images from one row to another. */
  images(from: number, to: number): AsyncGenerator<ImageSource>;
}

/** The column that holds images; undefined where none does. */
export const imageColumn = ({ columns }: ParquetSet): ParquetColumn | undefined =>
  columns.find(({ name, parts, element }) => parts.includes('bytes') || (name === 'image' && isBytes(element)));

const isBytes = (element: ParquetColumn['element']): boolean => element?.type === 'BYTE_ARRAY';

/** The keys and classes of the rows of a file. */
export interface ParquetNames {
  /** The columns that tell them. */
  readonly columns: readonly string[];
  readonly classes: readonly string[] | undefined;
  of(row: { number: number; where: string; cells: Readonly<Record<string, unknown>> }): { key: string; label: number };
}

/**
 * A column `key` of texts gives keys, else they are the rows' numbers; classes are those of the first column called so.
 */
export function parquetNames({ columns, metadata }: ParquetSet): ParquetNames {
  const key = columns.find(({ name, lists, element }) => name === KEY_COLUMN && lists === 0 && isBytes(element))?.name;
  const label = LABEL_COLUMNS.find((name) => columns.some((column) => column.name === name));
  const text = (value: unknown, where: string): string => {
    if (value instanceof Uint8Array) return new TextDecoder().decode(value);
    if (typeof value === 'string') return value;
    throw new DataError(`${where}: has no key`);
  };
  return {
    columns: [key, label].filter((name) => name !== undefined),
    classes: label === undefined ? undefined : classNames(metadata, label),
    of: ({ number, where, cells }) => ({
      key: key === undefined ? numberedKey(number) : text(cells[key], where),
      label: labelOf(label === undefined ? null : cells[label], where),
    }),
  };
}

/**
 * Opens a Parquet file, or all of a folder in the order of their names.
 * @throws DataError when one is damaged or holds no column of images
 */
export async function openParquetImages(input: string): Promise<ParquetImages> {
  const set = await openParquet(input);
  const image = imageColumn(set);
  if (!image) {
    const columns = set.columns.map(({ name }) => name).join(', ');
    throw new DataError(
      `${input}: holds no column of images`,
      `Its columns are ${columns}; one of {bytes, path} is looked for.`,
    );
  }
  const names = parquetNames(set);
  const taken = [image.name, ...names.columns];
  const others = set.columns.map(({ name }) => name).filter((name) => !taken.includes(name));
  async function* images(from: number, to: number): AsyncGenerator<ImageSource> {
    for await (const row of set.rows(taken, from, to)) {
      const cell = row.cells[image!.name] as { bytes?: unknown; path?: unknown } | null | undefined;
      const bytes: unknown = cell?.bytes ?? cell;
      if (!(bytes instanceof Uint8Array)) throw noBytes(row.where, cell?.path);
      yield { ...names.of(row), bytes, path: row.where };
    }
  }
  async function named(): Promise<{ key: string; label: number }[]> {
    const all: { key: string; label: number }[] = [];
    if (names.columns.length === 0)
      return Array.from({ length: set.total }, (_, row) => names.of({ number: row, where: input, cells: {} }));
    for await (const row of set.rows(names.columns)) all.push(names.of(row));
    return all;
  }
  const notes = others.length > 0 ? [`columns that are not taken: ${others.join(', ')}`] : [];
  return { total: set.total, classes: names.classes, notes, named, images };
}

/**
 * Of a set whose pictures lie elsewhere: Hugging Face's datasets writes their paths alone unless it is asked to embed
 * them.
 */
const noBytes = (where: string, path: unknown): DataError =>
  typeof path === 'string'
    ? new DataError(
        `${where}: its image has no bytes, only the path ${path}`,
        "Take the folder of pictures itself, or embed them: ds.with_format('arrow').map(datasets.table.embed_table_storage, batched=True).",
      )
    : new DataError(`${where}: its image has no bytes`);

/** The names that datasets keeps of a column of class numbers. */
function classNames(metadata: ParquetSet['metadata'], label: string): string[] | undefined {
  try {
    const names = JSON.parse(metadata.get('huggingface') ?? 'null')?.info?.features?.[label]?.names as unknown;
    return Array.isArray(names) ? names.map(String) : undefined;
  } catch {
    return undefined;
  }
}

/** @throws DataError for what is no class number */
function labelOf(value: unknown, where: string): number {
  if (value === null || value === undefined) return -1;
  const label = Number(value);
  if ((typeof value === 'bigint' || typeof value === 'number') && isClass(label)) return label;
  throw new DataError(`${where}: its label is no class number`);
}
