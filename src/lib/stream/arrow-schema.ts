/**
 * The stream's schema, decoded from Arrow's: tensors are FixedSizeLists under the canonical `arrow.fixed_shape_tensor`
 * extension.
 */
import { sizeOf } from '../numbers/typed-array.js';
import type { Table } from './flatbuffer.js';
import { FormatProblem } from './format-problem.js';
import { columnsProblem, FORMAT_KEY, READ_VERSIONS, type StreamSchema, type TensorColumn } from './schema.js';

export const EXTENSION_NAME = 'ARROW:extension:name';
export const EXTENSION_METADATA = 'ARROW:extension:metadata';
export const FIXED_SHAPE_TENSOR = 'arrow.fixed_shape_tensor';
const MAX_FIELDS = 256;
const MAX_METADATA_ENTRIES = 256;

/** Slots of the tables, and values of the enumerations, in Arrow's Schema.fbs. */
const SCHEMA = { endianness: 0, fields: 1, metadata: 2 };
const FIELD = { name: 0, nullable: 1, typeType: 2, type: 3, dictionary: 4, children: 5, metadata: 6 };
const INT = { bitWidth: 0, isSigned: 1 };
const FLOATING_POINT = { precision: 0 };
const FIXED_SIZE_LIST = { listSize: 0 };
const KEY_VALUE = { key: 0, value: 1 };
const TYPE = { int: 2, floatingPoint: 3, utf8: 5, fixedSizeList: 16 };
const PRECISION = { half: 0, single: 1 };

/** The key-value pairs in one slot of a table. */
export function decodeMetadata(table: Table, slot: number): Map<string, string> {
  const entries = table.tables(slot, MAX_METADATA_ENTRIES);
  return new Map(entries.map((entry) => [entry.string(KEY_VALUE.key), entry.string(KEY_VALUE.value)]));
}

/** The bytes of the value of `key` among the key-value pairs in one slot, as a view of the message. */
export function metadataBytes(table: Table, slot: number, key: string): Uint8Array | undefined {
  const entry = table.tables(slot, MAX_METADATA_ENTRIES).find((candidate) => candidate.string(KEY_VALUE.key) === key);
  return entry?.bytes(KEY_VALUE.value);
}

/** Short name of a field's type, undefined for the types that a stream never holds. */
function typeName(field: Table): 'utf8' | 'i32' | 'f16' | 'f32' | 'u8' | 'i8' | 'list' | undefined {
  if (field.has(FIELD.dictionary)) return undefined;
  const type = field.table(FIELD.type);
  switch (field.uint8(FIELD.typeType)) {
    case TYPE.utf8:
      return 'utf8';
    case TYPE.fixedSizeList:
      return 'list';
    case TYPE.int: {
      const signed = type?.uint8(INT.isSigned) === 1;
      const bits = type?.int32(INT.bitWidth);
      if (signed && bits === 32) return 'i32';
      if (bits !== 8) return undefined;
      return signed ? 'i8' : 'u8';
    }
    case TYPE.floatingPoint: {
      const precision = type?.int16(FLOATING_POINT.precision);
      if (precision === PRECISION.half) return 'f16';
      return precision === PRECISION.single ? 'f32' : undefined;
    }
    default:
      return undefined;
  }
}

function fixedShape(name: string, extension: string): Pick<TensorColumn, 'shape' | 'dimNames'> {
  const parsed: { shape?: unknown; dim_names?: unknown } | null = JSON.parse(extension);
  const shape = parsed?.shape;
  const dimNames = parsed?.dim_names;
  if (!Array.isArray(shape)) throw new FormatProblem(`column '${name}' has no shape`);
  if (dimNames === undefined) return { shape };
  if (!Array.isArray(dimNames) || !dimNames.every((dim) => typeof dim === 'string')) {
    throw new FormatProblem(`column '${name}' has malformed dimension names`);
  }
  return { shape, dimNames };
}

function decodeTensorField(field: Table): TensorColumn {
  const name = field.string(FIELD.name);
  const metadata = decodeMetadata(field, FIELD.metadata);
  if (typeName(field) !== 'list' || metadata.get(EXTENSION_NAME) !== FIXED_SHAPE_TENSOR) {
    throw new FormatProblem(`column '${name}' is not a ${FIXED_SHAPE_TENSOR}`);
  }
  const [item] = field.tables(FIELD.children, 1);
  const dtype = item && typeName(item);
  if (dtype !== 'f16' && dtype !== 'f32' && dtype !== 'u8' && dtype !== 'i8') {
    throw new FormatProblem(`column '${name}' does not hold f16, f32, u8 or i8`);
  }
  if (item?.uint8(FIELD.nullable)) throw new FormatProblem(`column '${name}' may hold nulls`);
  const column = { name, dtype, ...fixedShape(name, metadata.get(EXTENSION_METADATA) ?? '{}') };
  if (field.table(FIELD.type)?.int32(FIXED_SIZE_LIST.listSize) !== sizeOf(column.shape)) {
    throw new FormatProblem(`column '${name}' stores another number of elements than its shape has`);
  }
  return column;
}

/**
 * What keeps an Arrow schema from being a tensor stream's of a version that is read, in words; undefined if nothing
 * does.
 */
export function foreignProblem(table: Table): string | undefined {
  const [key, label] = table.tables(SCHEMA.fields, MAX_FIELDS);
  const version = decodeMetadata(table, SCHEMA.metadata).get(FORMAT_KEY);
  const missing: string[] = [];
  if (version === undefined) missing.push(`the metadata '${FORMAT_KEY}'`);
  if (key?.string(FIELD.name) !== 'key' || typeName(key) !== 'utf8') missing.push("a first column 'key' of utf8");
  if (label?.string(FIELD.name) !== 'label' || typeName(label) !== 'i32') {
    missing.push("a second column 'label' of int32");
  }
  if (missing.length > 0) return `an Arrow stream, but no tensor stream: it lacks ${missing.join(' and ')}`;
  if (READ_VERSIONS.includes(version!)) return undefined;
  return `${FORMAT_KEY} is '${version}', here ${READ_VERSIONS.map((known) => `'${known}'`).join(' and ')} are read`;
}

/**
 * The schema in a decoded Arrow schema table that has no foreign problem.
 *
 * @throws FormatProblem saying what keeps it from being a tensor stream's.
 */
export function decodeSchema(table: Table): StreamSchema {
  const metadata = decodeMetadata(table, SCHEMA.metadata);
  const fields = table.tables(SCHEMA.fields, MAX_FIELDS);
  if (table.int16(SCHEMA.endianness) !== 0) throw new FormatProblem('big-endian streams are not supported');
  if (fields.some((field) => field.uint8(FIELD.nullable) !== 0)) throw new FormatProblem('columns may hold nulls');
  const columns = fields.slice(2).map(decodeTensorField);
  const problem = columnsProblem(columns);
  if (problem !== undefined) throw new FormatProblem(problem);
  return { columns, metadata: Object.fromEntries(metadata) };
}
