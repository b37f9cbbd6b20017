/** What a tensor stream holds: one row per sample, each with a `key`, a `label` and tensors of fixed shape. */
import { DataError } from '../errors.js';
import { sameShape, showShape, sizeOf } from '../numbers/typed-array.js';

export type TensorDType = 'f16' | 'f32' | 'u8' | 'i8';

/** Raw storage of a tensor column: f16 is held as its bits. */
export type TensorData = Uint16Array | Float32Array | Uint8Array | Int8Array;

export interface TensorColumn {
  readonly name: string;
  readonly dtype: TensorDType;
  /** Shape of one row's tensor. */
  readonly shape: readonly number[];
  readonly dimNames?: readonly string[] | undefined;
}

/** The tensor columns of a stream and its metadata. The columns `key` (utf8) and `label` (int32) always come first. */
export interface StreamSchema {
  readonly columns: readonly TensorColumn[];
  /** Provenance, as strings: `repa.kind`, `repa.model`, ... The writer sets `repa.format`, whatever it is here. */
  readonly metadata: Readonly<Record<string, string>>;
}

export const FORMAT_KEY = 'repa.format';
export const FORMAT_VERSION = '2';

/**
 * Versions that are read. Streams of version 1 have no chain: a batch of another such stream passes for one of theirs.
 */
export const READ_VERSIONS: readonly string[] = ['1', FORMAT_VERSION];

/** Storage class of each element type; its BYTES_PER_ELEMENT is the type's width. */
export const STORAGE = { f16: Uint16Array, f32: Float32Array, u8: Uint8Array, i8: Int8Array } as const;

/** Names that can be typed on a command line and used as properties. */
export const COLUMN_NAME = /^[A-Za-z][\w.-]*$/;

const MAX_ROW_ELEMENTS = 2 ** 31 - 1; // a FixedSizeList's size is an int32

/** Bytes of one row of a tensor column. */
export const rowBytes = (column: TensorColumn): number =>
  sizeOf(column.shape) * STORAGE[column.dtype].BYTES_PER_ELEMENT;

export const showColumn = (column: TensorColumn): string =>
  `${column.name}: ${column.dtype} ${showShape(column.shape)}`;

/** The column of the scales of an i8 column: one for each vector along its last dimension. */
export const scaleColumn = ({ name, shape, dimNames }: TensorColumn): TensorColumn => ({
  name: `${name}.scale`,
  dtype: 'f16',
  shape: shape.slice(0, -1),
  ...(dimNames ? { dimNames: dimNames.slice(0, -1) } : {}),
});

/** The columns that hold values of their own: all but scales. */
export const valueColumns = (columns: readonly TensorColumn[]): TensorColumn[] =>
  columns.filter(({ name }) => !columns.some((other) => other.dtype === 'i8' && name === scaleColumn(other).name));

/** The columns with the scales that i8 columns need, each behind its own. */
export const withScales = (columns: readonly TensorColumn[]): TensorColumn[] =>
  columns.flatMap((column) => (column.dtype === 'i8' ? [column, scaleColumn(column)] : [column]));

/** What makes these columns impossible to store, or undefined if nothing does. */
export function columnsProblem(columns: readonly TensorColumn[]): string | undefined {
  const names = new Set(['key', 'label']);
  for (const { name, dtype, shape, dimNames } of columns) {
    if (!COLUMN_NAME.test(name) || names.has(name)) return `the column name '${name}' is malformed or taken`;
    names.add(name);
    if (!Object.hasOwn(STORAGE, dtype)) return `column '${name}' has the unknown element type '${dtype}'`;
    if (!shape.every((dim) => Number.isInteger(dim) && dim > 0) || sizeOf(shape) > MAX_ROW_ELEMENTS) {
      return `column '${name}' has the impossible shape ${showShape(shape)}`;
    }
    if (dimNames && dimNames.length !== shape.length) return `column '${name}' names ${dimNames.length} dimensions`;
    if (dtype === 'i8' && !hasScales(columns, name, shape)) {
      return `column '${name}' is i8, but no f16 column '${name}.scale' ${showShape(shape.slice(0, -1))} says of what`;
    }
  }
  return undefined;
}

const hasScales = (columns: readonly TensorColumn[], name: string, shape: readonly number[]): boolean =>
  shape.length > 1 &&
  columns.some((other) => {
    return other.name === `${name}.scale` && other.dtype === 'f16' && sameShape(other.shape, shape.slice(0, -1));
  });

const sameNames = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean =>
  JSON.stringify(a) === JSON.stringify(b);

/** Whether two streams have equal fields, so that one may follow the other. Metadata may differ. */
export const sameColumns = (a: readonly TensorColumn[], b: readonly TensorColumn[]): boolean =>
  a.length === b.length &&
  a.every((column, i) => {
    const other = b[i];
    return (
      column.name === other.name &&
      column.dtype === other.dtype &&
      sameShape(column.shape, other.shape) &&
      sameNames(column.dimNames, other.dimNames)
    );
  });

/**
 * The column of this name.
 *
 * @param source the file's or stream's name, for the message.
 * @throws DataError naming the columns there are.
 */
export function findColumn(schema: StreamSchema, name: string, source: string): TensorColumn {
  const column = schema.columns.find((candidate) => candidate.name === name);
  if (column) return column;
  const present = schema.columns.map(showColumn).join(', ') || 'none';
  throw new DataError(`${source}: no column '${name}'; its tensor columns: ${present}`);
}
