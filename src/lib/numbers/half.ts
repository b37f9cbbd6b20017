/**
 * IEEE 754 binary16 (f16) held as `Uint16Array`, converted to and from f32. Node 20 has no Float16Array, and storing
 * latents and features in f16 halves their files at a relative error of 2^-11.
 */

const EXPONENT_BIAS_SHIFT = 0x38000000; // (127 - 15) << 23: from the f32 to the f16 exponent bias
const SMALLEST_NORMAL = 0x38800000; // 2^-14 as f32 bits
const OVERFLOW = 0x47800000; // 2^16 as f32 bits
const INFINITY = 0x7f800000; // as f32 bits
const SUBNORMALS_PER_UNIT = 2 ** 24; // f16 subnormals are multiples of 2^-24

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** f16 bits of a non-negative f32 below 2^-14, given by its bits: a multiple of 2^-24, ties to even. */
function subnormalBits(magnitude: number): number {
  scratchBits[0] = magnitude;
  const units = scratch[0] * SUBNORMALS_PER_UNIT;
  const floor = Math.floor(units);
  const rest = units - floor;
  return rest > 0.5 || (rest === 0.5 && (floor & 1) === 1) ? floor + 1 : floor;
}

/**
 * f32 to f16, rounding to nearest with ties to even. Values from 65520 on become infinity; NaN stays NaN (quiet,
 * payload dropped); subnormals and signed zeros are kept.
 *
 * @param out where to write; must be as long as `src`. Allocated if absent.
 */
export function halfFromFloat(src: Float32Array, out: Uint16Array = new Uint16Array(src.length)): Uint16Array {
  const bits = new Uint32Array(src.buffer, src.byteOffset, src.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i] >>> 16) & 0x8000;
    const magnitude = bits[i] & 0x7fffffff;
    let half: number;
    if (magnitude >= OVERFLOW) half = magnitude > INFINITY ? 0x7e00 : 0x7c00;
    else if (magnitude < SMALLEST_NORMAL) half = subnormalBits(magnitude);
    else {
      // Adding just under half a unit, plus the kept lowest bit, rounds ties to even; a carry moves into the exponent.
      const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
      half = (rounded - EXPONENT_BIAS_SHIFT) >>> 13;
    }
    out[i] = sign | half;
  }
  return out;
}

/** All 65,536 values, made at first use: a look-up is several times faster than unpacking the bits. */
let table: Float32Array | undefined;

function buildTable(): Float32Array {
  const values = new Float32Array(65536);
  const bits = new Uint32Array(values.buffer);
  for (let half = 0; half < 65536; half++) {
    const sign = (half & 0x8000) << 16;
    const exponent = (half >>> 10) & 31;
    const mantissa = half & 1023;
    if (exponent === 0) values[half] = (sign ? -1 : 1) * (mantissa / SUBNORMALS_PER_UNIT);
    else if (exponent === 31) bits[half] = sign | INFINITY | (mantissa << 13);
    else bits[half] = sign | (((half & 0x7fff) << 13) + EXPONENT_BIAS_SHIFT);
  }
  return values;
}

/**
 * f16 to f32, exact.
 *
 * @param out where to write; must be as long as `src`. Allocated if absent.
 */
export function floatFromHalf(src: Uint16Array, out: Float32Array = new Float32Array(src.length)): Float32Array {
  table ??= buildTable();
  for (let i = 0; i < src.length; i++) out[i] = table[src[i]];
  return out;
}
