/** Where the batches of a stream file lie, found by hopping from header to header without reading tensors. */
import { concatenated } from '../numbers/typed-array.js';
import { hashKeys } from './key-table.js';
import {
  type BatchHead,
  checkBody,
  checkIndex,
  dataError,
  type MessageHead,
  PREFIX_BYTES,
  parseMessage,
  parsePrefix,
} from './message.js';
import { StreamOrder } from './order.js';
import { type PositionedFile, Window } from './positioned-file.js';
import type { StreamSchema, TensorColumn } from './schema.js';

/** One batch of a file: all that is needed to find its rows. */
export interface BatchPlace {
  /** Byte at which its message begins. */
  readonly at: number;
  /** Bytes of the message before its body. */
  readonly headBytes: number;
  /** First row, counted from the start of its own stream. */
  readonly row: number;
  readonly rows: number;
  /** UTF-8 bytes of its keys. */
  readonly keyBytes: number;
  /** Checksums of its header with keys and labels, and of its body. */
  readonly headCrc: string;
  readonly bodyCrc: string;
}

/** Facts of each row that need no tensors. */
export interface RowIndex {
  /** Hashes of the keys: [rows, 2]. */
  readonly hashes: Float64Array<ArrayBuffer>;
  readonly labels: Int32Array;
}

/** A message's prefix and metadata; null for an end-of-stream marker. */
function readHead(
  window: Window,
  name: string,
  at: number,
  columns: readonly TensorColumn[] | null,
): MessageHead | null {
  const site = { name, byte: at };
  const prefix = window.take(at, PREFIX_BYTES);
  const metadataBytes = parsePrefix(site, prefix);
  if (metadataBytes === 0) return null;
  return parseMessage(site, prefix, window.take(at + PREFIX_BYTES, metadataBytes), columns);
}

const placeOf = ({ site, headBytes, row, layout, headCrc, bodyCrc }: BatchHead): BatchPlace => ({
  at: site.byte,
  headBytes,
  row,
  rows: layout.rows,
  keyBytes: layout.keyBytes,
  headCrc,
  bodyCrc,
});

export interface IndexedFile extends RowIndex {
  readonly schema: StreamSchema;
  readonly batches: BatchPlace[];
}

/**
 * The batches, hashed keys and labels of a file of one or several streams; headers, keys and labels are checked,
 * tensors not.
 *
 * @throws DataError as the sequential reader does.
 */
export function indexFile(file: PositionedFile): IndexedFile {
  const window = new Window(file);
  const order = new StreamOrder(file.name);
  const batches: BatchPlace[] = [];
  const parts: RowIndex[] = [];
  let at = 0;
  while (at < file.size) {
    const head = readHead(window, file.name, at, order.schema?.columns ?? null);
    const site = { name: file.name, byte: at };
    if (head === null) {
      order.acceptEnd(site);
      at += PREFIX_BYTES;
    } else if (head.kind === 'schema') {
      order.acceptSchema(site, head);
      at += head.headBytes;
    } else {
      const { layout, headBytes } = head;
      const index = window.take(at + headBytes, layout.indexBytes);
      const indexed = checkIndex(head, index);
      order.acceptBatch(head);
      if (layout.rows > 0) batches.push(placeOf(head));
      else checkBody(head, index, file.bytes(at + headBytes + layout.indexBytes, layout.bodyBytes - layout.indexBytes));
      parts.push(indexRows(indexed));
      at += headBytes + layout.bodyBytes;
    }
  }
  order.finish(at);
  return { schema: order.schema!, batches, ...joinIndexes(parts) };
}

/**
 * What is kept of the rows of a batch; the labels are copied, since they are a view of memory that holds the keys too.
 */
export const indexRows = ({ keys, labels }: { keys: readonly string[]; labels: Int32Array }): RowIndex => ({
  hashes: hashKeys(keys),
  labels: labels.slice(),
});

/** The index of rows that follow each other in several places. */
export const joinIndexes = (parts: readonly RowIndex[]): RowIndex => ({
  hashes: concatenated(
    parts.map(({ hashes }) => hashes),
    Float64Array,
  ),
  labels: concatenated(
    parts.map(({ labels }) => labels),
    Int32Array,
  ),
});

/** The schema at the start of a file. */
export function readSchema(file: PositionedFile): StreamSchema {
  const order = new StreamOrder(file.name);
  if (file.size === 0) order.finish(0);
  const head = readHead(new Window(file), file.name, 0, null);
  if (head?.kind !== 'schema') throw dataError({ name: file.name, byte: 0 }, 'corrupt: no schema');
  return head.schema;
}

/**
 * Reads the header, keys and labels of a batch again at the place it is known to have.
 *
 * @throws DataError if something else lies there.
 */
export function readBatchAt(
  file: PositionedFile,
  place: BatchPlace,
  columns: readonly TensorColumn[],
): { head: BatchHead; index: Uint8Array<ArrayBuffer>; keys: string[]; labels: Int32Array } {
  const window = new Window(file);
  const head = readHead(window, file.name, place.at, columns);
  if (head?.kind !== 'batch' || JSON.stringify(placeOf(head)) !== JSON.stringify(place)) {
    throw dataError({ name: file.name, byte: place.at }, 'the batch here has changed since the file was opened');
  }
  const index = window.take(place.at + head.headBytes, head.layout.indexBytes);
  return { head, index, ...checkIndex(head, index) };
}
