/** Writes rows as a tensor stream. */
import { DataError } from '../errors.js';
import { halfFromFloat } from '../numbers/half.js';
import { bytesOf, sizeOf, type TypedArray } from '../numbers/typed-array.js';
import { compactVectors } from './compact.js';
import { END_OF_STREAM, encodeBatchHead, encodeSchemaMessage } from './encode.js';
import { hashKeys, KeyTable, sameKey, UNIQUE_KEYS } from './key-table.js';
import { batchLayout, padded } from './layout.js';
import {
  columnsProblem,
  rowBytes,
  STORAGE,
  type StreamSchema,
  scaleColumn,
  type TensorColumn,
  type TensorData,
} from './schema.js';
import type { ByteSink } from './sink.js';

const DEFAULT_BATCH_BYTES = 4 * 2 ** 20;
const KEY_AND_LABEL_BYTES = 64; // a guess: what matters is that rows without large tensors make batches too
const INDEX_PIECES = 6; // key offsets, keys and labels, each with its padding

const PADDING = new Uint8Array(8);

/** One column's rows of the batch that is being filled. */
interface Pending {
  readonly column: TensorColumn;
  readonly size: number;
  readonly values: TensorData;
}

const INFINITE_HALF = 0x7c00;

/** Half precision must not turn a finite value into infinity unnoticed: it would poison whatever is trained on it. */
function storeHalf(key: string, column: TensorColumn, values: Float32Array, out: Uint16Array): void {
  halfFromFloat(values, out);
  const overflow = out.findIndex((half, i) => (half & 0x7fff) === INFINITE_HALF && Number.isFinite(values[i]));
  if (overflow < 0) return;
  throw new DataError(
    `${key}: the value ${values[overflow]} of '${column.name}' is too large for f16`,
    'Store f32 instead: --dtype f32.',
  );
}

export class TensorWriter {
  readonly schema: StreamSchema;
  readonly #sink: ByteSink;
  readonly #rowsPerBatch: number;
  readonly #columns: readonly Pending[];
  #keys: string[] = [];
  readonly #labels: Int32Array;
  #flushed = 0;
  /** Of all messages written so far. */
  #link = '';
  readonly #allKeys = new KeyTable();
  #state: 'new' | 'open' | 'ended' = 'new';

  /**
   * @param options.batchBytes size at which a batch is written (4 MiB); all of it is held in memory until then.
   * @throws RangeError if the columns cannot be stored.
   */
  constructor(sink: ByteSink, schema: StreamSchema, options: { batchBytes?: number } = {}) {
    const problem = columnsProblem(schema.columns);
    if (problem !== undefined) throw new RangeError(problem);
    this.#sink = sink;
    this.schema = schema;
    const bytesPerRow = schema.columns.reduce((sum, column) => sum + rowBytes(column), KEY_AND_LABEL_BYTES);
    const rows = Math.max(1, Math.floor((options.batchBytes ?? DEFAULT_BATCH_BYTES) / bytesPerRow));
    this.#rowsPerBatch = rows;
    this.#labels = new Int32Array(rows);
    this.#columns = schema.columns.map((column) => {
      const size = sizeOf(column.shape);
      return { column, size, values: new STORAGE[column.dtype](rows * size) };
    });
  }

  /** Rows appended so far. */
  get rows(): number {
    return this.#flushed + this.#keys.length;
  }

  /** Writes the schema if it is not written yet, so that whoever reads can object before the work begins. */
  async start(): Promise<void> {
    if (this.#state !== 'new') return;
    this.#state = 'open';
    const { head, link } = encodeSchemaMessage(this.schema);
    this.#link = link;
    await this.#sink.write([head]);
  }

  /**
   * Appends a row; await it before the next call. Values are copied. A Float32Array given for an f16 or i8 column is
   * converted, which gives the scales of i8 too; anything else must be of the column's own storage.
   *
   * @param tensors one entry for each column, of that column's size.
   * @throws RangeError on tensors that do not fit the schema; DataError on a value too large for f16, or a key that was
   *   there before (when its batch is written).
   */
  async append(key: string, label: number, tensors: Readonly<Record<string, TypedArray>>): Promise<void> {
    if (this.#state === 'new') await this.start();
    if (this.#state === 'ended') throw new Error('append after end');
    const row = this.#keys.length;
    const all = this.#compacted(key, tensors);
    for (const pending of this.#columns) this.#store(pending, row, key, all[pending.column.name]);
    if ((label | 0) !== label) throw new RangeError(`label ${label} of '${key}' is no 32-bit integer`);
    this.#labels[row] = label;
    this.#keys.push(key);
    if (this.#keys.length === this.#rowsPerBatch) await this.#flush(false);
  }

  /** The tensors, with floats for i8 columns converted to integers and scales. */
  #compacted(key: string, given: Readonly<Record<string, TypedArray>>): Readonly<Record<string, TypedArray>> {
    const tensors = { ...given };
    for (const { column } of this.#columns) {
      const floats = given[column.name];
      if (column.dtype !== 'i8' || !(floats instanceof Float32Array)) continue;
      const { values, scales } = compactVectors(floats, column.shape.at(-1)!);
      if (scales.includes(INFINITE_HALF)) {
        throw new DataError(
          `${key}: '${column.name}' is too large for i8, or not finite`,
          'Store f32 instead: --dtype f32.',
        );
      }
      tensors[column.name] = values;
      tensors[scaleColumn(column).name] = scales;
    }
    return tensors;
  }

  #store({ column, size, values }: Pending, row: number, key: string, given: TypedArray | undefined): void {
    if (given?.length !== size) {
      throw new RangeError(`'${column.name}' of '${key}' has ${given?.length ?? 'no'} values, its schema says ${size}`);
    }
    const out = values.subarray(row * size, (row + 1) * size);
    if (out instanceof Uint16Array && given instanceof Float32Array) storeHalf(key, column, given, out);
    else if (given.constructor === values.constructor) out.set(given as TensorData);
    else throw new RangeError(`'${column.name}' is ${column.dtype} and cannot hold a ${given.constructor.name}`);
  }

  /** Writes what is left and the end-of-stream marker, and closes the sink. Not to be called after a failure. */
  async end(): Promise<void> {
    await this.start();
    if (this.#state === 'ended') throw new Error('the stream has ended already');
    this.#state = 'ended';
    await this.#flush(true);
    await this.#sink.write([END_OF_STREAM]);
    await this.#sink.close();
  }

  async #flush(last: boolean): Promise<void> {
    const rows = this.#keys.length;
    this.#checkKeys();
    const keys = this.#keys.map((key) => Buffer.from(key));
    const offsets = new Int32Array(rows + 1);
    for (let row = 0; row < rows; row++) offsets[row + 1] = offsets[row] + keys[row].byteLength;
    const parts = [
      bytesOf(offsets),
      Buffer.concat(keys),
      bytesOf(this.#labels.subarray(0, rows)),
      ...this.#columns.map(({ values, size }) => bytesOf(values.subarray(0, rows * size))),
    ];
    const body = parts.flatMap((part) => [part, PADDING.subarray(0, padded(part.byteLength) - part.byteLength)]);
    const layout = batchLayout(this.schema.columns, rows, offsets[rows]);
    const place = { row: this.#flushed, last, after: this.#link };
    const { head, link } = encodeBatchHead(layout, body, INDEX_PIECES, place);
    this.#link = link;
    await this.#sink.write([head, ...body]);
    this.#flushed += rows;
    this.#keys = [];
  }

  /** A stream that no reader takes is not written either. */
  #checkKeys(): void {
    this.#allKeys.add(hashKeys(this.#keys));
    if (!this.#allKeys.duplicate) return;
    const { first, second } = this.#allKeys.duplicate;
    throw new DataError(sameKey(first, second, this.#keys[second - this.#flushed]), UNIQUE_KEYS);
  }
}
