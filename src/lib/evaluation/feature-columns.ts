/** Files of features as matrices with one vector for each image. */
import { statSync } from 'node:fs';
import path from 'node:path';
import { DataError } from '../errors.js';
import { machineMemory, showBytes } from '../files/space.js';
import { toFloat32 } from '../formats/host-tensor.js';
import { readNpy } from '../formats/npy.js';
import type { FeatureRows } from '../metrics/feature-rows.js';
import { firstNonFinite } from '../numbers/finite.js';
import { drained } from '../numbers/typed-array.js';
import { tokenMeans } from '../pretrained/token-means.js';
import { openTensorFile } from '../stream/file.js';
import { openTensorStream } from '../stream/reader.js';
import { floatColumn } from '../stream/rows.js';
import { type TensorColumn, valueColumns } from '../stream/schema.js';
import { type Room, RowStore } from './row-store.js';

/** The facts of a column of features. */
interface ColumnFacts {
  name: string;
  /** Keys of the rows; undefined for an .npy. */
  keys: readonly string[] | undefined;
  labels: Int32Array | undefined;
  rows: number;
  dim: number;
  /** The stream's header; empty for an .npy. */
  metadata?: Readonly<Record<string, string>>;
}

/** A column in memory. */
export interface FeatureColumn extends ColumnFacts {
  values: Float32Array; // [N, D]
}

/** A column that is read some rows at a time. */
export interface StoredColumn extends ColumnFacts {
  features: FeatureRows;
}

/**
 * Reads every column of features of a tensor stream, its tokens averaged for each image, or an .npy [N, D].
 * @throws DataError when the file holds no features, or values that are not finite, or more than this machine's memory
 */
export async function readFeatureColumns(input: string): Promise<FeatureColumn[]> {
  if (path.extname(input) === '.npy') return [fromNpy(input)];
  const size = await featureSize(input);
  if (size) checkMemory(input, size.columns.reduce((sum, { dim }) => sum + size.rows * dim, 0) * FLOAT);
  const pieces: Float32Array[][] = [];
  const columns = await readColumns(input, (column, values) => {
    pieces[column] ??= [];
    pieces[column].push(values);
  });
  return columns.map((column, i) => ({ ...column, values: drained(pieces[i] ?? []) }));
}

/**
 * The same columns in stores that share `room` in memory and continue on disk; the caller closes them.
 * @throws as readFeatureColumns, but for the memory; an error of the file system where the disk takes no more
 */
export async function storeFeatureColumns(
  input: string,
  room: Room,
): Promise<(StoredColumn & { features: RowStore })[]> {
  const stores: RowStore[] = [];
  const columns = await readColumns(input, (column, values, dim) => {
    stores[column] ??= new RowStore(dim, room);
    stores[column].append(values);
  });
  return columns.map((column, i) => ({ ...column, features: stores[i] ?? new RowStore(column.dim, room) }));
}

/** Hands the features of each column to `take`, batch by batch: [n, D]. */
async function readColumns(
  input: string,
  take: (column: number, values: Float32Array, dim: number) => void,
): Promise<ColumnFacts[]> {
  if (path.extname(input) === '.npy') {
    const { values, ...facts } = fromNpy(input);
    take(0, values, facts.dim);
    return [facts];
  }
  const reader = await openTensorStream(input);
  const columns = featuresIn(reader.schema.columns, reader.name);
  const keys: string[] = [];
  const labels: number[] = [];
  for await (const batch of reader) {
    for (const key of batch.keys) keys.push(key);
    for (const label of batch.labels) labels.push(label);
    for (const [i, { name, shape }] of columns.entries()) {
      const dim = shape.at(-1)!;
      const raw = floatColumn(batch, name);
      const values = shape.length === 2 ? tokenMeans(raw, shape[0], dim) : raw;
      refuseNonFinite(values, dim, (row) => `${reader.name}: '${name}' of '${batch.keys[row]}'`);
      take(i, values, dim);
    }
  }
  const facts = { keys, labels: Int32Array.from(labels), rows: keys.length, metadata: reader.schema.metadata };
  return columns.map(({ name, shape }) => ({ ...facts, name, dim: shape.at(-1)! }));
}

/** @throws DataError when none of the columns holds features */
function featuresIn(columns: readonly TensorColumn[], file: string): TensorColumn[] {
  const found = valueColumns(columns).filter(({ dtype, shape }) => dtype !== 'u8' && shape.length <= 2);
  if (found.length > 0) return found;
  throw new DataError(`${file}: has no features: one vector, or a list of tokens, a row`);
}

/** The size of a file of features, by its headers. */
export interface FeatureSize {
  rows: number;
  columns: { name: string; dim: number }[];
  labels: Int32Array;
}

/** @returns undefined for a pipe or an .npy, which tell nothing before they are read */
export async function featureSize(input: string): Promise<FeatureSize | undefined> {
  const stat = input === '-' ? undefined : statSync(input, { throwIfNoEntry: false });
  if (!(stat?.isFile() || stat?.isDirectory()) || path.extname(input) === '.npy') return undefined;
  const file = await openTensorFile(input);
  try {
    const columns = featuresIn(file.schema.columns, file.name);
    return {
      rows: file.rows,
      columns: columns.map(({ name, shape }) => ({ name, dim: shape.at(-1)! })),
      labels: file.labels(),
    };
  } finally {
    file.close();
  }
}

const FLOAT = Float32Array.BYTES_PER_ELEMENT;

/** @throws DataError when this machine has less memory */
export function checkMemory(what: string, bytes: number): void {
  const there = machineMemory();
  if (bytes <= there) return;
  throw new DataError(
    `${what}: takes ${showBytes(bytes)} of memory, and this machine has ${showBytes(there)}`,
    'Extract features of fewer images or blocks.',
  );
}

function fromNpy(input: string): FeatureColumn {
  const tensor = readNpy(input);
  const [rows, dim] = tensor.shape;
  if (tensor.shape.length !== 2) throw new DataError(`${input}: is [${tensor.shape}], not one vector a row: [N, D]`);
  const values = toFloat32(tensor);
  refuseNonFinite(values, dim, (row) => `${input}: row ${row}`);
  return { name: path.basename(input), keys: undefined, labels: undefined, rows, dim, values, metadata: {} };
}

/** Refuses NaN and infinity: a NaN is neither larger nor smaller than anything, and would count as right. */
function refuseNonFinite(values: Float32Array, dim: number, where: (row: number) => string): void {
  const lost = firstNonFinite(values);
  if (lost < 0) return;
  throw new DataError(
    `${where(Math.floor(lost / dim))} holds ${values[lost]}`,
    'The encoder failed on some images: make the features again.',
  );
}
