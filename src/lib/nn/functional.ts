/**
 * Layers as functions of tensors and weights, in PyTorch's conventions: weights of a linear layer are [out, in], of a
 * convolution [out, in, height, width], images are [B, C, H, W].
 */
import * as engine from '../engine/index.js';
import { tf } from '../engine/index.js';

export { groupNorm, upsampleNearest2x } from '../engine/index.js';

/** Normalises the last axis to mean 0 and variance 1 (biased), then scales and shifts when weights are given. */
export function layerNorm(
  x: tf.Tensor,
  { weight, bias, epsilon }: { weight?: tf.Tensor; bias?: tf.Tensor; epsilon: number },
): tf.Tensor {
  const normal = engine.layerNorm(x, epsilon);
  const scaled = weight ? tf.mul(normal, weight) : normal;
  return bias ? tf.add(scaled, bias) : scaled;
}

/** Divides by the root of the mean square of the last axis, then scales by `weight` [D]. */
export const rmsNorm = (x: tf.Tensor, weight: tf.Tensor, epsilon: number): tf.Tensor =>
  tf.mul(engine.rmsNorm(x, epsilon), weight);

/** x sigmoid(x). */
export const silu = (x: tf.Tensor): tf.Tensor => engine.activate(engine.SILU, x);

/** x Phi(x), with the exact distribution function. */
export const gelu = (x: tf.Tensor): tf.Tensor => engine.activate(engine.GELU_ERF, x);

/** Exact with the error function, PyTorch's `approximate="tanh"`, or CLIP's x sigmoid(1.702 x). */
export type GeluForm = 'erf' | 'tanh' | 'quick';

/** Softmax over the last axis. */
export const softmax = (x: tf.Tensor): tf.Tensor => tf.softmax(x);

/** softmax(q k^T scale) v of each head; all [B, N, H, d], `scale` 1 / sqrt(d) unless given. */
export const attention = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, scale = q.shape.at(-1)! ** -0.5): tf.Tensor =>
  engine.attention(q, k, v, scale);

/** The activations that a linear layer may apply to its input. */
export type ActivationName = 'silu' | `gelu-${GeluForm}`;

const ACTIVATIONS: Readonly<Record<ActivationName, engine.Activation>> = {
  silu: engine.SILU,
  'gelu-erf': engine.GELU_ERF,
  'gelu-tanh': engine.GELU_TANH,
  'gelu-quick': engine.GELU_QUICK,
};

/** x W^T + b, or a(x) W^T + b with an activation a: `x` [..., in], `weight` [out, in], `bias` [out] or null. */
export const linear = (
  x: tf.Tensor,
  weight: tf.Tensor,
  bias: tf.Tensor | null = null,
  activation?: ActivationName,
): tf.Tensor => engine.linear(x, weight, bias, activation && ACTIVATIONS[activation]);

export interface ConvOptions {
  stride?: number;
  /** Zeros on every side, or [top, left, bottom, right]. */
  padding?: number | readonly [number, number, number, number];
}

/** 2-D convolution: `x` [B, C, H, W], `weight` [O, C, kh, kw], `bias` [O] or null. Returns [B, O, H', W']. */
export function conv2d(
  x: tf.Tensor,
  weight: tf.Tensor,
  bias: tf.Tensor | null,
  { stride = 1, padding = 0 }: ConvOptions = {},
): tf.Tensor {
  const sides = typeof padding === 'number' ? ([padding, padding, padding, padding] as const) : padding;
  return engine.conv2d(x, weight, bias, { stride, padding: sides });
}

/**
 * A convolution of each channel with its own kernel, padded with zeros to keep the size: `x` [B, C, H, W], `weight`
 * [C, 1, k, k], `bias` [C]. No gradient.
 */
export function depthwiseConv2d(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor): tf.Tensor {
  const reach = (weight.shape[2]! - 1) / 2;
  return engine.depthwiseConv2d(x, weight, bias, { stride: 1, padding: [reach, reach, reach, reach] });
}

/** Rows of `table` [n, D] at `indices` [B] int32: [B, D]. */
export const embedding = (table: tf.Tensor, indices: tf.Tensor): tf.Tensor => tf.gather(table, indices);

/** x (1 + scale) + shift: `x` [B, T, D], `shift` and `scale` [B, 1, D]. */
export const modulate = (x: tf.Tensor, shift: tf.Tensor, scale: tf.Tensor): tf.Tensor =>
  tf.add(tf.mul(x, tf.add(scale, 1)), shift);
