/**
 * Vectors with 8 bits for each component: the nearest multiples of the vector's own scale, of which its largest
 * component is 127. Directions are kept closely, lengths to the half precision of the scale.
 */
import { floatFromHalf, halfFromFloat } from '../numbers/half.js';

const LARGEST = 127;

export interface CompactVectors {
  values: Int8Array; // [vectors, dim]
  /** The bits of f16 numbers. */
  scales: Uint16Array; // [vectors]
}

/** `floats` [vectors, dim]; a scale is infinite where a vector is too long for f16, or not finite. */
export function compactVectors(floats: Float32Array, dim: number): CompactVectors {
  const values = new Int8Array(floats.length);
  const scales = new Uint16Array(floats.length / dim);
  const [exact, half, kept] = [new Float32Array(1), new Uint16Array(1), new Float32Array(1)];
  for (let vector = 0; vector < scales.length; vector++) {
    const [start, end] = [vector * dim, (vector + 1) * dim];
    let largest = 0;
    for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(floats[i])); // NaN if one is
    exact[0] = Number.isFinite(largest) ? largest / LARGEST : Number.POSITIVE_INFINITY;
    halfFromFloat(exact, half);
    // Rounded up, so that no component is more than 127 of it.
    if (floatFromHalf(half, kept)[0] < exact[0]) {
      half[0]++;
      floatFromHalf(half, kept);
    }
    scales[vector] = half[0];
    if (largest === 0) continue;
    for (let i = start; i < end; i++) values[i] = Math.round(floats[i] / kept[0]);
  }
  return { values, scales };
}

/** The vectors again, in f32. */
export function expandVectors(
  { values, scales }: CompactVectors,
  out: Float32Array = new Float32Array(values.length),
): Float32Array {
  const factors = floatFromHalf(scales);
  const dim = values.length / scales.length;
  for (let vector = 0; vector < scales.length; vector++) {
    for (let i = vector * dim; i < (vector + 1) * dim; i++) out[i] = values[i] * factors[vector];
  }
  return out;
}
