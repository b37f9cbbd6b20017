/**
 * safetensors: 8 bytes of header length, a JSON header, then the raw tensors back to back.
 * Checks follow the format's own rules: https://github.com/huggingface/safetensors#format
 */

import { DataError } from '../errors.js';
import { writeFileAtomic, writeFully } from '../files/atomic-file.js';
import { bytesOf, showShape, sizeOf, type TypedArray } from '../numbers/typed-array.js';
import { BinaryFile } from './binary-file.js';
import { bytesPerElement, type HostDType, type HostTensor, storageOf, type TensorInfo } from './host-tensor.js';
import { parseUniqueJson } from './unique-json.js';

/** The format's own cap, so that a hostile length cannot claim the memory. */
const LONGEST_HEADER = 100_000_000;

const DTYPES: Record<string, HostDType> = {
  F16: 'f16',
  F32: 'f32',
  F64: 'f64',
  BF16: 'bf16',
  U8: 'u8',
  I8: 'i8',
  I16: 'i16',
  I32: 'i32',
  I64: 'i64',
  BOOL: 'bool',
};
const NAMES = Object.fromEntries(Object.entries(DTYPES).map(([name, dtype]) => [dtype, name]));

interface Entry extends TensorInfo {
  /** Byte range within the file. */
  start: number;
  end: number;
}

/** An open file; `read` fetches one tensor, whatever the size of the others. */
export class SafetensorsFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly names: readonly string[];
  readonly #file: BinaryFile;
  readonly #entries: Map<string, Entry>;

  constructor(file: BinaryFile) {
    const { metadata, entries } = readHeader(file);
    this.#file = file;
    this.#entries = entries;
    this.metadata = metadata;
    this.names = [...entries.keys()];
  }

  get path(): string {
    return this.#file.path;
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** @throws DataError when the file has no such tensor. */
  info(name: string): TensorInfo {
    const { shape, dtype } = this.#entry(name);
    return { shape: [...shape], dtype };
  }

  /** @throws DataError when the file has no such tensor. */
  read(name: string): HostTensor {
    const { shape, dtype, start, end } = this.#entry(name);
    return { shape: [...shape], dtype, data: storageOf(dtype, this.#file.read(start, end - start)) };
  }

  close(): void {
    this.#file.close();
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (!entry) throw new DataError(`${this.#file.path}: has no tensor '${name}'`);
    return entry;
  }
}

/** @throws MissingInputError when there is no such file; DataError when its header breaks any rule of the format. */
export function openSafetensors(path: string): SafetensorsFile {
  const file = new BinaryFile(path);
  try {
    return new SafetensorsFile(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

function readHeader(file: BinaryFile): { metadata: Record<string, string>; entries: Map<string, Entry> } {
  const fail = (what: string): never => {
    throw new DataError(`${file.path}: not a valid safetensors file: ${what}`);
  };
  if (file.size < 8) fail(`only ${file.size} bytes long`);
  const declared = new DataView(file.read(0, 8).buffer).getBigUint64(0, true);
  if (declared > LONGEST_HEADER) fail(`header of ${declared} bytes is over the limit of ${LONGEST_HEADER}`);
  const length = Number(declared);
  if (8 + length > file.size) fail(`header of ${length} bytes runs past the end of the file at byte ${file.size}`);
  const { __metadata__: metadata = {}, ...tensors } = parseHeader(file.read(8, length), fail);
  if (!isStringMap(metadata)) return fail('__metadata__ is not a map of strings');

  const dataStart = 8 + length;
  const entries = new Map<string, Entry>();
  for (const [name, value] of Object.entries(tensors)) {
    entries.set(
      name,
      parseEntry(value, dataStart, (what) => fail(`tensor '${name}': ${what}`)),
    );
  }
  checkCoverage(entries, dataStart, file.size, fail);
  return { metadata, entries };
}

function parseHeader(bytes: Uint8Array, fail: (what: string) => never): Record<string, unknown> {
  if (bytes[0] !== 0x7b) fail('the header does not start with {');
  try {
    return parseUniqueJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Record<string, unknown>;
  } catch (error) {
    return fail(`header: ${(error as Error).message}`);
  }
}

const isStringMap = (value: unknown): value is Record<string, string> =>
  typeof value === 'object' && value !== null && Object.values(value).every((item) => typeof item === 'string');

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function parseEntry(value: unknown, dataStart: number, fail: (what: string) => never): Entry {
  const { dtype: name, shape, data_offsets: range } = (value ?? {}) as Record<string, unknown>;
  const dtype = typeof name === 'string' && Object.hasOwn(DTYPES, name) ? DTYPES[name] : undefined;
  if (!dtype) return fail(`element type ${JSON.stringify(name)} is not supported`);
  if (!Array.isArray(shape) || !shape.every(isCount)) return fail(`shape ${JSON.stringify(shape)} is not valid`);
  if (!Array.isArray(range) || range.length !== 2 || !range.every(isCount)) {
    return fail(`data_offsets ${JSON.stringify(range)} are not valid`);
  }
  const [begin, end] = range as [number, number];
  const bytes = sizeOf(shape) * bytesPerElement(dtype);
  if (end - begin !== bytes) {
    fail(`data_offsets ${begin} to ${end} do not fit ${name} ${showShape(shape)}, which takes ${bytes} bytes`);
  }
  return { shape, dtype, start: dataStart + begin, end: dataStart + end };
}

/** The tensors must fill the file exactly: no holes to hide data in, no overlaps, nothing missing at the end. */
function checkCoverage(
  entries: Map<string, Entry>,
  dataStart: number,
  fileSize: number,
  fail: (what: string) => never,
): void {
  let position = dataStart;
  for (const [name, { start, end }] of [...entries].sort(([, a], [, b]) => a.start - b.start || a.end - b.end)) {
    if (start !== position) {
      fail(
        `tensor '${name}' starts at byte ${start}, ${start > position ? 'leaving a hole after' : 'overlapping'} byte ${position}`,
      );
    }
    position = end;
  }
  if (position > fileSize) fail(`truncated: the tensors end at byte ${position}, the file at byte ${fileSize}`);
  if (position < fileSize) fail(`${fileSize - position} bytes after the last tensor belong to none`);
}

/** A tensor whose data is fetched only when its turn to be written comes. */
export interface LazyTensor extends TensorInfo {
  load(): TypedArray;
}

/**
 * Writes tensors one by one; the file appears under its name only when it is complete and on disk.
 * Wide elements go first, so that every tensor is aligned for a reader that maps the file.
 * @param tensors a name must not come twice; a `LazyTensor` is loaded when it is written and not kept.
 * @throws DataError when a tensor's data does not match its shape, or a name comes twice.
 */
export function writeSafetensors(
  path: string,
  tensors: Iterable<readonly [string, HostTensor | LazyTensor]>,
  metadata?: Readonly<Record<string, string>>,
): void {
  const ordered = [...tensors].sort(([, a], [, b]) => bytesPerElement(b.dtype) - bytesPerElement(a.dtype));
  const header = encodeHeader(path, ordered, metadata);
  writeFileAtomic(path, (fd) => {
    writeFully(fd, header);
    for (const [name, tensor] of ordered) {
      const data = 'load' in tensor ? tensor.load() : tensor.data;
      if (data.byteLength !== byteLength(tensor)) {
        throw new DataError(`${path}: tensor '${name}' has ${data.length} elements, not ${showShape(tensor.shape)}`);
      }
      writeFully(fd, bytesOf(data));
    }
  });
}

const byteLength = ({ shape, dtype }: TensorInfo): number => sizeOf(shape) * bytesPerElement(dtype);

function encodeHeader(
  path: string,
  tensors: readonly (readonly [string, TensorInfo])[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const header = new Map<string, unknown>();
  if (metadata) header.set('__metadata__', metadata);
  let position = 0;
  for (const [name, tensor] of tensors) {
    if (header.has(name) || name === '__metadata__') throw new DataError(`${path}: two tensors named '${name}'`);
    const end = position + byteLength(tensor);
    header.set(name, { dtype: NAMES[tensor.dtype], shape: tensor.shape, data_offsets: [position, end] });
    position = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + length).fill(0x20);
  new DataView(out.buffer).setBigUint64(0, BigInt(length), true);
  out.set(json, 8);
  return out;
}
