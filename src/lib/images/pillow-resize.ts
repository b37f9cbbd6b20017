/**
 * Pillow's `Image.resize` on 8-bit RGB, bit for bit: weights rounded to 22 binary places, columns before rows, and
 * a rounding to 8 bits after each. The reference is Pillow's Resample.c (`ImagingResampleHorizontal_8bpc` and kin).
 */
import { cubic, footprintTaps, type Kernel, type Taps } from './resample.js';
import type { RgbImage } from './rgb-image.js';

const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);

export type PillowFilter = 'box' | 'bicubic';

/** Half-open, so that a pixel on the border of two boxes belongs to one. */
const box: Kernel = (distance) => (distance > -0.5 && distance <= 0.5 ? 1 : 0);

const FILTERS: Record<PillowFilter, { kernel: Kernel; radius: number }> = {
  box: { kernel: box, radius: 0.5 },
  bicubic: { kernel: cubic(-0.5), radius: 2 },
};

/** A part of a resized image. */
export interface Window {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Resizes to `width` x `height`; an axis that keeps its size is left untouched, as in Pillow. */
export function resizePillow(image: RgbImage, width: number, height: number, filter: PillowFilter): RgbImage {
  return resizeWindow(image, { width, height }, { left: 0, top: 0, width, height }, filter);
}

/** A window of what `resizePillow` gives: what lies outside is not computed. */
export function resizeWindow(
  image: RgbImage,
  to: { width: number; height: number },
  { left, top, width, height }: Window,
  filter: PillowFilter,
): RgbImage {
  const { kernel, radius } = FILTERS[filter];
  const rows =
    to.height === image.height
      ? undefined
      : footprintTaps(image.height, to.height, kernel, radius, { first: top, count: height });
  // The rows that the window is made of.
  const [first, end] = rows ? [rows.first[0], rows.first[height - 1] + rows.width] : [top, top + height];
  let data = image.data.subarray(first * image.width * 3, end * image.width * 3);
  if (to.width !== image.width) {
    const columns = footprintTaps(image.width, to.width, kernel, radius, { first: left, count: width });
    data = resizeColumns(data, end - first, columns);
  } else if (width !== image.width) data = cutColumns(data, image.width, left, width);
  if (rows) data = resizeRows(data, width, { ...rows, first: rows.first.map((row) => row - first) });
  return { width, height, data };
}

function cutColumns(data: Uint8Array, columns: number, left: number, width: number): Uint8Array {
  const rows = data.length / (columns * 3);
  const out = new Uint8Array(rows * width * 3);
  for (let row = 0; row < rows; row++) {
    const start = (row * columns + left) * 3;
    out.set(data.subarray(start, start + width * 3), row * width * 3);
  }
  return out;
}

/** `[rows, inputs, 3]` to `[rows, outputs, 3]`. */
function resizeColumns(data: Uint8Array, rows: number, taps: Taps): Uint8Array {
  const { inputs, outputs, width, first } = taps;
  const weights = fixedPoint(taps);
  const out = new Uint8Array(rows * outputs * 3);
  for (let row = 0, o = 0; row < rows; row++) {
    for (let i = 0; i < outputs; i++, o += 3) {
      let at = (row * inputs + first[i]) * 3;
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      for (let k = i * width; k < (i + 1) * width; k++, at += 3) {
        const weight = weights[k];
        red += weight * data[at];
        green += weight * data[at + 1];
        blue += weight * data[at + 2];
      }
      out[o] = toByte(red);
      out[o + 1] = toByte(green);
      out[o + 2] = toByte(blue);
    }
  }
  return out;
}

/** `[inputs, columns, 3]` to `[outputs, columns, 3]`. */
function resizeRows(data: Uint8Array, columns: number, taps: Taps): Uint8Array {
  const { outputs, width, first } = taps;
  const weights = fixedPoint(taps);
  const stride = columns * 3;
  const out = new Uint8Array(outputs * stride);
  const sums = new Int32Array(stride);
  for (let i = 0; i < outputs; i++) {
    sums.fill(HALF);
    for (let k = 0; k < width; k++) {
      const weight = weights[i * width + k];
      if (weight === 0) continue;
      const start = (first[i] + k) * stride;
      for (let c = 0; c < stride; c++) sums[c] += weight * data[start + c];
    }
    for (let c = 0; c < stride; c++) out[i * stride + c] = toByte(sums[c]);
  }
  return out;
}

/** Rounded half away from zero. */
function fixedPoint({ weights }: Taps): Int32Array {
  return Int32Array.from(weights, (weight) => Math.trunc(weight * 2 ** PRECISION_BITS + (weight < 0 ? -0.5 : 0.5)));
}

function toByte(sum: number): number {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
