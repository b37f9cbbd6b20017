/**
 * A bounds-checked reader of FlatBuffers tables, the encoding of Arrow's message headers. Offsets and lengths come from
 * the input, so each is checked before it is followed: anything outside the buffer is a FormatProblem, or a RangeError
 * of DataView's, and no length makes a loop or an allocation larger than the buffer. Many offsets may lead to one
 * place, so that a small buffer means a large tree: what is read of it in all is a few times its size, and no more.
 */
import { FormatProblem } from './format-problem.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A honest header is read some five times: for its kind, its checksum, its format, its metadata, its columns. */
const MOST_READINGS = 16;
/** Bytes on top, so that small headers have some to spare. */
const SPARE = 4096;

/** Bytes of vectors and strings that may still be read. */
interface Budget {
  left: number;
}

/**
 * One table. A `slot` is a field's place in its declaration, counted from 0 (a union takes two: its type, its value).
 */
export class Table {
  readonly #view: DataView;
  readonly #at: number;
  readonly #budget: Budget;

  private constructor(view: DataView, at: number, budget: Budget) {
    this.#view = view;
    this.#at = at;
    this.#budget = budget;
  }

  /** The root table of a buffer. */
  static root(bytes: Uint8Array): Table {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new Table(view, view.getUint32(0, true), { left: MOST_READINGS * view.byteLength + SPARE });
  }

  /** Where a field's value lies, or 0 if the field is absent. */
  #find(slot: number): number {
    const vtable = this.#at - this.#view.getInt32(this.#at, true);
    const entry = 4 + 2 * slot;
    if (entry >= this.#view.getUint16(vtable, true)) return 0;
    const offset = this.#view.getUint16(vtable + entry, true);
    return offset === 0 ? 0 : this.#at + offset;
  }

  #follow(at: number): number {
    return at + this.#view.getUint32(at, true);
  }

  has(slot: number): boolean {
    return this.#find(slot) !== 0;
  }

  uint8(slot: number): number {
    const at = this.#find(slot);
    return at === 0 ? 0 : this.#view.getUint8(at);
  }

  int16(slot: number): number {
    const at = this.#find(slot);
    return at === 0 ? 0 : this.#view.getInt16(at, true);
  }

  int32(slot: number): number {
    const at = this.#find(slot);
    return at === 0 ? 0 : this.#view.getInt32(at, true);
  }

  /** A 64-bit length or offset: must be a non-negative integer that a double holds. */
  size(slot: number): number {
    const at = this.#find(slot);
    return at === 0 ? 0 : this.#sizeAt(at);
  }

  #sizeAt(at: number): number {
    const value = this.#view.getBigInt64(at, true);
    if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw new FormatProblem(`implausible length ${value}`);
    return Number(value);
  }

  table(slot: number): Table | undefined {
    const at = this.#find(slot);
    return at === 0 ? undefined : new Table(this.#view, this.#follow(at), this.#budget);
  }

  /** The bytes of a string, as a view of the buffer. */
  bytes(slot: number): Uint8Array {
    const { start, length } = this.#vector(slot, 1, this.#view.byteLength);
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + start, length);
  }

  string(slot: number): string {
    return utf8.decode(this.bytes(slot));
  }

  tables(slot: number, limit: number): Table[] {
    const { start, length } = this.#vector(slot, 4, limit);
    return Array.from({ length }, (_, i) => new Table(this.#view, this.#follow(start + 4 * i), this.#budget));
  }

  /** A vector of structs of two 64-bit sizes, as Arrow's field nodes and buffers are. */
  sizePairs(slot: number, limit: number): [number, number][] {
    const { start, length } = this.#vector(slot, 16, limit);
    return Array.from({ length }, (_, i) => [this.#sizeAt(start + 16 * i), this.#sizeAt(start + 16 * i + 8)]);
  }

  #vector(slot: number, elementBytes: number, limit: number): { start: number; length: number } {
    const at = this.#find(slot);
    if (at === 0) return { start: 0, length: 0 };
    const start = this.#follow(at) + 4;
    const length = this.#view.getUint32(start - 4, true);
    if (length > limit || start + length * elementBytes > this.#view.byteLength) {
      throw new FormatProblem(`a vector of ${length} elements does not fit`);
    }
    this.#budget.left -= length * elementBytes;
    if (this.#budget.left < 0) throw new FormatProblem('corrupt: its tables share their bytes');
    return { start, length };
  }
}
