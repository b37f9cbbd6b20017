/**
 * NumPy's .npy: magic, version, a Python dict literal, then the raw array.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */

import { DataError } from '../errors.js';
import { bytesOf, showShape, sizeOf, type TypedArray } from '../numbers/typed-array.js';
import { BinaryFile } from './binary-file.js';
import { bytesPerElement, type HostDType, type HostTensor, storageOf, type TensorInfo } from './host-tensor.js';
import { gatherStrided } from './strided.js';

/** NumPy itself writes well under 64 KiB, and a header is parsed whole. */
const LONGEST_HEADER = 1 << 20;

/** The magic, the version and the widest length field: what must be read before the header's length is known. */
export const NPY_PREFIX_BYTES = 12;

const DTYPES: Record<string, HostDType> = {
  f2: 'f16',
  f4: 'f32',
  f8: 'f64',
  u1: 'u8',
  i1: 'i8',
  i2: 'i16',
  i4: 'i32',
  i8: 'i64',
  b1: 'bool',
};
const NAMES = Object.fromEntries(Object.entries(DTYPES).map(([name, dtype]) => [dtype, name]));

export interface NpyHeader extends TensorInfo {
  /** Where the array starts. */
  dataOffset: number;
  /** Column-major storage. */
  fortran: boolean;
}

/**
 * The rows of an array in order, some at a time, from the bytes of its file: arrays larger than memory pass through.
 * The last of them come when the bytes have ended well, so that whoever has all rows has them checked.
 * @param rows how many elements of the first axis make a batch; the last one may be shorter.
 */
export async function* npyBatches(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  header: NpyHeader,
  rows: number,
): AsyncGenerator<TypedArray> {
  const { shape, dtype, dataOffset } = header;
  const rowBytes = sizeOf(shape.slice(1)) * bytesPerElement(dtype);
  let left = (shape[0] ?? 1) * rowBytes;
  let skip = dataOffset;
  let batch = new Uint8Array(Math.min(left, rows * rowBytes));
  let filled = 0;
  let held: TypedArray | undefined;
  for await (const chunk of chunks) {
    let at = Math.min(skip, chunk.length);
    skip -= at;
    while (at < chunk.length) {
      const part = chunk.subarray(at, at + batch.length - filled);
      batch.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < batch.length) continue;
      if (held) yield held;
      held = storageOf(dtype, batch);
      left -= filled;
      filled = 0;
      batch = new Uint8Array(Math.min(left, rows * rowBytes));
    }
  }
  if (held) yield held;
}

/**
 * Reads a whole array from a file or from its bytes; a column-major one is transposed to row-major.
 * @param where names the bytes in messages.
 * @throws DataError on anything but a plain little-endian numeric array of exactly the declared size.
 */
export function readNpy(source: string | Uint8Array<ArrayBuffer>, where = 'npy'): HostTensor {
  if (typeof source !== 'string') return parseNpy(source, where);
  const file = new BinaryFile(source);
  try {
    return parseNpy(file.read(0, file.size), source);
  } finally {
    file.close();
  }
}

function parseNpy(bytes: Uint8Array<ArrayBuffer>, where: string): HostTensor {
  const header = parseNpyHeader(bytes, bytes.length, where);
  const { shape, dtype, dataOffset, fortran } = header;
  const data = storageOf(dtype, bytes.subarray(dataOffset));
  return { shape, dtype, data: fortran ? fromFortran(data, shape) : data };
}

/**
 * @param start the file's first bytes, with at least the whole header.
 * @param fileBytes size of the whole .npy, which must be exactly what the header declares.
 */
export function parseNpyHeader(start: Uint8Array, fileBytes: number, where: string): NpyHeader {
  const fail = (what: string): never => {
    throw new DataError(`${where}: not a valid .npy: ${what}`);
  };
  const dataOffset = npyHeaderBytes(start, where);
  if (dataOffset > start.length) fail(`truncated in the header, at byte ${start.length}`);
  const lengthBytes = start[6] === 1 ? 2 : 4;
  const text = new TextDecoder('latin1').decode(start.subarray(8 + lengthBytes, dataOffset));
  const descr = /'descr':\s*'([^']*)'/.exec(text)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(text)?.[1];
  const dims = /'shape':\s*\(([\d\s,]*)\)/.exec(text)?.[1];
  if (descr === undefined || !order || dims === undefined) return fail(`cannot understand the header ${text.trim()}`);
  const dtype = parseDescr(descr, fail);
  const shape = dims
    .split(',')
    .filter((dim) => dim.trim() !== '')
    .map(Number);
  const expected = dataOffset + sizeOf(shape) * bytesPerElement(dtype);
  if (fileBytes !== expected) {
    fail(`${showShape(shape)} of ${descr} takes ${expected} bytes with its header, but there are ${fileBytes}`);
  }
  return { shape, dtype, dataOffset, fortran: order === 'True' && shape.length > 1 };
}

/** Bytes before the array, from the first `NPY_PREFIX_BYTES`. */
export function npyHeaderBytes(start: Uint8Array, where: string): number {
  const fail = (what: string): never => {
    throw new DataError(`${where}: not a valid .npy: ${what}`);
  };
  if (start.length < NPY_PREFIX_BYTES || !isNpy(start)) fail('no NumPy magic at its start');
  const version = start[6];
  if (version < 1 || version > 3) fail(`version ${version} is not known`);
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > LONGEST_HEADER) fail(`header of ${length} bytes is over the limit of ${LONGEST_HEADER}`);
  return (version === 1 ? 10 : 12) + length;
}

/** Whether these first bytes are those of a .npy. */
export const isNpy = (start: Uint8Array): boolean =>
  start[0] === 0x93 && new TextDecoder('latin1').decode(start.subarray(1, 6)) === 'NUMPY';

/** Whether a file begins as an .npy does. */
export function isNpyFile(path: string): boolean {
  const file = new BinaryFile(path);
  try {
    return isNpy(file.read(0, Math.min(file.size, NPY_PREFIX_BYTES)));
  } finally {
    file.close();
  }
}

function parseDescr(descr: string, fail: (what: string) => never): HostDType {
  const [, byteOrder = '', type = ''] = /^([<>|=]?)(\w+)$/.exec(descr) ?? [];
  if (byteOrder === '>' && !type.endsWith('1')) fail(`big-endian elements (${descr}) are not supported`);
  return (Object.hasOwn(DTYPES, type) && DTYPES[type]) || fail(`elements of type '${descr}' are not supported`);
}

function fromFortran(data: TypedArray, shape: readonly number[]): TypedArray {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(0, axis)));
  return gatherStrided(data, shape, strides);
}

/** The bytes before a row-major array; padded so that the array is aligned to 64 bytes, as NumPy does. */
export function encodeNpyHeader({ shape, dtype }: TensorInfo): Uint8Array<ArrayBuffer> {
  const type = NAMES[dtype];
  if (!type) throw new DataError(`.npy has no element type for ${dtype}: convert to f32 first`);
  const descr = `${bytesPerElement(dtype) === 1 ? '|' : '<'}${type}`;
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const header = new Uint8Array(10 + length).fill(0x20);
  header.set([0x93, ...new TextEncoder().encode('NUMPY'), 1, 0, length & 0xff, length >> 8]);
  header.set(new TextEncoder().encode(text), 10);
  header[header.length - 1] = 0x0a;
  return header;
}

/** The bytes of a .npy file. */
export function encodeNpy(tensor: HostTensor): Uint8Array<ArrayBuffer> {
  const header = encodeNpyHeader(tensor);
  const bytes = new Uint8Array(header.length + tensor.data.byteLength);
  bytes.set(header);
  bytes.set(bytesOf(tensor.data), header.length);
  return bytes;
}
