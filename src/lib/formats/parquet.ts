/** Parquet: one file, or all of a folder in the order of their names, as rows that follow each other. */
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import {
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  type SchemaElement,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DataError } from '../errors.js';

/** A column at the top of the schema. */
export interface ParquetColumn {
  readonly name: string;
  /** Names of the fields of a struct; none of anything else. */
  readonly parts: readonly string[];
  /** How many lists lie in each other, and what the innermost holds; 0 for a plain value. */
  readonly lists: number;
  /** The leaf below the lists; undefined where there is more than one. */
  readonly element: Readonly<SchemaElement> | undefined;
}

export interface ParquetRow {
  /** Over all files, from 0 on. */
  readonly number: number;
  /** Names the row in messages. */
  readonly where: string;
  readonly cells: Readonly<Record<string, unknown>>;
}

export interface ParquetSet {
  readonly name: string;
  readonly total: number;
  readonly columns: readonly ParquetColumn[];
  /** Key-value pairs of the first file. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Cells of these columns, from one row to another; bytes that are no text come as Uint8Array. */
  rows(columns: readonly string[], from?: number, to?: number): AsyncGenerator<ParquetRow>;
}

interface ParquetFile {
  path: string;
  buffer: Awaited<ReturnType<typeof asyncBufferFromFile>>;
  metadata: FileMetaData;
  /** The number of its first row, over all files. */
  start: number;
  rows: number;
}

/** About how many unpacked bytes are held in memory at a time: a larger row group is read in several passes. */
const GROUP_AT_ONCE = 2 ** 26;
/** Nobody writes larger row groups; each pass unpacks some of a group again. */
const LARGEST_GROUP = 2 ** 33;

const isParquetName = (name: string): boolean => /\.parquet$/i.test(name);

/** Whether `input` is a Parquet file, or a folder that holds some. */
export const isParquet = (input: string): boolean =>
  statSync(input).isDirectory() ? readdirSync(input).some(isParquetName) : isParquetName(input);

/** The file itself, or those of a folder in the order of their names. */
export const parquetFiles = (input: string): string[] =>
  statSync(input).isDirectory()
    ? readdirSync(input)
        .filter(isParquetName)
        .sort()
        .map((name) => path.join(input, name))
    : [input];

/**
 * Opens a Parquet file, or all of a folder in the order of their names.
 * @throws DataError when one is damaged, or has other columns than the first
 */
export async function openParquet(input: string): Promise<ParquetSet> {
  const paths = parquetFiles(input);
  const files: ParquetFile[] = [];
  for (const file of paths) {
    const { buffer, metadata } = await reading(file, async () => {
      const buffer = await asyncBufferFromFile(file);
      const metadata = await parquetMetadataAsync(buffer);
      checkGroups(metadata);
      return { buffer, metadata };
    });
    const last = files.at(-1);
    files.push({
      path: file,
      buffer,
      metadata,
      start: last ? last.start + last.rows : 0,
      rows: Number(metadata.num_rows),
    });
  }
  const [first] = files;
  const columns = columnsOf(first.metadata);
  for (const { path: file, metadata } of files) {
    const names = new Set(columnsOf(metadata).map(({ name }) => name));
    const missing = columns.find(({ name }) => !names.has(name));
    if (missing) throw new DataError(`${file}: has no column '${missing.name}', which ${first.path} has`);
  }
  return {
    name: input,
    total: files.reduce((sum, { rows }) => sum + rows, 0),
    columns,
    metadata: new Map((first.metadata.key_value_metadata ?? []).map(({ key, value }) => [key, value ?? ''])),
    async *rows(wanted, from = 0, to = Number.POSITIVE_INFINITY) {
      for (const file of files) yield* fileRows(file, wanted, from, to);
    },
  };
}

/** Turns whatever the reader throws for a damaged file into a DataError. */
async function reading<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof DataError || (error as NodeJS.ErrnoException).syscall !== undefined) throw error;
    throw new DataError(`${file}: cannot be read as Parquet: ${reasonOf(error as Error)}`);
  }
}

/** The reason of an error; a TypeError of the reader tells nothing about the file. */
const reasonOf = (error: Error): string =>
  error instanceof TypeError || error instanceof RangeError ? 'it is damaged' : error.message;

/** The columns at the top: the schema is a tree, written in depth-first order. */
function columnsOf({ schema }: FileMetaData): ParquetColumn[] {
  const columns: ParquetColumn[] = [];
  for (let i = 1; i < schema.length; ) {
    const end = endOf(schema, i);
    const isList = (at: number): boolean =>
      schema[at].converted_type === 'LIST' || schema[at].logical_type?.type === 'LIST';
    let [leaf, lists] = [i, 0];
    for (; isList(leaf) && schema[leaf + 1]?.repetition_type === 'REPEATED' && leaf + 2 < end; leaf += 2) lists++;
    const count = schema[leaf].num_children ?? 0;
    columns.push({
      name: schema[i].name,
      parts: lists === 0 ? childrenOf(schema, i).map((at) => schema[at].name) : [],
      lists,
      element: count === 0 ? schema[leaf] : undefined,
    });
    i = end;
  }
  return columns;
}

/**
 * Each row group has one chunk for each leaf of the schema, in order. The reader takes that for granted: what goes
 * wrong in a chunk that no leaf asks for would end the process.
 * @throws Error where it is otherwise
 */
function checkGroups({ schema, row_groups: groups, key_value_metadata: pairs = [] }: FileMetaData): void {
  if (!Array.isArray(pairs)) throw new Error('its metadata are no pairs');
  const leaves = leafPaths(schema).map((path) => JSON.stringify(path));
  for (const [i, { columns }] of groups.entries()) {
    const paths = columns.map(({ meta_data: chunk }) => JSON.stringify(chunk?.path_in_schema));
    if (paths.length !== leaves.length || paths.some((path, leaf) => path !== leaves[leaf])) {
      throw new Error(`the columns of row group ${i} are not those of the schema`);
    }
  }
}

/** Names from the top to each leaf. */
function leafPaths(schema: readonly SchemaElement[]): string[][] {
  const paths: string[][] = [];
  const open: { path: string[]; left: number }[] = [{ path: [], left: schema[0]?.num_children ?? 0 }];
  for (const { name, num_children: children = 0 } of schema.slice(1)) {
    while (open.at(-1)?.left === 0) open.pop();
    const parent = open.at(-1);
    if (!parent) throw new Error('the schema holds more than its columns');
    parent.left--;
    const path = [...parent.path, name];
    if (children > 0) open.push({ path, left: children });
    else paths.push(path);
  }
  if (open.some(({ left }) => left > 0)) throw new Error('the schema holds less than its columns');
  return paths;
}

/** Where the subtree that begins at `at` ends. */
function endOf(schema: readonly SchemaElement[], at: number): number {
  let end = at + 1;
  for (let child = 0; child < (schema[at]?.num_children ?? 0); child++) end = endOf(schema, end);
  return end;
}

function childrenOf(schema: readonly SchemaElement[], at: number): number[] {
  const children: number[] = [];
  for (let next = at + 1; children.length < (schema[at].num_children ?? 0); next = endOf(schema, next))
    children.push(next);
  return children;
}

async function* fileRows(
  { path: file, buffer, metadata, start }: ParquetFile,
  columns: readonly string[],
  from: number,
  to: number,
): AsyncGenerator<ParquetRow> {
  let first = 0;
  for (const { num_rows: count, total_byte_size: bytes } of metadata.row_groups) {
    const [begin, end] = [Math.max(first, from - start), Math.min(first + Number(count), to - start)];
    first += Number(count);
    if (begin >= end) continue;
    if (Number(bytes) > LARGEST_GROUP) {
      throw new DataError(
        `${file}: a row group of ${bytes} bytes is more than is read`,
        'Write it with smaller row groups.',
      );
    }
    const goes = Math.max(1, Math.ceil(Number(bytes) / GROUP_AT_ONCE));
    const rowsAtOnce = Math.ceil(Number(count) / goes);
    for (let rowStart = begin; rowStart < end; rowStart += rowsAtOnce) {
      const rowEnd = Math.min(end, rowStart + rowsAtOnce);
      const rows = await reading(file, () =>
        parquetReadObjects({
          file: buffer,
          metadata,
          compressors,
          columns: [...columns],
          rowStart,
          rowEnd,
          utf8: false,
          useOffsetIndex: true,
        }),
      );
      if (rows.length !== rowEnd - rowStart) {
        throw new DataError(
          `${file}: cannot be read as Parquet: ${rows.length} rows where ${rowEnd - rowStart} are due`,
        );
      }
      for (const [i, cells] of rows.entries()) {
        yield { number: start + rowStart + i, where: `${file}: row ${rowStart + i}`, cells };
      }
    }
  }
}
