/** Random access to the rows of a stream file or a shard folder. */
import fs from 'node:fs';
import path from 'node:path';
import { DataError } from '../errors.js';
import { sha256OfText } from '../files/sha256.js';
import { sizeOf } from '../numbers/typed-array.js';
import {
  type BatchPlace,
  indexFile,
  indexRows,
  joinIndexes,
  type RowIndex,
  readBatchAt,
  readSchema,
} from './file-index.js';
import { KeyTable, sameKey, UNIQUE_KEYS } from './key-table.js';
import { batchLayout, tensorOffset, tensorView } from './layout.js';
import { checkBody } from './message.js';
import { PositionedFile } from './positioned-file.js';
import { type TensorBatch, toFloats } from './rows.js';
import {
  rowBytes,
  STORAGE,
  type StreamSchema,
  sameColumns,
  scaleColumn,
  type TensorColumn,
  type TensorData,
} from './schema.js';
import { listParts } from './shards.js';

interface Batch {
  readonly file: PositionedFile;
  readonly place: BatchPlace;
  /** Its first row, counted over all parts. */
  readonly start: number;
}

/** Digits of the hash of the content. */
export const CONTENT_DIGITS = 16;

/** An open file as plain data, by which another thread opens it without reading its headers again. */
export interface OpenedFile {
  readonly name: string;
  readonly schema: StreamSchema;
  readonly paths: readonly string[];
  readonly places: readonly BatchPlace[][];
}

/**
 * A stream file, or a shard folder whose parts follow each other as one row space.
 *
 * Headers, keys and labels are checked when they are read. The tensors of a batch are checked the first time one of its
 * rows is wanted, which reads the batch whole; from then on a row is one small read. So a first pass in random order
 * reads the file once in all, and memory holds one batch, whatever the size of the file. The checksums that are kept
 * are those the file was opened with: if it is written to meanwhile, every batch is checked against them again.
 */
export class TensorFile {
  readonly name: string;
  readonly schema: StreamSchema;
  readonly rows: number;
  readonly #files: readonly PositionedFile[];
  readonly #places: readonly BatchPlace[][];
  readonly #batches: readonly Batch[];
  readonly #checked: Uint8Array;
  #index: RowIndex | undefined;
  #allKeys: readonly string[] | undefined;
  /** The batch that was read whole last. */
  #whole: { batch: number; tensors: Uint8Array<ArrayBuffer> } | undefined;
  #scratch = new ArrayBuffer(0);

  /** Use {@link openTensorFile}. */
  constructor(
    name: string,
    schema: StreamSchema,
    files: readonly PositionedFile[],
    places: readonly BatchPlace[][],
    index?: RowIndex,
  ) {
    this.name = name;
    this.schema = schema;
    this.#files = files;
    this.#places = places;
    let start = 0;
    this.#batches = files.flatMap((file, part) =>
      places[part].map((place) => {
        const batch = { file, place, start };
        start += place.rows;
        return batch;
      }),
    );
    this.rows = start;
    this.#checked = new Uint8Array(this.#batches.length);
    this.#index = index;
  }

  /** The key of each row; all are different. They stay in memory from then on. */
  keys(): readonly string[] {
    this.#allKeys ??= this.#batches.flatMap((batch) => this.#indexOf(batch).keys);
    return this.#allKeys;
  }

  /** The hash of each row's key, as a {@link KeyTable} takes them: [rows, 2]. */
  keyHashes(): Float64Array {
    return this.#loadIndex().hashes;
  }

  /** The label of each row, -1 for none. */
  labels(): Int32Array {
    return this.#loadIndex().labels;
  }

  /**
   * What the rows hold, whatever the header says and however the file is called: digits of SHA-256 over the checksums
   * of all batches, of keys, labels and tensors alike. The same rows in batches of other sizes have others.
   */
  get content(): string {
    const checksums = this.#batches.map(({ place }) => `${place.rows} ${place.bodyCrc}\n`).join('');
    return sha256OfText(checksums).slice(0, CONTENT_DIGITS);
  }

  /** The key of one row, read from the file unless all keys are in memory. */
  keyOf(row: number): string {
    if (this.#allKeys) return this.#allKeys[row];
    const batch = this.#batches[this.#findBatch(row)];
    return this.#indexOf(batch).keys[row - batch.start];
  }

  /** Frees hashes and labels, of which there may be millions; they are read again when they are needed. */
  forget(): void {
    this.#index = undefined;
  }

  get opened(): OpenedFile {
    const { name, schema } = this;
    return { name, schema, paths: this.#files.map((file) => file.name), places: this.#places };
  }

  #indexOf({ file, place }: Batch) {
    return readBatchAt(file, place, this.schema.columns);
  }

  #loadIndex(): RowIndex {
    this.#index ??= joinIndexes(this.#batches.map((batch) => indexRows(this.#indexOf(batch))));
    return this.#index;
  }

  /**
   * Gathers rows of a tensor column as f32, u8 as 0..255, i8 scaled back.
   *
   * @param rowIndices rows in any order, also repeated.
   * @param out [rowIndices.length, ...shape], in the order of `rowIndices`.
   * @throws RangeError on a column, row or length that does not fit; DataError if a batch fails its checksum.
   */
  read(column: string, rowIndices: ArrayLike<number>, out: Float32Array): void {
    const position = this.schema.columns.findIndex(({ name }) => name === column);
    if (position < 0) throw new RangeError(`${this.name}: no column '${column}'`);
    const size = sizeOf(this.schema.columns[position].shape);
    if (out.length !== rowIndices.length * size) {
      throw new RangeError(`${rowIndices.length} rows of ${size} values do not fit ${out.length}`);
    }
    // Reading in the file's order makes neighbours one read, and a batch is read whole at most once.
    const order = Uint32Array.from({ length: rowIndices.length }, (_, i) => i);
    order.sort((a, b) => rowIndices[a] - rowIndices[b]);
    const fresh = new Set<PositionedFile>();
    for (let i = 0; i < order.length; ) {
      const first = rowIndices[order[i]];
      const batch = this.#findBatch(first);
      this.#refresh(this.#batches[batch].file, fresh);
      const end = this.#batches[batch].start + this.#batches[batch].place.rows;
      let count = 1;
      while (i + count < order.length && first + count < end && rowIndices[order[i + count]] === first + count) count++;
      const values = this.#readRun(batch, position, first - this.#batches[batch].start, count);
      for (let r = 0; r < count; r++, i++) {
        toFloats(values.subarray(r * size, (r + 1) * size), out.subarray(order[i] * size, (order[i] + 1) * size));
      }
    }
    const stored = this.schema.columns[position];
    if (stored.dtype === 'i8') this.#scale(stored, rowIndices, out);
  }

  /**
   * Forgets that the batches of a file were checked, once it has been written to; asks once for each file in `fresh`.
   */
  #refresh(file: PositionedFile, fresh: Set<PositionedFile>): void {
    if (fresh.has(file)) return;
    fresh.add(file);
    if (!file.hasChanged()) return;
    this.#whole = undefined;
    this.#batches.forEach((batch, i) => {
      if (batch.file === file) this.#checked[i] = 0;
    });
  }

  /**
   * The batches in order, each checked whole. The file stays open: what is given twice is the same twice.
   * @throws DataError as the sequential reader does
   */
  *inOrder(): Generator<TensorBatch> {
    for (const batch of this.#batches) {
      const { head, index, keys, labels } = this.#indexOf(batch);
      const { indexBytes, bodyBytes } = head.layout;
      const body = batch.file.bytes(batch.place.at + batch.place.headBytes + indexBytes, bodyBytes - indexBytes);
      checkBody(head, index, body);
      const tensors: Record<string, TensorData> = {};
      this.schema.columns.forEach((column, position) => {
        tensors[column.name] = tensorView(head.layout, column, position, body);
      });
      yield { start: batch.start, rows: batch.place.rows, keys, labels, tensors };
    }
  }

  /**
   * The tensors of a row as they are stored; copies.
   * @throws RangeError on a row that is not there; DataError if its batch fails its checksum
   */
  readStored(row: number): Record<string, TensorData> {
    const batch = this.#findBatch(row);
    const place = row - this.#batches[batch].start;
    this.#refresh(this.#batches[batch].file, new Set());
    const tensors = this.schema.columns.map(({ name }, position) => {
      return [name, this.#readRun(batch, position, place, 1).slice()] as const;
    });
    return Object.fromEntries(tensors);
  }

  /** Multiplies the integers of an i8 column by their scales. */
  #scale(column: TensorColumn, rowIndices: ArrayLike<number>, out: Float32Array): void {
    const { name, shape } = scaleColumn(column);
    const scales = new Float32Array(rowIndices.length * sizeOf(shape)); // [rows, ...]
    this.read(name, rowIndices, scales);
    const dim = column.shape.at(-1)!;
    for (let vector = 0; vector < scales.length; vector++) {
      for (let i = vector * dim; i < (vector + 1) * dim; i++) out[i] *= scales[vector];
    }
  }

  /** The batch that holds a row. */
  #findBatch(row: number): number {
    if (!Number.isInteger(row) || row < 0 || row >= this.rows) {
      throw new RangeError(`${this.name}: row ${row} of ${this.rows}`);
    }
    let low = 0;
    let high = this.#batches.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#batches[middle].start <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Raw values of `count` rows of one batch from `row` (counted within it) on; valid until the next call. */
  #readRun(batch: number, position: number, row: number, count: number): TensorData {
    const { columns } = this.schema;
    const { file, place } = this.#batches[batch];
    const layout = batchLayout(columns, place.rows, place.keyBytes);
    const bytesPerRow = rowBytes(columns[position]);
    const inBody = tensorOffset(layout, position) + row * bytesPerRow;
    const Storage = STORAGE[columns[position].dtype];
    const length = (count * bytesPerRow) / Storage.BYTES_PER_ELEMENT;
    if (!this.#checked[batch]) this.#readWhole(batch);
    if (this.#whole?.batch === batch) {
      const { tensors } = this.#whole;
      return new Storage(tensors.buffer, tensors.byteOffset + inBody - layout.indexBytes, length);
    }
    if (this.#scratch.byteLength < count * bytesPerRow) this.#scratch = new ArrayBuffer(count * bytesPerRow);
    file.readInto(new Uint8Array(this.#scratch, 0, count * bytesPerRow), place.at + place.headBytes + inBody);
    return new Storage(this.#scratch, 0, length);
  }

  #readWhole(batch: number): void {
    const { file, place } = this.#batches[batch];
    const { head, index } = this.#indexOf(this.#batches[batch]);
    const { indexBytes, bodyBytes } = head.layout;
    const tensors = file.bytes(place.at + place.headBytes + indexBytes, bodyBytes - indexBytes);
    checkBody(head, index, tensors);
    this.#checked[batch] = 1;
    this.#whole = { batch, tensors };
  }

  close(): void {
    for (const file of this.#files) file.close();
  }
}

function checkFields(files: readonly PositionedFile[], schemas: readonly StreamSchema[]): void {
  schemas.forEach((schema, i) => {
    if (sameColumns(schema.columns, schemas[0].columns)) return;
    throw new DataError(`${files[i].name}: other fields than ${files[0].name}`);
  });
}

/** Reads every header, key and label of the files. */
function indexFiles(files: readonly PositionedFile[]): { places: BatchPlace[][]; index: RowIndex } {
  const indexed = files.map(indexFile);
  return { places: indexed.map(({ batches }) => batches), index: joinIndexes(indexed) };
}

function checkKeys(file: TensorFile): void {
  const { duplicate } = new KeyTable(file.keyHashes());
  if (!duplicate) return;
  const { first, second } = duplicate;
  throw new DataError(`${file.name}: ${sameKey(first, second, file.keyOf(first))}`, UNIQUE_KEYS);
}

/**
 * Opens a stream file, or a shard folder, for reading rows in any order.
 *
 * @throws MissingInputError if there is nothing; DataError if it is truncated, its headers, keys or labels are corrupt,
 *   two rows have the same key, the parts have different fields, or it is a pipe.
 */
export async function openTensorFile(input: string): Promise<TensorFile> {
  const isFolder = fs.statSync(input, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const paths = isFolder ? listParts(input).map((part) => path.join(input, part)) : [input];
  const files: PositionedFile[] = [];
  try {
    for (const file of paths) files.push(new PositionedFile(file));
    const schemas = files.map(readSchema);
    checkFields(files, schemas);
    const { places, index } = indexFiles(files);
    const opened = new TensorFile(input, schemas[0], files, places, index);
    checkKeys(opened);
    return opened;
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

/** Opens a file that was opened before; each batch is compared with what is known of it when it is first read. */
export const reopenTensorFile = ({ name, schema, paths, places }: OpenedFile): TensorFile =>
  new TensorFile(
    name,
    schema,
    paths.map((path) => new PositionedFile(path)),
    places,
  );
