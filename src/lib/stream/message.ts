/**
 * Arrow's encapsulated messages, with a checksum over everything in them.
 *
 *     FF FF FF FF | metadata length, int32 | metadata (a FlatBuffer), padded to 8 | body
 *
 * The custom metadata of a message holds:
 * - `repa.crc32.head`: CRC-32 of the 8-byte prefix, the metadata and the head of the body that holds keys and labels,
 *   with its own eight digits taken as '0'. So a file can be indexed without reading its tensors, and yet no header,
 *   key or label is believed unchecked;
 * - `repa.crc32` (batches): CRC-32 of the whole body;
 * - `repa.row` (batches): index of the first row in its stream: dropped, doubled or swapped batches show;
 * - `repa.after` (batches, from version 2 of the format on): the link of all messages before (chain.ts);
 * - `repa.last` (the last batch, which may be empty): so that a missing tail shows even before an end-of-stream marker.
 */

import { DataError } from '../errors.js';
import { crc32, showCrc } from '../files/crc32.js';
import { decodeMetadata, decodeSchema, foreignProblem, metadataBytes } from './arrow-schema.js';
import { firstLink } from './chain.js';
import { Table } from './flatbuffer.js';
import { FOREIGN_HINT, FormatProblem } from './format-problem.js';
import { type BatchLayout, batchLayout, decodeIndex, MAX_BODY_BYTES } from './layout.js';
import { FORMAT_KEY, type StreamSchema, type TensorColumn } from './schema.js';

export const PREFIX_BYTES = 8;

export const CONTINUATION = 0xffffffff;
/** A schema's provenance may hold a long command line; beyond this a length is taken for garbage. */
export const MAX_METADATA_BYTES = 2 ** 20;
const MAX_NODES = 1024;

export const HEAD_CRC = 'repa.crc32.head';
export const BODY_CRC = 'repa.crc32';
export const ROW = 'repa.row';
export const LAST = 'repa.last';
export const AFTER = 'repa.after';
const DIGIT_ZERO = 0x30;

/** Slots of the tables, and values of the enumeration, in Arrow's Message.fbs. */
export const MESSAGE = { headerType: 1, header: 2, bodyLength: 3, metadata: 4 };
const HEADER_TYPE = { schema: 1, dictionaryBatch: 2, recordBatch: 3 };
const RECORD_BATCH = { length: 0, nodes: 1, buffers: 2, compression: 3 };

/** A place in an input, for messages. */
export interface Site {
  readonly name: string;
  readonly byte: number;
}

export const dataError = (site: Site, problem: string, hint?: string): DataError =>
  new DataError(`${site.name}: ${problem} (at byte ${site.byte})`, hint);

export const truncated = (site: Site, problem: string): DataError =>
  dataError(site, `truncated: ${problem}`, 'Its producer was stopped, or a copy of it: make it again.');

export interface SchemaHead {
  readonly kind: 'schema';
  readonly headBytes: number;
  readonly schema: StreamSchema;
  /** What the first batch must carry as `after`; undefined in version 1 of the format. */
  readonly link: string | undefined;
}

export interface BatchHead {
  readonly kind: 'batch';
  readonly site: Site;
  /** Bytes of the prefix and metadata, before the body. */
  readonly headBytes: number;
  /** First row, counted from the start of its own stream. */
  readonly row: number;
  readonly last: boolean;
  /** The link of all messages before it. */
  readonly after: string | undefined;
  readonly layout: BatchLayout;
  readonly bodyCrc: string;
  readonly headCrc: string;
  /** CRC-32 of prefix and metadata, to be continued over the keys and labels. */
  readonly partialCrc: number;
}

export type MessageHead = SchemaHead | BatchHead;

/**
 * The length of a message's metadata, or 0 for an end-of-stream marker.
 *
 * @throws DataError if these 8 bytes start no message.
 */
export function parsePrefix(site: Site, prefix: Uint8Array): number {
  const view = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES);
  if (view.getUint32(0, true) !== CONTINUATION) throw notAMessage(site, prefix);
  const length = view.getInt32(4, true);
  if (length < 0 || length > MAX_METADATA_BYTES || length % 8 !== 0) {
    throw dataError(site, `corrupt: implausible metadata length ${length}`);
  }
  return length;
}

function notAMessage(site: Site, prefix: Uint8Array): DataError {
  if (site.byte > 0) return dataError(site, 'corrupt: no message starts here');
  if (Buffer.from(prefix).toString('latin1', 0, 6) === 'ARROW1') {
    return dataError(site, 'an Arrow IPC file (Feather), not a tensor stream', FOREIGN_HINT);
  }
  return dataError(site, 'not a tensor stream', 'Tensor streams are what the encode and extract commands write.');
}

const samePairs = (a: readonly [number, number][], b: readonly [number, number][]): boolean =>
  a.length === b.length && a.every(([first, second], i) => first === b[i][0] && second === b[i][1]);

/**
 * A header that names another layout than its row count implies is either corrupt or uses what the format leaves out.
 */
function decodeLayout(header: Table, bodyLength: number, columns: readonly TensorColumn[]): BatchLayout {
  if (header.has(RECORD_BATCH.compression)) throw new FormatProblem('compressed batches are not supported');
  if (bodyLength > MAX_BODY_BYTES) throw new FormatProblem(`a batch of ${bodyLength} bytes is too large`);
  const nodes = header.sizePairs(RECORD_BATCH.nodes, MAX_NODES);
  const buffers = header.sizePairs(RECORD_BATCH.buffers, 3 * MAX_NODES);
  if (nodes.some(([, nulls]) => nulls !== 0)) throw new FormatProblem('the batch holds nulls');
  const layout = batchLayout(columns, header.size(RECORD_BATCH.length), buffers[2]?.[1] ?? 0);
  if (bodyLength !== layout.bodyBytes || !samePairs(nodes, layout.nodes) || !samePairs(buffers, layout.buffers)) {
    throw new FormatProblem('the batch is not laid out as its row count and the schema imply');
  }
  return layout;
}

function decodeRow(text: string | undefined): number {
  const row = Number(text);
  if (text === undefined || !/^\d+$/.test(text) || !Number.isSafeInteger(row)) {
    throw new FormatProblem('the batch does not say its first row');
  }
  return row;
}

/** Takes the stored head checksum out of a message: its digits count as '0' in what they check. */
function blankHeadCrc(table: Table): string | undefined {
  const digits = metadataBytes(table, MESSAGE.metadata, HEAD_CRC);
  const stored = digits && Buffer.from(digits).toString('latin1');
  digits?.fill(DIGIT_ZERO);
  return stored;
}

function decodeMessage(
  site: Site,
  prefix: Uint8Array,
  metadata: Uint8Array,
  columns: readonly TensorColumn[] | null,
): MessageHead {
  const table = Table.root(metadata);
  const headCrc = blankHeadCrc(table);
  const partialCrc = crc32(metadata, crc32(prefix));
  const headBytes = PREFIX_BYTES + metadata.byteLength;
  const header = table.table(MESSAGE.header);
  if (header === undefined) throw new FormatProblem('a message without a header');
  switch (table.uint8(MESSAGE.headerType)) {
    case HEADER_TYPE.schema: {
      const foreign = foreignProblem(header);
      if (foreign !== undefined) throw new FormatProblem(foreign, FOREIGN_HINT);
      if (headCrc === undefined) {
        throw new FormatProblem(`the schema has no checksum '${HEAD_CRC}'`, FOREIGN_HINT);
      }
      if (headCrc !== showCrc(partialCrc)) throw new FormatProblem('corrupt: schema checksum mismatch');
      const schema = decodeSchema(header);
      const link = schema.metadata[FORMAT_KEY] === '1' ? undefined : firstLink(prefix, metadata);
      return { kind: 'schema', headBytes, schema, link };
    }
    case HEADER_TYPE.recordBatch: {
      if (columns === null) throw new FormatProblem('a batch before the schema');
      const custom = decodeMetadata(table, MESSAGE.metadata);
      const bodyCrc = custom.get(BODY_CRC);
      if (headCrc === undefined || bodyCrc === undefined) {
        throw new FormatProblem('the batch has no checksum', FOREIGN_HINT);
      }
      return {
        kind: 'batch',
        site,
        headBytes,
        row: decodeRow(custom.get(ROW)),
        last: custom.has(LAST),
        after: custom.get(AFTER),
        layout: decodeLayout(header, table.size(MESSAGE.bodyLength), columns),
        bodyCrc,
        headCrc,
        partialCrc,
      };
    }
    case HEADER_TYPE.dictionaryBatch:
      throw new FormatProblem('dictionaries are not supported');
    default:
      throw new FormatProblem('an unknown kind of message');
  }
}

/**
 * What a message's metadata says. The digits of the head checksum are blanked in `metadata`.
 *
 * @param columns the stream's tensor columns; null before its schema message.
 * @throws DataError if it is malformed, not this format's, or (a schema) fails its checksum.
 */
export function parseMessage(
  site: Site,
  prefix: Uint8Array,
  metadata: Uint8Array,
  columns: readonly TensorColumn[] | null,
): MessageHead {
  try {
    return decodeMessage(site, prefix, metadata, columns);
  } catch (error) {
    // Errors that DataView, TextDecoder or JSON throw for the bytes of a header tell a user nothing.
    if (error instanceof FormatProblem) throw dataError(site, error.message, error.hint);
    throw dataError(site, 'corrupt: malformed header');
  }
}

/** The rows of a batch, counted within its own stream. */
export const rowRange = ({ row, layout }: BatchHead): string =>
  layout.rows === 0 ? 'a batch of no rows' : `rows ${row}-${row + layout.rows - 1}`;

/**
 * The keys and labels of a batch, checked together with its header.
 *
 * @param index the first `layout.indexBytes` of the body, at an address that is a multiple of 4.
 * @throws DataError on a checksum mismatch.
 */
export function checkIndex(batch: BatchHead, index: Uint8Array<ArrayBuffer>): { keys: string[]; labels: Int32Array } {
  if (showCrc(crc32(index, batch.partialCrc)) !== batch.headCrc) {
    throw dataError(batch.site, `corrupt: checksum mismatch in the header, keys or labels of ${rowRange(batch)}`);
  }
  try {
    return decodeIndex(batch.layout, index);
  } catch (error) {
    if (!(error instanceof FormatProblem)) throw error;
    throw dataError(batch.site, `corrupt: ${error.message}, in ${rowRange(batch)}`);
  }
}

/** @throws DataError if the body, in its two parts, does not have the checksum that its header states. */
export function checkBody(batch: BatchHead, index: Uint8Array, tensors: Uint8Array): void {
  if (showCrc(crc32(tensors, crc32(index))) !== batch.bodyCrc) {
    throw dataError(batch.site, `corrupt: checksum mismatch in the tensors of ${rowRange(batch)}`);
  }
}
