/**
 * Rows by their keys, of which only hashes are kept: sets of millions of images are joined in a few bytes a row. Hashes
 * have 106 bits, so that two keys of ten million have the same one with a chance below 1e-18.
 */
import { DataError } from '../errors.js';

/** Rows above which a set is refused: a table of them takes 2 GB. */
export const MOST_ROWS = 2 ** 26;

/** Doubles of one hash, each a whole number below 2^53. */
const WORDS = 2;

/** The hashes of keys, in their order: [keys, 2]. */
export function hashKeys(keys: readonly string[]): Float64Array<ArrayBuffer> {
  const hashes = new Float64Array(keys.length * WORDS);
  keys.forEach((key, row) => {
    hashes[row * WORDS] = hash53(key, 0x9e3779b9, 0x7f4a7c15);
    hashes[row * WORDS + 1] = hash53(key, 0x85ebca6b, 0xc2b2ae35);
  });
  return hashes;
}

/** A number of [0, 1) that depends on a key and a seed alone, evenly spread over keys. */
export const keyShare = (key: string, seed: number): number =>
  hash53(key, mix(0x9e3779b9 ^ seed), mix(0x7f4a7c15 + seed)) / 2 ** 53;

/** Two multiplicative hashes of 32 bits, each mixed with the other at the end; all but the upper 11 bits. */
function hash53(key: string, first: number, second: number): number {
  let [a, b] = [first, second];
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x9e3779b1);
    b = Math.imul(b ^ unit, 0x85ebca77);
    // The lower bits of a product do not depend on the upper ones.
    a ^= a >>> 15;
    b ^= b >>> 13;
  }
  a = mix(a ^ mix(b));
  b = mix(b ^ mix(a));
  return (b & 0x1fffff) * 2 ** 32 + (a >>> 0);
}

/** A change of any bit changes about half of them (the finaliser of MurmurHash3). */
function mix(x: number): number {
  let y = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  y = Math.imul(y ^ (y >>> 13), 0xc2b2ae35);
  return y ^ (y >>> 16);
}

/** The message about a key that comes twice. */
export const sameKey = (first: number, second: number, key: string): string =>
  `rows ${first} and ${second} have the same key '${key}'`;

export const UNIQUE_KEYS = 'Keys must be unique.';

/** Finds rows by the hashes of their keys. */
export class KeyTable {
  /** Hashes of the rows so far, with room for more. */
  #hashes: Float64Array;
  /** Open addressing: one more than a row, or 0. */
  #slots: Uint32Array;
  #rows = 0;
  /** The first row whose key was there before, and the row where it was. */
  duplicate: { readonly first: number; readonly second: number } | undefined;

  /** @param hashes of the rows' keys, in their order: [rows, 2]; they are kept, not copied */
  constructor(hashes: Float64Array = new Float64Array(0)) {
    checkRows(hashes.length / WORDS);
    this.#hashes = hashes;
    this.#slots = emptySlots(hashes.length / WORDS);
    this.#insert(hashes.length / WORDS);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Adds rows behind those that are there: [rows, 2]. */
  add(hashes: Float64Array): void {
    checkRows(this.#rows + hashes.length / WORDS);
    const used = this.#rows * WORDS;
    if (used + hashes.length > this.#hashes.length) {
      const larger = new Float64Array(Math.max(2 * used, used + hashes.length));
      larger.set(this.#hashes.subarray(0, used));
      this.#hashes = larger;
    }
    this.#hashes.set(hashes, used);
    const rows = this.#rows + hashes.length / WORDS;
    if (2 * rows + 1 > this.#slots.length) {
      this.#slots = emptySlots(2 * rows);
      this.#rows = 0;
    }
    this.#insert(rows);
  }

  #insert(rows: number): void {
    for (; this.#rows < rows; this.#rows++) {
      const slot = this.#slotOf(this.#hashes, this.#rows);
      if (this.#slots[slot] === 0) this.#slots[slot] = this.#rows + 1;
      else this.duplicate ??= { first: this.#slots[slot] - 1, second: this.#rows };
    }
  }

  /** The row here of the key whose hash is number `row` of `hashes`; undefined if there is none. */
  find(hashes: Float64Array, row: number): number | undefined {
    const found = this.#slots[this.#slotOf(hashes, row)];
    return found === 0 ? undefined : found - 1;
  }

  /** The slot of a hash: where it is, or where it would be. */
  #slotOf(hashes: Float64Array, row: number): number {
    const [one, two] = [hashes[row * WORDS], hashes[row * WORDS + 1]];
    const mask = this.#slots.length - 1;
    for (let slot = one % this.#slots.length; ; slot = (slot + 1) & mask) {
      const at = (this.#slots[slot] - 1) * WORDS;
      if (at < 0 || (this.#hashes[at] === one && this.#hashes[at + 1] === two)) return slot;
    }
  }
}

function checkRows(rows: number): void {
  if (rows > MOST_ROWS) throw new DataError(`more than ${MOST_ROWS} rows in one set`, 'Cut it into several.');
}

/** Room for as many rows, half of it free. */
const emptySlots = (rows: number): Uint32Array => new Uint32Array(2 ** Math.ceil(Math.log2(2 * rows + 1)));
