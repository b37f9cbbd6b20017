/** The alignment of a diffusion transformer's early tokens to encoders (REPA, arXiv 2410.06940): its projectors. */
import { tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { conv, dense, type Parameters } from '../nn/layers.js';
import type { TransformerConfig, TransformerOptions } from './diffusion-transformer.js';
import { countLayers, type Shapes } from './parameters.js';

export interface AlignedConfig extends TransformerConfig {
  /** Number, of 1..depth, of the block whose tokens are projected. */
  alignDepth: number;
  /** Width of each encoder that the tokens are aligned to; empty without alignment. */
  zDims: readonly number[];
  /** A perceptron of three layers on each token, or a 3 x 3 convolution of their grid (iREPA, arXiv 2512.10794). */
  projector: 'mlp' | 'conv';
  /** Of the perceptron. */
  projectorDim: number;
  /** Whether there is a head through which a block follows a later one of the moving average (SRA, arXiv 2505.02831). */
  selfAlignment: boolean;
}

export interface ForwardOptions extends TransformerOptions {
  /** False leaves the projectors out: sampling does not need them. */
  projectors?: boolean;
}

const PROJECTOR_DIM = 2048;

// Block 8 of L and XL, 4 of the 12 blocks of B (table 2 and the recipes of the paper); a third of the depth of others.
const defaultAlignDepth = (depth: number): number => Math.min(8, Math.max(1, Math.round(depth / 3)));

/**
 * `base` with REPA's alignment: one encoder of width 768 and projectors of width 2048, except where `overrides` says
 * otherwise.
 *
 * @throws UsageError if there is no such block.
 */
export function alignedConfig(base: TransformerConfig, overrides: Partial<AlignedConfig>): AlignedConfig {
  const { alignDepth = defaultAlignDepth(base.depth), zDims = [768], projectorDim = PROJECTOR_DIM } = overrides;
  const { projector = 'mlp', selfAlignment = false } = overrides;
  if (!Number.isInteger(alignDepth) || alignDepth < 1 || alignDepth > base.depth) {
    throw new UsageError(`there is no block ${alignDepth} to align: the model has blocks 1 to ${base.depth}`);
  }
  return { ...base, alignDepth, zDims, projector, projectorDim, selfAlignment };
}

/** `base` with the projectors that a state dict holds; the aligned block is not in the shapes. */
export function inferAlignment(base: TransformerConfig, shapes: Shapes, known: Partial<AlignedConfig>): AlignedConfig {
  const projector = shapes.has('projectors.0.projection_layer.weight') ? 'conv' : 'mlp';
  const output = projector === 'conv' ? 'projection_layer.weight' : '4.weight';
  const encoders = countLayers(shapes, 'projectors.', output);
  return alignedConfig(base, {
    alignDepth: known.alignDepth,
    zDims: Array.from({ length: encoders }, (_, i) => shapes.get(`projectors.${i}.${output}`)!.shape[0]),
    projector,
    projectorDim: shapes.get('projectors.0.0.weight')?.shape[0] ?? known.projectorDim,
    selfAlignment: shapes.has('ap_head.linear1.weight'),
  });
}

/** The three-layer perceptron `name`, each token by itself: `x` [B, T, D] to [B, T, zDim]. */
function perceptron(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const first = dense(p, `${name}.0`, x); // [B, T, projectorDim]
  const second = dense(p, `${name}.2`, first, 'silu'); // [B, T, projectorDim]
  return dense(p, `${name}.4`, second, 'silu'); // [B, T, zDim]
}

/** The convolution `name` of the grid that the last tokens are, a class token left out: `x` [B, T, D] to [B, T, zDim]. */
function convolution(p: Parameters, name: string, all: tf.Tensor): tf.Tensor {
  const [batch, count, dim] = all.shape;
  const tokens = Math.floor(Math.sqrt(count)) ** 2;
  const x = tf.slice(all, [0, count - tokens, 0], [-1, -1, -1]); // [B, T, D]
  const side = Math.sqrt(tokens);
  const grid = tf.reshape(tf.transpose(x, [0, 2, 1]), [batch, dim, side, side]); // [B, D, side, side]
  const projected = conv(p, `${name}.projection_layer`, grid, { padding: 1 }); // [B, zDim, side, side]
  return tf.transpose(tf.reshape(projected, [batch, projected.shape[1]!, tokens]), [0, 2, 1]); // [B, T, zDim]
}

/** The aligned block's tokens through each projector, [B, T, zDim]; `hidden` are the tokens after each block. */
export function projectTokens(p: Parameters, config: AlignedConfig, hidden: readonly tf.Tensor[]): tf.Tensor[] {
  const project = config.projector === 'conv' ? convolution : perceptron;
  return config.zDims.map((_, i) => project(p, `projectors.${i}`, hidden[config.alignDepth - 1]));
}

/** The head of self-alignment: `x` [B, T, D] to [B, T, D]. */
export const selfAlignmentHead = (p: Parameters, x: tf.Tensor): tf.Tensor =>
  dense(p, 'ap_head.linear2', dense(p, 'ap_head.linear1', x), 'silu');
