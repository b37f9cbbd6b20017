/**
 * Where everything lies in a batch's body. The format allows one layout only: the buffers in Arrow's order, each padded
 * to 8 bytes, no validity bitmaps. So a header is either exactly what its row count implies or refused, and no offset
 * from the input is ever used to make a view.
 */
import { sizeOf } from '../numbers/typed-array.js';
import { FormatProblem } from './format-problem.js';
import { rowBytes, STORAGE, type TensorColumn, type TensorData } from './schema.js';

const ALIGNMENT = 8;

/** Body bytes above which a batch is refused: writers aim at 4 MiB, one row of any known tensor is far below this. */
export const MAX_BODY_BYTES = 2 ** 31 - ALIGNMENT;

export const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

export interface BatchLayout {
  readonly rows: number;
  /** UTF-8 bytes of all keys. */
  readonly keyBytes: number;
  /** `[rows, nulls]` of each column and list item, in Arrow's order. */
  readonly nodes: [number, number][];
  /** `[offset, length]` in bytes of each buffer of the body, in Arrow's order, empty validity bitmaps included. */
  readonly buffers: [number, number][];
  /** The head of the body, padding included, that holds the keys and labels: offset of the first tensor. */
  readonly indexBytes: number;
  readonly bodyBytes: number;
}

const LABELS_BUFFER = 4;
const FIRST_TENSOR_BUFFER = 7;
const BUFFERS_PER_TENSOR = 3;

/** The layout of a batch of `rows` rows whose keys take `keyBytes` bytes in all. */
export function batchLayout(columns: readonly TensorColumn[], rows: number, keyBytes: number): BatchLayout {
  const nodes: [number, number][] = [];
  const buffers: [number, number][] = [];
  let end = 0;
  const addBuffer = (length: number): void => {
    buffers.push([end, length]);
    end += padded(length);
  };
  const addColumn = (items: number, ...lengths: number[]): void => {
    nodes.push([items, 0]);
    addBuffer(0); // validity bitmap: absent, since nothing is null
    lengths.forEach(addBuffer);
  };
  addColumn(rows, 4 * (rows + 1), keyBytes);
  addColumn(rows, 4 * rows);
  const indexBytes = end;
  for (const column of columns) {
    addColumn(rows);
    addColumn(rows * sizeOf(column.shape), rows * rowBytes(column));
  }
  return { rows, keyBytes, nodes, buffers, indexBytes, bodyBytes: end };
}

/** Byte offset in the body of row 0 of the tensor column at this position. */
export const tensorOffset = (layout: BatchLayout, position: number): number =>
  layout.buffers[FIRST_TENSOR_BUFFER + BUFFERS_PER_TENSOR * position][0];

/** The raw values of the tensor column at this position; `tensors` is the body from `indexBytes` on. */
export function tensorView(
  layout: BatchLayout,
  column: TensorColumn,
  position: number,
  tensors: Uint8Array<ArrayBuffer>,
): TensorData {
  const start = tensors.byteOffset + tensorOffset(layout, position) - layout.indexBytes;
  return new STORAGE[column.dtype](tensors.buffer, start, layout.rows * sizeOf(column.shape));
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeKey(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new FormatProblem('a key is not UTF-8');
  }
}

/**
 * The keys and labels in the head of a body.
 *
 * @throws FormatProblem if the key offsets do not ascend from 0 to the end, or a key is not UTF-8.
 */
export function decodeIndex(
  layout: BatchLayout,
  index: Uint8Array<ArrayBuffer>,
): { keys: string[]; labels: Int32Array } {
  const { rows, keyBytes, buffers } = layout;
  const offsets = new Int32Array(index.buffer, index.byteOffset + buffers[1][0], rows + 1);
  const labels = new Int32Array(index.buffer, index.byteOffset + buffers[LABELS_BUFFER][0], rows);
  const data = index.subarray(buffers[2][0], buffers[2][0] + keyBytes);
  if (offsets[0] !== 0 || offsets[rows] !== keyBytes) throw new FormatProblem('key offsets do not span the keys');
  const keys = Array.from({ length: rows }, (_, row) => {
    if (offsets[row + 1] < offsets[row]) throw new FormatProblem('key offsets descend');
    return decodeKey(data.subarray(offsets[row], offsets[row + 1]));
  });
  return { keys, labels };
}
