/**
 * A tensor stream as Parquet. Tensors are lists in lists, whose lengths the Arrow schema in the file's metadata fixes:
 * pyarrow, polars and Hugging Face's datasets take their shapes from it, DuckDB reads nested lists. Images are PNG
 * files in `{bytes, path}`, the image column of datasets.
 */
import { MessageHeader, MetadataVersion } from 'apache-arrow/enum';
import { Message } from 'apache-arrow/ipc/metadata/message';
import { Field, Schema } from 'apache-arrow/schema';
import { Binary, type DataType, FixedSizeList, Float32, Int64, Struct, Utf8 } from 'apache-arrow/type';
import { ByteWriter, type ColumnSource, ParquetWriter } from 'hyparquet-writer';
import { writeFileAtomicAsync, writeFully } from '../files/atomic-file.js';
import { classNames } from '../images/class-map.js';
import { encodePng } from '../images/png.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { TensorReader } from '../stream/reader.js';
import { floatRow, rawRow, type TensorBatch } from '../stream/rows.js';
import { type TensorColumn, valueColumns } from '../stream/schema.js';

type SchemaElement = ConstructorParameters<typeof ParquetWriter>[0]['schema'][number];

/** About how many numbers a row group has: as many are held in memory at a time. */
const GROUP_NUMBERS = 2 ** 20;

/** Writes to a file descriptor, at the end of each row group. */
class DescriptorWriter extends ByteWriter {
  constructor(readonly fd: number) {
    super();
  }
  flush(): void {
    writeFully(this.fd, this.getBytes());
    this.index = 0;
  }
  override finish(): void {
    this.flush();
  }
}

/** One column: its place in both schemas, and its cells of a batch. */
interface Cells {
  readonly name: string;
  readonly parquet: readonly SchemaElement[];
  readonly arrow: Field;
  readonly numbers: number;
  of(batch: TensorBatch): unknown[] | Promise<unknown[]>;
}

/**
 * Writes the rows of a stream; f16 and 8 bits become f32, which holds them exactly.
 * @param columns of the stream; scales are multiplied into the values that they belong to
 */
export async function exportParquet(
  reader: TensorReader,
  columns: readonly TensorColumn[],
  out: string,
): Promise<void> {
  const cells = [KEYS, LABELS, ...valueColumns(columns).map(tensorCells)];
  const rowsAtOnce = Math.max(1, Math.floor(GROUP_NUMBERS / cells.reduce((sum, { numbers }) => sum + numbers, 0)));
  const entries = { ...reader.schema.metadata, ...datasetsEntry(columns, reader.schema.metadata) };
  const arrow = new Schema(
    cells.map((column) => column.arrow),
    new Map(Object.entries(entries)),
  );
  await writeFileAtomicAsync(out, async (fd) => {
    const writer = new ParquetWriter({
      writer: new DescriptorWriter(fd),
      schema: [{ name: 'schema', num_children: cells.length }, ...cells.flatMap(({ parquet }) => parquet)],
      statistics: false,
      createdBy: 'repa',
      kvMetadata: [
        ...Object.entries(entries).map(([key, value]) => ({ key, value })),
        { key: 'ARROW:schema', value: encodedSchema(arrow) },
      ],
    });
    let held: unknown[][] = cells.map(() => []);
    const writeHeld = async (): Promise<void> => {
      const columnData = cells.map(({ name }, i): ColumnSource => ({ name, data: held[i], encoding: 'PLAIN' }));
      await writer.write({ columnData, rowGroupSize: held[0].length });
      held = cells.map(() => []);
    };
    for await (const batch of reader) {
      for (let row = 0; row < batch.rows; row += rowsAtOnce) {
        const part = rowsOf(batch, row, Math.min(batch.rows, row + rowsAtOnce));
        for (const [i, column] of cells.entries()) for (const cell of await column.of(part)) held[i].push(cell);
        if (held[0].length >= rowsAtOnce) await writeHeld();
      }
    }
    if (held[0].length > 0) await writeHeld();
    await writer.finish();
  });
}

/** Some rows of a batch, as a batch of views. */
function rowsOf(batch: TensorBatch, from: number, to: number): TensorBatch {
  const tensors = Object.entries(batch.tensors).map(([name, values]) => {
    const size = values.length / batch.rows;
    return [name, values.subarray(from * size, to * size)];
  });
  return {
    start: batch.start + from,
    rows: to - from,
    keys: batch.keys.slice(from, to),
    labels: batch.labels.subarray(from, to),
    tensors: Object.fromEntries(tensors),
  };
}

const KEYS: Cells = {
  name: 'key',
  parquet: [{ name: 'key', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' }],
  arrow: new Field('key', new Utf8(), false),
  numbers: 1,
  of: ({ keys }) => keys,
};

/** Labels; null where there is none. */
const LABELS: Cells = {
  name: 'label',
  parquet: [{ name: 'label', type: 'INT64', repetition_type: 'OPTIONAL' }],
  arrow: new Field('label', new Int64(), true),
  numbers: 1,
  of: ({ labels }) => Array.from(labels, (label) => (label < 0 ? null : BigInt(label))),
};

const tensorCells = (column: TensorColumn): Cells => (column.name === 'image' ? imageCells(column) : listCells(column));

function listCells({ name, shape }: TensorColumn): Cells {
  const type = [...shape].reverse().reduce<DataType>((inner, length) => {
    return new FixedSizeList(length, new Field('element', inner, false));
  }, new Float32());
  return {
    name,
    parquet: listSchema(name, shape.length),
    arrow: new Field(name, type, false),
    numbers: sizeOf(shape),
    of: (batch) => Array.from({ length: batch.rows }, (_, row) => nested(floatRow(batch, name, row), shape)),
  };
}

/** Parquet's three levels of a list, once a dimension. */
function listSchema(name: string, depth: number): SchemaElement[] {
  if (depth === 0) return [{ name, type: 'FLOAT', repetition_type: 'REQUIRED' }];
  return [
    { name, converted_type: 'LIST', logical_type: { type: 'LIST' }, num_children: 1, repetition_type: 'REQUIRED' },
    { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
    ...listSchema('element', depth - 1),
  ];
}

/** Flat values as arrays in arrays. */
function nested(values: Float32Array, shape: readonly number[]): unknown {
  if (shape.length === 0) return values[0];
  if (shape.length === 1) return Array.from(values);
  const size = values.length / shape[0];
  return Array.from({ length: shape[0] }, (_, i) => nested(values.subarray(i * size, (i + 1) * size), shape.slice(1)));
}

function imageCells({ name, shape: [height, width] }: TensorColumn): Cells {
  const parts = [new Field('bytes', new Binary(), true), new Field('path', new Utf8(), true)];
  return {
    name,
    parquet: [
      { name, num_children: 2, repetition_type: 'OPTIONAL' },
      { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
      { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
    ],
    arrow: new Field(name, new Struct(parts), true), // all of it nullable, as datasets writes it and wants it
    numbers: height * width,
    of: (batch) =>
      Promise.all(
        batch.keys.map(async (key, row) => {
          const data = rawRow(batch, name, row) as Uint8Array; // [H, W, 3]
          return { bytes: await encodePng({ width, height, data }), path: key };
        }),
      ),
  };
}

/** The entry of datasets for features that Arrow's types do not tell: images, and the names of classes. */
function datasetsEntry(
  columns: readonly TensorColumn[],
  metadata: Readonly<Record<string, string>>,
): Record<string, string> {
  if (columns.length !== 1 || columns[0].name !== 'image') return {};
  const classes = classNames(metadata);
  const features = {
    key: { dtype: 'string', _type: 'Value' },
    label: classes === undefined ? { dtype: 'int64', _type: 'Value' } : { names: classes, _type: 'ClassLabel' },
    image: { _type: 'Image' },
  };
  return { huggingface: JSON.stringify({ info: { features } }) };
}

/** The schema as an encapsulated message in base64, which Parquet's readers of Arrow look for. */
function encodedSchema(schema: Schema): string {
  const body = Message.encode(new Message(0, MetadataVersion.V5, MessageHeader.Schema, schema));
  const length = Math.ceil(body.byteLength / 8) * 8;
  const message = Buffer.alloc(8 + length);
  message.writeInt32LE(-1, 0);
  message.writeInt32LE(length, 4);
  message.set(body, 8);
  return message.toString('base64');
}
