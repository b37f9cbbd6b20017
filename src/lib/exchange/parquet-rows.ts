/** Tensors in Parquet: a column of lists, as deep as the tensors have dimensions. */
import { DataError } from '../errors.js';
import { openParquet, type ParquetColumn } from '../formats/parquet.js';
import { classMetadata } from '../images/class-map.js';
import { imageColumn, parquetNames } from '../images/parquet-images.js';
import { halfFromFloat } from '../numbers/half.js';
import { showShape, sizeOf } from '../numbers/typed-array.js';
import type { TensorColumn, TensorDType } from '../stream/schema.js';
import { columnFor, type Row, type RowSource } from './rows.js';

/** Header entries of a stream that its export to Parquet kept. */
const OWN_ENTRY = /^repa\./;

/**
 * Opens the columns of lists of numbers as rows. Their shape is that of the first row.
 * @returns undefined where the file is one of images, or holds no such column
 * @throws DataError when it is damaged, or rows have other shapes than the first
 */
export async function readParquetRows(input: string): Promise<RowSource | undefined> {
  const set = await openParquet(input);
  const lists = set.columns.filter(({ lists, element }) => lists > 0 && element !== undefined);
  if (imageColumn(set) || lists.length === 0) return undefined;
  const names = parquetNames(set);
  const wanted = [...names.columns, ...lists.map(({ name }) => name)];
  const first = await set.rows(wanted, 0, 1).next();
  if (first.done) throw new DataError(`${input}: holds no rows`);
  const columns = lists.map((column) => {
    const where = `${first.value.where}: ${column.name}`;
    const shape = shapeOf(first.value.cells[column.name], column.lists, where);
    return columnFor({ shape, dtype: storedAs(column, input) }, where, column.name);
  });
  async function* rows(): AsyncGenerator<Row> {
    for await (const row of set.rows(wanted)) {
      const tensors = columns.map((column) => {
        return [column.name, tensorOf(row.cells[column.name], column, `${row.where}: ${column.name}`)];
      });
      yield { ...names.of(row), tensors: Object.fromEntries(tensors) };
    }
  }
  const others = set.columns.map(({ name }) => name).filter((name) => !wanted.includes(name));
  return {
    columns,
    total: set.total,
    metadata: { ...classMetadata(names.classes), ...ownEntries(set.metadata) },
    notes: others.length > 0 ? [`columns that are not taken: ${others.join(', ')}`] : [],
    rows: rows(),
  };
}

/** The entries of the header of an exported stream, without those that the import writes itself. */
function ownEntries(metadata: ReadonlyMap<string, string>): Record<string, string> {
  const imports = new Set(['repa.format', 'repa.kind', 'repa.tool', 'repa.command']);
  return Object.fromEntries([...metadata].filter(([key]) => OWN_ENTRY.test(key) && !imports.has(key)));
}

/** How a stream stores the elements of a column. @throws DataError for types that it does not store */
function storedAs({ name, element }: ParquetColumn, input: string): TensorDType {
  const { type, converted_type: converted, logical_type: logical } = element!;
  if (type === 'FLOAT' || type === 'DOUBLE') return 'f32';
  if (logical?.type === 'FLOAT16') return 'f16';
  if (converted === 'UINT_8' || (logical?.type === 'INTEGER' && logical.bitWidth === 8 && !logical.isSigned))
    return 'u8';
  throw new DataError(
    `${input}: column '${name}' holds lists of ${(converted ?? type ?? 'unknown').toLowerCase()}`,
    'A stream holds floats and bytes (uint8): convert the column, or leave it out.',
  );
}

type Nested = ArrayLike<number> | readonly Nested[];

function shapeOf(cell: unknown, depth: number, where: string): number[] {
  const shape: number[] = [];
  for (let [level, part] = [0, cell as Nested | undefined]; level < depth; level++, part = part?.[0] as Nested) {
    if (!isList(part)) throw new DataError(`${where}: has no values`);
    shape.push(part.length);
  }
  return shape;
}

const isList = (value: unknown): value is Nested => Array.isArray(value) || ArrayBuffer.isView(value);

/** [...shape], flat. @throws DataError when the lists have other lengths, or hold what is no number */
function tensorOf(cell: unknown, { shape, dtype }: TensorColumn, where: string): Row['tensors'][string] {
  const values = dtype === 'u8' ? new Uint8Array(sizeOf(shape)) : new Float32Array(sizeOf(shape)); // [...shape]
  let at = 0;
  const visit = (part: unknown, level: number): void => {
    if (!isList(part) || part.length !== shape[level]) {
      const found = isList(part) ? `a list of ${part.length}` : 'no list';
      throw new DataError(
        `${where}: ${found} in dimension ${level} of ${showShape(shape)}, the shape of the first row`,
      );
    }
    if (level + 1 < shape.length) for (let i = 0; i < part.length; i++) visit(part[i], level + 1);
    else {
      for (let i = 0; i < part.length; i++) {
        if (typeof part[i] !== 'number') throw new DataError(`${where}: holds ${String(part[i])}, which is no number`);
        values[at++] = part[i] as number;
      }
    }
  };
  visit(cell, 0);
  return dtype === 'f16' ? halfFromFloat(values as Float32Array) : values;
}
