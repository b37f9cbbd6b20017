/** Reads tensor streams in sequence, strictly: whatever is truncated, corrupt or foreign is a DataError. */
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { DataError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { FdSource } from './fd-source.js';
import { hashKeys, KeyTable, sameKey, UNIQUE_KEYS } from './key-table.js';
import { tensorView } from './layout.js';
import {
  type BatchHead,
  checkBody,
  checkIndex,
  dataError,
  PREFIX_BYTES,
  parseMessage,
  parsePrefix,
  rowRange,
} from './message.js';
import { StreamOrder } from './order.js';
import type { TensorBatch } from './rows.js';
import { type StreamSchema, sameColumns, type TensorData } from './schema.js';
import { listParts } from './shards.js';

const open = promisify(fs.open);

export interface TensorReader extends AsyncIterable<TensorBatch> {
  /** Of the whole input; when streams are concatenated, the metadata is the first one's and the others' is ignored. */
  readonly schema: StreamSchema;
  /** What to call the input in messages. */
  readonly name: string;
  /** The batches, once: an input is read a single time. Ends only after everything was read and found whole. */
  [Symbol.asyncIterator](): AsyncIterator<TensorBatch>;
  /** Closes the input; needed only if the iteration is not run to its end. */
  close(): Promise<void>;
}

/** The streams of one descriptor, which share a schema. */
class InputReader {
  readonly name: string;
  readonly #fd: number;
  readonly #owned: boolean;
  readonly #source: FdSource;
  readonly #order: StreamOrder;
  readonly #keys: KeyTable;
  #open = true;

  /** @param keys of all inputs that are read as one, this one's rows from the table's end on. */
  constructor(fd: number, name: string, owned: boolean, keys: KeyTable) {
    this.#fd = fd;
    this.name = name;
    this.#owned = owned;
    this.#keys = keys;
    this.#source = new FdSource(fd, name);
    this.#order = new StreamOrder(name);
  }

  /** Reads up to the first batch header's place: the schema is known then. */
  async readSchema(): Promise<StreamSchema> {
    while (!this.#order.schema) await this.#next();
    return this.#order.schema;
  }

  /** Reads one message: a batch, 'other' for a schema or marker, or 'end' when the input has ended as it should. */
  async #next(): Promise<TensorBatch | 'other' | 'end'> {
    const { name } = this;
    const source = this.#source;
    const order = this.#order;
    const site = { name, byte: source.position };
    const prefix = await source.take(PREFIX_BYTES, `the header after ${order.rows} rows`);
    if (!prefix) {
      order.finish(site.byte);
      return 'end';
    }
    const metadataBytes = parsePrefix(site, prefix);
    if (metadataBytes === 0) {
      order.acceptEnd(site);
      return 'other';
    }
    const metadata = await source.exact(metadataBytes, `the header after ${order.rows} rows`);
    const head = parseMessage(site, prefix, metadata, order.schema?.columns ?? null);
    if (head.kind === 'batch') return this.#readBatch(head);
    order.acceptSchema(site, head);
    return 'other';
  }

  async #readBatch(head: BatchHead): Promise<TensorBatch> {
    const { layout } = head;
    const index = await this.#source.exact(layout.indexBytes, `the keys and labels of ${rowRange(head)}`);
    const { keys, labels } = checkIndex(head, index);
    const start = this.#order.rows;
    this.#order.acceptBatch(head);
    this.#checkKeys(head, keys);
    const body = await this.#source.exact(layout.bodyBytes - layout.indexBytes, `the tensors of ${rowRange(head)}`);
    checkBody(head, index, body);
    const tensors: Record<string, TensorData> = {};
    this.#order.schema!.columns.forEach((column, position) => {
      tensors[column.name] = tensorView(layout, column, position, body);
    });
    return { start, rows: layout.rows, keys, labels, tensors };
  }

  #checkKeys({ site }: BatchHead, keys: readonly string[]): void {
    const before = this.#keys.rows;
    this.#keys.add(hashKeys(keys));
    if (!this.#keys.duplicate) return;
    const { first, second } = this.#keys.duplicate;
    throw dataError(site, sameKey(first, second, keys[second - before]), UNIQUE_KEYS);
  }

  /** The batches that hold rows. */
  async *batches(): AsyncGenerator<TensorBatch> {
    try {
      for (;;) {
        const message = await this.#next();
        if (message === 'end') return;
        if (message !== 'other' && message.rows > 0) yield message;
      }
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    if (this.#open && this.#owned) fs.closeSync(this.#fd);
    this.#open = false;
  }
}

/** A named pipe without a writer is waited for, without holding up signals. */
async function openInput(file: string, keys: KeyTable): Promise<InputReader> {
  try {
    return new InputReader(await open(file, 'r'), file, true, keys);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw missingInput(file);
    throw error;
  }
}

/** The parts of a shard folder in order, as one stream: row numbers continue from part to part. */
async function* folderBatches(
  first: InputReader,
  rest: readonly string[],
  schema: StreamSchema,
  keys: KeyTable,
): AsyncGenerator<TensorBatch> {
  let rows = 0;
  const part = async function* (input: InputReader): AsyncGenerator<TensorBatch> {
    const start = rows;
    for await (const batch of input.batches()) {
      rows = start + batch.start + batch.rows;
      yield { ...batch, start: start + batch.start };
    }
  };
  yield* part(first);
  for (const file of rest) {
    const input = await openInput(file, keys);
    try {
      const own = await input.readSchema();
      if (!sameColumns(own.columns, schema.columns)) throw new DataError(`${file}: other fields than ${first.name}`);
      yield* part(input);
    } finally {
      await input.close();
    }
  }
}

const isFolder = (file: string): boolean => fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false;

/**
 * Opens a tensor stream and reads its schema.
 *
 * @param input a file, a shard folder (all parts in order), '-' for standard input, or a descriptor, which stays the
 *   caller's to close.
 * @throws MissingInputError if there is no such file; DataError if it does not begin a tensor stream, or a folder's
 *   parts are not complete.
 */
export async function openTensorStream(input: string | number): Promise<TensorReader> {
  const isPath = typeof input === 'string' && input !== '-';
  const files = isPath && isFolder(input) ? listParts(input).map((part) => path.join(input, part)) : null;
  const keys = new KeyTable();
  const first = isPath ? await openInput(files?.[0] ?? input, keys) : openDescriptor(input, keys);
  try {
    const schema = await first.readSchema();
    const batches = files ? folderBatches(first, files.slice(1), schema, keys) : first.batches();
    let begun = false;
    return {
      schema,
      name: files ? (input as string) : first.name,
      [Symbol.asyncIterator]() {
        if (begun) throw new Error(`${first.name}: a stream is read only once`);
        begun = true;
        return batches;
      },
      async close() {
        await batches.return(undefined);
        await first.close();
      },
    };
  } catch (error) {
    await first.close();
    throw error;
  }
}

function openDescriptor(input: string | number, keys: KeyTable): InputReader {
  const fd = typeof input === 'number' ? input : 0;
  return new InputReader(fd, fd === 0 ? '<stdin>' : `<descriptor ${fd}>`, false, keys);
}
