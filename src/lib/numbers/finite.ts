/** Finds values that are NaN or infinite in large arrays. */
import type { TypedArray } from './typed-array.js';

const BLOCK = 4096;
/** The exponent of an f16 that is infinite or no number: all ones. */
const HALF_EXPONENT = 0x7c00;
/**
 * Of two halves in one word, their signs masked: adding one to an exponent of ones carries into the bit above it. So
 * halves are looked at by two, and without a branch.
 */
const WITHOUT_SIGNS = 0x7fff7fff;
const ONE_MORE = 0x04000400;
const CARRIES = 0x80008000 | 0;

/** The index of the first value that is infinite or NaN; -1 if there is none. Uint16 values are the bits of f16. */
export function firstNonFinite(values: TypedArray): number {
  if (values instanceof Uint16Array) return firstNonFiniteHalf(values);
  if (!(values instanceof Float32Array || values instanceof Float64Array)) return -1;
  for (let start = 0; start < values.length; start += BLOCK) {
    const end = Math.min(start + BLOCK, values.length);
    let sum = 0; // of a block, so that each value costs no branch: it stays 0, or becomes NaN
    for (let i = start; i < end; i++) sum += values[i] * 0;
    if (sum === 0) continue;
    for (let i = start; i < end; i++) if (!Number.isFinite(values[i])) return i;
  }
  return -1;
}

const isNonFiniteHalf = (half: number): boolean => (half & HALF_EXPONENT) === HALF_EXPONENT;

function firstNonFiniteHalf(bits: Uint16Array): number {
  const start = bits.byteOffset % 4 === 0 ? 2 * firstWordThatCarries(bits) : 0;
  const found = bits.subarray(start).findIndex(isNonFiniteHalf);
  return found < 0 ? -1 : start + found;
}

/** The first pair of halves of which one is not finite, or the number of pairs. */
function firstWordThatCarries(bits: Uint16Array): number {
  const words = new Int32Array(bits.buffer, bits.byteOffset, bits.length >> 1);
  for (let start = 0; start < words.length; start += BLOCK) {
    const end = Math.min(start + BLOCK, words.length);
    let all = 0;
    for (let i = start; i < end; i++) all |= (words[i] & WITHOUT_SIGNS) + ONE_MORE;
    if ((all & CARRIES) === 0) continue;
    for (let i = start; i < end; i++) if ((((words[i] & WITHOUT_SIGNS) + ONE_MORE) & CARRIES) !== 0) return i;
  }
  return words.length;
}
