/** Layers of transformers and convolutional networks, addressed by their name in a PyTorch state dict. */
import { tf } from '../engine/index.js';
import {
  type ActivationName,
  attention,
  type ConvOptions,
  conv2d,
  type GeluForm,
  groupNorm,
  layerNorm,
  linear,
  rmsNorm,
  silu,
} from './functional.js';
import { type RotaryAngles, rotate } from './rotary.js';

/** Tensors of a network under the names and in the layouts of its PyTorch state dict. */
export type Parameters = Readonly<Record<string, tf.Tensor>>;

/** The tensor `name`; a model that asks for one that is not there is a bug, since weights are matched when loaded. */
export function parameter(p: Parameters, name: string): tf.Tensor {
  const tensor = p[name];
  if (!tensor) throw new Error(`the model asked for the parameter ${name}, which it does not have`);
  return tensor;
}

/** The linear layer `name` of x, or of an activation of x; its bias is added where it has one. */
export const dense = (p: Parameters, name: string, x: tf.Tensor, activation?: ActivationName): tf.Tensor =>
  linear(x, parameter(p, `${name}.weight`), p[`${name}.bias`], activation);

/** The affine layer norm `name`. */
export const norm = (p: Parameters, name: string, x: tf.Tensor, epsilon: number): tf.Tensor =>
  layerNorm(x, { weight: parameter(p, `${name}.weight`), bias: parameter(p, `${name}.bias`), epsilon });

/** Layer norm, by mean and deviation; or RMS norm, by the root mean square alone. */
export type NormKind = 'layer' | 'rms';

/** The RMS norm `name`. */
export const rmsNormed = (p: Parameters, name: string, x: tf.Tensor, epsilon: number): tf.Tensor =>
  rmsNorm(x, parameter(p, `${name}.weight`), epsilon);

/** The convolution `name`. */
export const conv = (p: Parameters, name: string, x: tf.Tensor, options?: ConvOptions): tf.Tensor =>
  conv2d(x, parameter(p, `${name}.weight`), p[`${name}.bias`] ?? null, options);

/** The group norm `name`. */
export const groupNormed = (p: Parameters, name: string, x: tf.Tensor, groups: number, epsilon: number): tf.Tensor =>
  groupNorm(x, groups, parameter(p, `${name}.weight`), parameter(p, `${name}.bias`), epsilon);

/**
 * Patches of `images` [B, C, H, W] through the convolution `name` whose kernel is its stride: [B, T, D], T row by row.
 * One matrix product over the patches, which is what such a convolution is.
 */
export function patchEmbed(p: Parameters, name: string, images: tf.Tensor): tf.Tensor {
  const [batch, channels, height, width] = images.shape;
  const weight = parameter(p, `${name}.weight`); // [D, C, size, size]
  const [dim, , size] = weight.shape;
  const rows = height / size;
  const columns = width / size;
  const cells = tf.reshape(images, [batch, channels, rows, size, columns, size]);
  const patches = tf.transpose(cells, [0, 2, 4, 1, 3, 5]); // [B, rows, columns, C, size, size]
  const flat = tf.reshape(patches, [batch, rows * columns, channels * size * size]);
  return linear(flat, tf.reshape(weight, [dim, -1]), p[`${name}.bias`]); // [B, T, D]
}

/** Puts patches [B, T, size * size * C] (channels last) of a square image back in place: [B, C, H, W]. */
export function unpatchify(patches: tf.Tensor, size: number, channels: number): tf.Tensor {
  const [batch, tokens] = patches.shape;
  const side = Math.sqrt(tokens);
  const cells = tf.reshape(patches, [batch, side, side, size, size, channels]);
  return tf.reshape(tf.transpose(cells, [0, 5, 1, 3, 2, 4]), [batch, channels, side * size, side * size]);
}

export interface AttentionOptions {
  heads: number;
  /** The norm of queries and keys, each head by itself; none by default. */
  qkNorm?: NormKind | null;
  /** The angles by which queries and keys are rotated; none by default. */
  rotary?: RotaryAngles;
  /** Changes the values [B, T, H, d] before the attention; by default they stay. */
  values?(own: tf.Tensor): tf.Tensor;
}

/** With PyTorch's default epsilon, and with LightningDiT's. */
const QK_NORM = {
  layer: (p: Parameters, name: string, x: tf.Tensor): tf.Tensor => norm(p, name, x, 1e-5),
  rms: (p: Parameters, name: string, x: tf.Tensor): tf.Tensor => rmsNormed(p, name, x, 1e-6),
};

/** Multi-head self-attention `name` with one `qkv` projection: `x` [B, T, D] to [B, T, D]. */
export function selfAttention(
  p: Parameters,
  name: string,
  x: tf.Tensor,
  { heads, qkNorm = null, rotary, values = (own) => own }: AttentionOptions,
): tf.Tensor {
  const [batch, tokens, dim] = x.shape;
  const perHead = (part: tf.Tensor) => tf.reshape(part, [batch, tokens, heads, dim / heads]);
  let [q, k, v] = tf.split(dense(p, `${name}.qkv`, x), 3, -1).map(perHead); // [B, T, H, d]
  if (qkNorm) {
    q = QK_NORM[qkNorm](p, `${name}.q_norm`, q);
    k = QK_NORM[qkNorm](p, `${name}.k_norm`, k);
  }
  if (rotary) {
    q = rotate(q, rotary);
    k = rotate(k, rotary);
  }
  return dense(p, `${name}.proj`, tf.reshape(attention(q, k, values(v)), [batch, tokens, dim]));
}

/** The two-layer perceptron `name` with GELU: `x` [B, T, D] to [B, T, D]. */
export const mlp = (p: Parameters, name: string, x: tf.Tensor, form: GeluForm): tf.Tensor =>
  dense(p, `${name}.fc2`, dense(p, `${name}.fc1`, x), `gelu-${form}`);

/**
 * The gated perceptron `name` (SwiGLU, arXiv 2002.05202): w3(silu(a) b) with [a, b] = w12(x); `x` [B, T, D] to [B, T,
 * D].
 */
export function swiglu(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const [gate, value] = tf.split(dense(p, `${name}.w12`, x), 2, -1); // each [B, T, inner]
  return dense(p, `${name}.w3`, tf.mul(silu(gate), value));
}
