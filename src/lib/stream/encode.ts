/** Encodes the messages of a stream: Arrow's own encoder makes the FlatBuffers, the framing and checksums are ours. */
import { MessageHeader, MetadataVersion } from 'apache-arrow/enum';
import { BufferRegion, FieldNode, Message, RecordBatch } from 'apache-arrow/ipc/metadata/message';
import { Field, Schema } from 'apache-arrow/schema';
import { FixedSizeList, Float16, Float32, Int8, Int32, Uint8, Utf8 } from 'apache-arrow/type';
import { crc32, showCrc } from '../files/crc32.js';
import { sizeOf } from '../numbers/typed-array.js';
import { EXTENSION_METADATA, EXTENSION_NAME, FIXED_SHAPE_TENSOR, metadataBytes } from './arrow-schema.js';
import { firstLink, nextLink } from './chain.js';
import { Table } from './flatbuffer.js';
import { type BatchLayout, padded } from './layout.js';
import {
  AFTER,
  BODY_CRC,
  CONTINUATION,
  HEAD_CRC,
  LAST,
  MAX_METADATA_BYTES,
  MESSAGE,
  PREFIX_BYTES,
  ROW,
} from './message.js';
import { FORMAT_KEY, FORMAT_VERSION, type StreamSchema, type TensorColumn } from './schema.js';

export const END_OF_STREAM = Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0);

const BLANK_CRC = '00000000';
const ELEMENT_TYPE = { f16: Float16, f32: Float32, u8: Uint8, i8: Int8 } as const;

function tensorField(column: TensorColumn): Field {
  const { name, dtype, shape, dimNames } = column;
  const item = new Field('item', new ELEMENT_TYPE[dtype](), false);
  const extension = JSON.stringify(dimNames ? { shape, dim_names: dimNames } : { shape });
  const metadata = new Map([
    [EXTENSION_NAME, FIXED_SHAPE_TENSOR],
    [EXTENSION_METADATA, extension],
  ]);
  return new Field(name, new FixedSizeList(sizeOf(shape), item), false, metadata);
}

/** The Arrow schema to write. */
function arrowSchema(schema: StreamSchema): Schema {
  const fields = [
    new Field('key', new Utf8(), false),
    new Field('label', new Int32(), false),
    ...schema.columns.map(tensorField),
  ];
  const { [FORMAT_KEY]: _, ...metadata } = schema.metadata; // a copied stream is of this version, whatever it was
  return new Schema(fields, new Map(Object.entries({ [FORMAT_KEY]: FORMAT_VERSION, ...metadata })));
}

/** A message's bytes before its body, and the link that the message after it carries. */
export interface Encoded {
  readonly head: Uint8Array;
  readonly link: string;
}

/**
 * Prefix and metadata of a message, the head checksum filled in; `index` is what of the body it covers.
 * @param link from the head with its checksum's digits blanked, and the checksum.
 */
function frame(
  message: Message,
  index: readonly Uint8Array[],
  link: (blanked: Uint8Array, headCrc: string) => string,
): Encoded {
  const metadata = Message.encode(message);
  if (metadata.byteLength > MAX_METADATA_BYTES) {
    throw new RangeError(`stream metadata of ${metadata.byteLength} bytes exceeds ${MAX_METADATA_BYTES}`);
  }
  const head = new Uint8Array(PREFIX_BYTES + padded(metadata.byteLength));
  const view = new DataView(head.buffer);
  view.setUint32(0, CONTINUATION, true);
  view.setInt32(4, head.byteLength - PREFIX_BYTES, true);
  head.set(metadata, PREFIX_BYTES);
  const digits = metadataBytes(Table.root(head.subarray(PREFIX_BYTES)), MESSAGE.metadata, HEAD_CRC)!;
  const crc = showCrc(index.reduce((previous, bytes) => crc32(bytes, previous), crc32(head)));
  const encoded = { head, link: link(head, crc) };
  digits.set(Buffer.from(crc));
  return encoded;
}

/** The schema message: the start of a stream. */
export function encodeSchemaMessage(schema: StreamSchema): Encoded {
  const custom = new Map([[HEAD_CRC, BLANK_CRC]]);
  const message = new Message(0, MetadataVersion.V5, MessageHeader.Schema, arrowSchema(schema), custom);
  return frame(message, [], (blanked) => firstLink(blanked));
}

/**
 * Prefix and metadata of a batch.
 *
 * @param body the whole body in pieces, padding included; the first `indexPieces` of them hold keys and labels.
 */
export function encodeBatchHead(
  layout: BatchLayout,
  body: readonly Uint8Array[],
  indexPieces: number,
  { row, last, after }: { row: number; last: boolean; after: string },
): Encoded {
  const bodyCrc = showCrc(body.reduce((previous, bytes) => crc32(bytes, previous), 0));
  const custom = new Map([
    [AFTER, after],
    [BODY_CRC, bodyCrc],
    [HEAD_CRC, BLANK_CRC],
    [ROW, String(row)],
  ]);
  if (last) custom.set(LAST, 'true');
  const nodes = layout.nodes.map(([length, nulls]) => new FieldNode(length, nulls));
  const buffers = layout.buffers.map(([offset, length]) => new BufferRegion(offset, length));
  const header = new RecordBatch(layout.rows, nodes, buffers, null);
  const message = new Message(layout.bodyBytes, MetadataVersion.V5, MessageHeader.RecordBatch, header, custom);
  return frame(message, body.slice(0, indexPieces), (_, headCrc) => nextLink(after, headCrc, bodyCrc));
}
