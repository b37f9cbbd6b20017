/** Looking for values that are no numbers in large arrays. */
import type { TypedArray } from './typed-array.js';

const BLOCK = 4096;
const HALF_EXPONENT = 0x7c00;

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

function firstNonFiniteHalf(bits: Uint16Array): number {
  for (let i = 0; i < bits.length; i++) if ((bits[i] & HALF_EXPONENT) === HALF_EXPONENT) return i;
  return -1;
}
