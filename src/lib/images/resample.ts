/**
 * Separable resampling of numbers on the host, each variant as the library of its name computes it: their results
 * differ enough to move a Frechet distance.
 *
 * - `bicubic`, `bilinear`: PyTorch's `interpolate(align_corners=False)`: half-pixel centres, borders repeated, cubic
 *   coefficient a = -0.75.
 * - `bicubic-antialias`: PyTorch's `antialias=True`, and Pillow on floats: the kernel widens when shrinking, what lies
 *   beyond the border is left out, a = -0.5.
 * - `bilinear-tf1`: TensorFlow 1's `resize_bilinear(align_corners=False)`, without half-pixel centres.
 */
export type Resampling = 'bicubic' | 'bicubic-antialias' | 'bilinear' | 'bilinear-tf1';

export interface PlaneSize {
  height: number;
  width: number;
}

/** Weight of a source pixel at this distance from the sampling point. */
export type Kernel = (distance: number) => number;

/** For each output along one axis, `width` weights for the inputs from `first` on; those past the axis are zero. */
export interface Taps {
  inputs: number;
  outputs: number;
  width: number;
  first: Int32Array; // [outputs]
  weights: Float64Array; // [outputs, width]
}

/** Keys' cubic convolution; `a` is its slope at distance 1. */
export const cubic =
  (a: number): Kernel =>
  (distance) => {
    const x = Math.abs(distance);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
  };

const triangle: Kernel = (distance) => Math.max(0, 1 - Math.abs(distance));

/**
 * Where output `i` falls among the inputs. The libraries hold the step in single precision, which moves results by 2e-5
 * at 256 pixels; TensorFlow 1 rounds the product too.
 */
const halfPixel = (i: number, step: number): number => Math.fround(step) * (i + 0.5) - 0.5;
const corner = (i: number, step: number): number => Math.fround(Math.fround(step) * i);

function axisTaps(method: Resampling, inputs: number, outputs: number, step = inputs / outputs): Taps {
  switch (method) {
    case 'bicubic':
      return interpolationTaps(inputs, outputs, cubic(-0.75), 2, (i) => halfPixel(i, step));
    case 'bilinear':
      return interpolationTaps(inputs, outputs, triangle, 1, (i) => halfPixel(i, step));
    case 'bilinear-tf1':
      return interpolationTaps(inputs, outputs, triangle, 1, (i) => corner(i, step));
    case 'bicubic-antialias':
      return footprintTaps(inputs, outputs, cubic(-0.5), 2);
  }
}

/** The 2 x `radius` nearest inputs; one beyond the border gives its weight to the border. */
function interpolationTaps(
  inputs: number,
  outputs: number,
  kernel: Kernel,
  radius: number,
  position: (i: number) => number,
): Taps {
  const width = Math.min(2 * radius, inputs);
  const taps = emptyTaps(inputs, outputs, width);
  for (let i = 0; i < outputs; i++) {
    const at = position(i);
    const nearest = Math.floor(at) - radius + 1;
    const first = clamp(nearest, 0, inputs - width);
    taps.first[i] = first;
    for (let j = nearest; j < nearest + 2 * radius; j++) {
      taps.weights[i * width + clamp(j, 0, inputs - 1) - first] += kernel(at - j);
    }
  }
  return taps;
}

/** A run of the outputs along one axis. */
export interface AxisWindow {
  first: number;
  count: number;
}

/**
 * All inputs under an output's footprint, the kernel widened by the reduction; weights sum to 1. The order of the
 * operations is Pillow's (`precompute_coeffs`), so that its 8-bit results can be met bit for bit.
 * @param window the outputs that are wanted
 */
export function footprintTaps(
  inputs: number,
  outputs: number,
  kernel: Kernel,
  radius: number,
  window: AxisWindow = { first: 0, count: outputs },
): Taps {
  const step = inputs / outputs;
  const stretch = Math.max(step, 1);
  const support = radius * stretch;
  const taps = emptyTaps(inputs, window.count, Math.min(Math.ceil(support) * 2 + 1, inputs));
  const perInput = 1 / stretch;
  for (let i = 0; i < window.count; i++) {
    const center = (window.first + i + 0.5) * step;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const count = Math.min(Math.trunc(center + support + 0.5), inputs) - first;
    taps.first[i] = Math.min(first, inputs - taps.width);
    const weights = taps.weights.subarray(i * taps.width + first - taps.first[i]);
    let total = 0;
    for (let k = 0; k < count; k++) total += weights[k] = kernel((k + first - center + 0.5) * perInput);
    for (let k = 0; k < count; k++) weights[k] /= total;
  }
  return taps;
}

function emptyTaps(inputs: number, outputs: number, width: number): Taps {
  return { inputs, outputs, width, first: new Int32Array(outputs), weights: new Float64Array(outputs * width) };
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);

/** Resamples planes of numbers `[C, H, W]` to `[C, to.height, to.width]`; values are neither clamped nor rounded. */
export function resamplePlanes(
  data: ArrayLike<number>,
  from: PlaneSize,
  to: PlaneSize,
  method: Resampling,
): Float32Array<ArrayBuffer> {
  const channels = data.length / (from.height * from.width);
  const columns = axisTaps(method, from.width, to.width);
  const wide = resampleLast(data, channels * from.height, columns); // [C, H, to.width]
  return resampleMiddle(wide, channels, to.width, axisTaps(method, from.height, to.height));
}

/**
 * Resamples a grid of vectors `[H, W, D]` to `[to.height, to.width, D]`.
 * @param step source rows and columns per target cell, where a library computes with a scale factor of its own instead
 *   of the ratio of the sizes. `bicubic-antialias` always takes the ratio.
 */
export function resampleGrid(
  data: ArrayLike<number>,
  from: PlaneSize,
  to: PlaneSize,
  method: Resampling,
  step?: PlaneSize,
): Float32Array<ArrayBuffer> {
  const dim = data.length / (from.height * from.width);
  const columns = axisTaps(method, from.width, to.width, step?.width);
  const wide = resampleMiddle(data, from.height, dim, columns); // [H, to.width, D]
  return resampleMiddle(wide, 1, to.width * dim, axisTaps(method, from.height, to.height, step?.height));
}

/** `[rows, inputs]` to `[rows, outputs]`. */
function resampleLast(data: ArrayLike<number>, rows: number, taps: Taps): Float32Array<ArrayBuffer> {
  const { inputs, outputs, width, first, weights } = taps;
  const out = new Float32Array(rows * outputs);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < outputs; i++) {
      const start = row * inputs + first[i];
      let sum = 0;
      for (let k = 0; k < width; k++) sum += weights[i * width + k] * data[start + k];
      out[row * outputs + i] = sum;
    }
  }
  return out;
}

/** `[outer, inputs, inner]` to `[outer, outputs, inner]`. */
function resampleMiddle(data: ArrayLike<number>, outer: number, inner: number, taps: Taps): Float32Array<ArrayBuffer> {
  const { inputs, outputs, width, first, weights } = taps;
  const out = new Float32Array(outer * outputs * inner);
  const sums = new Float64Array(inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < outputs; i++) {
      sums.fill(0);
      for (let k = 0; k < width; k++) {
        const weight = weights[i * width + k];
        const start = (o * inputs + first[i] + k) * inner;
        for (let c = 0; c < inner; c++) sums[c] += weight * data[start + c];
      }
      out.set(sums, (o * outputs + i) * inner);
    }
  }
  return out;
}
