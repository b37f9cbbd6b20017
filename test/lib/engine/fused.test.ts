import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import {
  activate,
  attention,
  avgPool2d,
  conv2d,
  GELU_ERF,
  GELU_QUICK,
  GELU_TANH,
  groupNorm,
  layerNorm,
  linear,
  maxPool2d,
  SILU,
  selectBackend,
  tf,
  upsampleNearest2x,
} from '../../../src/lib/engine/index.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';

interface Case {
  name: string;
  shapes: number[][];
  fused: (...x: tf.Tensor[]) => tf.Tensor;
  /** The definition, in float64 on the host. */
  reference: (...x: Float64Array[]) => Float64Array;
}

const map = (f: (x: number) => number) => (x: Float64Array) => x.map(f);
const gaussian = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);

/** Normal distribution function by its convergent series (Abramowitz and Stegun 26.2.11). */
function normalProbability(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= (x * x) / (2 * n + 1);
    sum += term;
  }
  return 0.5 + sum * gaussian(x);
}

/** Rows of `width` to mean 0 and variance 1. */
function standardise(x: Float64Array, width: number, epsilon: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += width) {
    const row = x.subarray(start, start + width);
    const mean = row.reduce((sum, value) => sum + value, 0) / width;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
    row.forEach((value, index) => {
      y[start + index] = (value - mean) / Math.sqrt(variance + epsilon);
    });
  }
  return y;
}

function linearReference(x: Float64Array, weight: Float64Array, bias: Float64Array): Float64Array {
  const outWidth = bias.length;
  const inWidth = weight.length / outWidth;
  return Float64Array.from({ length: (x.length / inWidth) * outWidth }, (_, index) => {
    const [row, column] = [Math.floor(index / outWidth), index % outWidth];
    let sum = bias[column];
    for (let i = 0; i < inWidth; i++) sum += x[row * inWidth + i] * weight[column * inWidth + i];
    return sum;
  });
}

/** Attention of N queries and M keys with H heads of width d, in B images. */
function attentionReference([B, N, M, H, d]: number[], scale: number) {
  return (q: Float64Array, k: Float64Array, v: Float64Array) => {
    const y = new Float64Array(q.length);
    for (let b = 0; b < B; b++)
      for (let n = 0; n < N; n++)
        for (let head = 0; head < H; head++) {
          const query = ((b * N + n) * H + head) * d;
          const key = (m: number) => ((b * M + m) * H + head) * d;
          const weights = Array.from({ length: M }, (_, m) => {
            let dot = 0;
            for (let i = 0; i < d; i++) dot += q[query + i] * k[key(m) + i];
            return Math.exp(scale * dot);
          });
          const total = weights.reduce((sum, value) => sum + value, 0);
          for (let i = 0; i < d; i++) {
            for (let m = 0; m < M; m++) y[query + i] += (weights[m] / total) * v[key(m) + i];
          }
        }
    return y;
  };
}

function convReference(
  [B, I, H, W]: number[],
  [O, , kh, kw]: number[],
  stride: number,
  [top, left, bottom, right]: number[],
) {
  return (x: Float64Array, weight: Float64Array, bias: Float64Array) => {
    const h = Math.floor((H + top + bottom - kh) / stride) + 1;
    const w = Math.floor((W + left + right - kw) / stride) + 1;
    const y = new Float64Array(B * O * h * w);
    for (let b = 0; b < B; b++)
      for (let o = 0; o < O; o++)
        for (let row = 0; row < h; row++)
          for (let column = 0; column < w; column++) {
            let sum = bias[o];
            for (let i = 0; i < I; i++)
              for (let dy = 0; dy < kh; dy++)
                for (let dx = 0; dx < kw; dx++) {
                  const [r, c] = [row * stride + dy - top, column * stride + dx - left];
                  if (r < 0 || r >= H || c < 0 || c >= W) continue;
                  sum += x[((b * I + i) * H + r) * W + c] * weight[((o * I + i) * kh + dy) * kw + dx];
                }
            y[((b * O + o) * h + row) * w + column] = sum;
          }
    return y;
  };
}

const ACTIVATIONS = [
  {
    name: 'GELU with tanh',
    activation: GELU_TANH,
    definition: (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  },
  { name: 'GELU with erf', activation: GELU_ERF, definition: (x: number) => x * normalProbability(x) },
  { name: 'quick GELU', activation: GELU_QUICK, definition: (x: number) => x / (1 + Math.exp(-1.702 * x)) },
  { name: 'SiLU', activation: SILU, definition: (x: number) => x / (1 + Math.exp(-x)) },
];

const cases: Case[] = [
  {
    name: 'linear',
    shapes: [[2, 3, 5], [4, 5], [4]],
    fused: (x, weight, bias) => linear(x, weight, bias),
    reference: linearReference,
  },
  {
    name: 'layerNorm',
    shapes: [[2, 3, 8]],
    fused: (x) => layerNorm(x, 1e-6),
    reference: (x) => standardise(x, 8, 1e-6),
  },
  {
    name: 'groupNorm',
    shapes: [[2, 4, 3, 3], [4], [4]],
    fused: (x, weight, bias) => groupNorm(x, 2, weight, bias, 1e-5),
    reference: (x, weight, bias) =>
      standardise(x, 18, 1e-5).map((value, index) => {
        const channel = Math.floor(index / 9) % 4;
        return value * weight[channel] + bias[channel];
      }),
  },
  ...ACTIVATIONS.map(({ name, activation, definition }) => ({
    name,
    shapes: [[3, 7]],
    fused: (x: tf.Tensor) => activate(activation, x),
    reference: map(definition),
  })),
  ...ACTIVATIONS.map(({ name, activation, definition }) => ({
    name: `linear of ${name}`,
    shapes: [[2, 3, 4], [5, 4], [5]],
    fused: (x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor) => linear(x, weight, bias, activation),
    reference: (x: Float64Array, weight: Float64Array, bias: Float64Array) =>
      linearReference(map(definition)(x), weight, bias),
  })),
  {
    name: 'attention',
    shapes: [
      [2, 3, 2, 4],
      [2, 5, 2, 4],
      [2, 5, 2, 4],
    ],
    fused: (q, k, v) => attention(q, k, v, 0.7),
    reference: attentionReference([2, 3, 5, 2, 4], 0.7),
  },
  {
    name: 'conv2d of stride 1',
    shapes: [[2, 2, 4, 5], [3, 2, 3, 3], [3]],
    fused: (x, weight, bias) => conv2d(x, weight, bias, { stride: 1, padding: [1, 1, 1, 1] }),
    reference: convReference([2, 2, 4, 5], [3, 2, 3, 3], 1, [1, 1, 1, 1]),
  },
  {
    name: 'conv2d of stride 2 that leaves a row and pads one side',
    shapes: [[1, 2, 6, 6], [2, 2, 3, 2], [2]],
    fused: (x, weight, bias) => conv2d(x, weight, bias, { stride: 2, padding: [0, 0, 0, 1] }),
    reference: convReference([1, 2, 6, 6], [2, 2, 3, 2], 2, [0, 0, 0, 1]),
  },
  {
    name: 'conv2d of patches',
    shapes: [[2, 3, 4, 4], [5, 3, 2, 2], [5]],
    fused: (x, weight, bias) => conv2d(x, weight, bias, { stride: 2, padding: [0, 0, 0, 0] }),
    reference: convReference([2, 3, 4, 4], [5, 3, 2, 2], 2, [0, 0, 0, 0]),
  },
  {
    name: 'upsampleNearest2x',
    shapes: [[2, 3, 2, 3]],
    fused: (x) => upsampleNearest2x(x),
    reference: (x) =>
      Float64Array.from({ length: 2 * 3 * 4 * 6 }, (_, i) => {
        const [plane, row, column] = [Math.floor(i / 24), Math.floor((i % 24) / 6), i % 6];
        return x[plane * 6 + Math.floor(row / 2) * 3 + Math.floor(column / 2)];
      }),
  },
];

/** Values in [-2, 2] that float32 holds exactly, so that the reference starts from the same ones. */
const sample = (length: number, seed: number): Float64Array =>
  Float64Array.from({ length }, (_, index) => Math.fround(2 * Math.sin(12.9898 * (index + 1) + 78.233 * seed)));

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]);
    assert.ok(error <= tolerance * (1 + Math.abs(expected[i])), `element ${i}: ${actual[i]}, expected ${expected[i]}`);
  }
}

/** d sum(weights * f) / d x_k by central differences in float64. */
function numericGradient(
  f: (...x: Float64Array[]) => Float64Array,
  x: Float64Array[],
  k: number,
  weights: Float64Array,
) {
  const step = 1e-5;
  const value = () => f(...x).reduce((sum, y, index) => sum + y * weights[index], 0);
  return x[k].map((original, index) => {
    x[k][index] = original + step;
    const above = value();
    x[k][index] = original - step;
    const below = value();
    x[k][index] = original;
    return (above - below) / (2 * step);
  });
}

describe('fused operations', () => {
  before(() => selectBackend());

  for (const { name, shapes, fused, reference } of cases) {
    test(`${name} equals its definition, and its gradient the numeric one`, () => {
      const host = shapes.map((shape, index) => sample(sizeOf(shape), index));
      const tensors = host.map((data, index) => tf.tensor(Float32Array.from(data), shapes[index]));
      const y = fused(...tensors);
      assertClose(y.dataSync(), reference(...host), 2e-6);

      const weights = sample(y.size, 9);
      const dy = tf.tensor(Float32Array.from(weights), y.shape);
      const gradients = tf.grads((...x) => fused(...x))(tensors, dy);
      gradients.forEach((gradient, k) => {
        assert.deepEqual(gradient.shape, shapes[k]);
        assertClose(gradient.dataSync(), numericGradient(reference, host, k, weights), 1e-5);
      });
    });
  }

  test('activations of large numbers neither overflow nor lose their slope', () => {
    const x = tf.tensor([-1e4, -40, 40, 1e4]);
    for (const { activation: kind } of ACTIVATIONS) {
      const activation = (x: tf.Tensor) => activate(kind, x);
      assertClose(activation(x).dataSync(), [0, 0, 40, 1e4], 1e-6);
      assertClose(tf.grad(activation)(x).dataSync(), [0, 0, 1, 1], 1e-6);
    }
  });

  test('pooling windows at the border count padding only when told to', () => {
    const x = tf.tensor([1, 2, 3, 4], [1, 1, 2, 2]);
    const window = { stride: 1, padding: [1, 1, 0, 0] } as const;
    assert.deepEqual([...maxPool2d(x, 2, window).dataSync()], [1, 2, 3, 4]);
    assert.deepEqual([...avgPool2d(x, 2, window, true).dataSync()], [0.25, 0.75, 1, 2.5]);
    assert.deepEqual([...avgPool2d(x, 2, window, false).dataSync()], [1, 1.5, 2, 2.5]);
  });

  test('upsampleNearest2x repeats every pixel', () => {
    const x = tf.tensor([1, 2, 3, 4, 5, 6], [1, 1, 2, 3]);
    const y = upsampleNearest2x(x);
    assert.deepEqual(y.shape, [1, 1, 4, 6]);
    assert.deepEqual([...y.dataSync()], [1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 4, 4, 5, 5, 6, 6]);
  });

  test('shapes that do not fit are errors that show them', () => {
    const x = tf.zeros([2, 3]);
    assert.throws(() => linear(x, tf.zeros([4, 5])), /shape 2,3 does not fit a weight of shape 4,5/);
    assert.throws(() => linear(x, tf.zeros([4, 3]), tf.zeros([3])), /bias must be of shape 4 but is 3/);
    const image = tf.zeros([1, 3, 4, 4]);
    assert.throws(() => groupNorm(image, 2, tf.ones([3]), tf.zeros([3]), 1e-6), /2 groups/);
    const window = { stride: 1, padding: [0, 0, 0, 0] } as const;
    assert.throws(() => conv2d(image, tf.zeros([2, 4, 3, 3]), null, window), /does not fit/);
  });
});
