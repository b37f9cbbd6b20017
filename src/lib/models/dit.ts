/** DiT (arXiv 2212.09748): predicts the noise and its variance at the discrete steps of DDPM. */
import type { tf } from '../engine/index.js';
import type { Parameters } from '../nn/layers.js';
import { type AlignedConfig, alignedConfig, type ForwardOptions, inferAlignment, projectTokens } from './alignment.js';
import { diffusionTransformer } from './diffusion-transformer.js';
import type { Shapes } from './parameters.js';
import { inferTransformerConfig, transformerConfig } from './transformer-config.js';

export type DiTConfig = AlignedConfig;

/**
 * The architecture `name`: `DiT-{S,B,L,XL}/{2,4,8}`, whose output has twice the channels of its input, except where
 * `overrides` says otherwise. The published models have no projectors (`zDims: []`).
 *
 * @throws UsageError if there is no such model, or the sizes do not fit.
 */
export function ditConfig(name: string, overrides: Partial<DiTConfig> = {}): DiTConfig {
  const outChannels = 2 * (overrides.inChannels ?? 4);
  return alignedConfig(transformerConfig('DiT', name, { outChannels, ...overrides }), overrides);
}

/**
 * The architecture of a state dict of DiT; what the shapes do not tell is the published model's, or `known`'s.
 *
 * @throws DataError if the names are not those of such a network.
 */
export const inferDiTConfig = (shapes: Shapes, source: string, known: Partial<DiTConfig> = {}): DiTConfig =>
  inferAlignment(inferTransformerConfig(shapes, source, known), shapes, known);

export interface DiTOutput {
  /** [B, 2C, H, W]: the noise, then where the log variance lies between its bounds, from -1 to 1. */
  prediction: tf.Tensor;
  /** The aligned block's tokens through each projector: [B, T, zDim] each; empty where they were not asked for. */
  projected: tf.Tensor[];
  /** The tokens after each block, [B, T, D]; block number n of 1..depth is at n - 1. */
  hidden: tf.Tensor[];
}

/**
 * The forward pass.
 *
 * @param x noisy latents [B, C, H, W] at steps `t` [B], f32 of 0..999 of the process of 1000 steps.
 * @param y classes [B] int32; `config.numClasses` is the null class.
 */
export function dit(
  p: Parameters,
  config: DiTConfig,
  x: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
  { projectors = true, ...options }: ForwardOptions = {},
): DiTOutput {
  const { output, hidden } = diffusionTransformer(p, config, x, t, y, options);
  return { prediction: output, projected: projectors ? projectTokens(p, config, hidden) : [], hidden };
}
