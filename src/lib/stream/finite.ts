/** Whether stored values are finite, by their bits: as fast as memory, where making floats of them is not. */
import type { TensorData } from './schema.js';

/** The exponent of a value that is infinite or no number: all ones. */
const HALF_EXPONENT = 0x7c00;
const EXPONENT_ONE = { half: 0x0400, single: 0x00800000 };
const BLOCK = 4096;

/**
 * Of two halves in one word: adding one to an exponent of ones carries into the bit above it, once the sign is gone.
 * So does a single's, into its sign.
 */
const HALVES = { mask: 0x7fff7fff, add: (EXPONENT_ONE.half << 16) | EXPONENT_ONE.half, carry: 0x80008000 | 0 };
const SINGLES = { mask: 0x7fffffff, add: EXPONENT_ONE.single, carry: 0x80000000 | 0 };

/** Position of the first infinite value or NaN; -1 if there is none. Integers are finite. */
export function firstNotFinite(values: TensorData): number {
  if (values instanceof Float32Array) {
    const words = new Int32Array(values.buffer, values.byteOffset, values.length);
    const found = firstWord(words, SINGLES);
    return found < words.length ? found : -1;
  }
  if (!(values instanceof Uint16Array)) return -1;
  const isNotFinite = (half: number): boolean => (half & HALF_EXPONENT) === HALF_EXPONENT;
  if (values.byteOffset % 4 !== 0) return values.findIndex(isNotFinite);
  const words = new Int32Array(values.buffer, values.byteOffset, values.length >> 1);
  const start = 2 * firstWord(words, HALVES);
  const found = values.subarray(start).findIndex(isNotFinite);
  return found < 0 ? -1 : start + found;
}

/** The first word that carries, or their number: blocks are looked at whole, and only one that has such a word again. */
function firstWord(words: Int32Array, { mask, add, carry }: typeof HALVES): number {
  for (let start = 0; start < words.length; start += BLOCK) {
    const end = Math.min(start + BLOCK, words.length);
    let all = 0;
    for (let i = start; i < end; i++) all |= (words[i] & mask) + add;
    if ((all & carry) === 0) continue;
    for (let i = start; i < end; i++) if ((((words[i] & mask) + add) & carry) !== 0) return i;
  }
  return words.length;
}
