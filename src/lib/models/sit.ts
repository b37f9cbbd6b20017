/** SiT with representation alignment (REPA, arXiv 2410.06940): predicts the velocity, and projects one block's tokens. */
import { tf } from '../engine/index.js';
import type { Parameters } from '../nn/layers.js';
import { type AlignedConfig, alignedConfig, type ForwardOptions, inferAlignment, projectTokens } from './alignment.js';
import { diffusionTransformer } from './diffusion-transformer.js';
import type { Shapes } from './parameters.js';
import { inferTransformerConfig, transformerConfig } from './transformer-config.js';

export interface SiTConfig extends AlignedConfig {
  /** The original SiT runs from noise at t = 0 to data at t = 1, the other way round than here. */
  reversedTime: boolean;
}

/**
 * The architecture `name`: `SiT-{S,B,L,XL}/{2,4,8}` with REPA's defaults (one encoder of width 768, projector 2048)
 * except where `overrides` says otherwise.
 *
 * @throws UsageError if there is no such model, or the sizes do not fit.
 */
export function sitConfig(name: string, overrides: Partial<SiTConfig> = {}): SiTConfig {
  const { reversedTime = false, ...aligned } = overrides;
  return { ...alignedConfig(transformerConfig('SiT', name, aligned), aligned), reversedTime };
}

/**
 * The architecture of a state dict of SiT, REPA's or the original. What the shapes do not tell (heads, the aligned
 * block) is the published model's, or `known`'s. A network that predicts twice its input's channels is taken for the
 * original SiT, whose time is reversed.
 *
 * @throws DataError if the names are not those of such a network.
 */
export function inferSiTConfig(shapes: Shapes, source: string, known: Partial<SiTConfig> = {}): SiTConfig {
  const base = inferTransformerConfig(shapes, source, known);
  const reversedTime = known.reversedTime ?? base.outChannels === 2 * base.inChannels;
  return { ...inferAlignment(base, shapes, known), reversedTime };
}

export interface SiTOutput {
  /** dx/dt with t = 0 data and t = 1 noise: [B, C, H, W]. */
  velocity: tf.Tensor;
  /** The aligned block's tokens through each projector: [B, T, zDim] each; empty where they were not asked for. */
  projected: tf.Tensor[];
  /** Of a model that generates a class token: how that moves, [B, Z]. */
  classVelocity?: tf.Tensor;
  /** The tokens after each block, [B, T, D]; block number n of 1..depth is at n - 1. */
  hidden: tf.Tensor[];
}

/**
 * The forward pass.
 *
 * @param xT noisy latents [B, C, H, W] at times `t` [B], 0 = data, 1 = noise.
 * @param y classes [B] int32; `config.numClasses` is the null class.
 */
export function sit(
  p: Parameters,
  config: SiTConfig,
  xT: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
  { projectors = true, ...options }: ForwardOptions = {},
): SiTOutput {
  const { inChannels, outChannels, reversedTime } = config;
  const time = reversedTime ? tf.sub(1, t) : t;
  const { output, classToken, hidden } = diffusionTransformer(p, config, xT, time, y, options);
  // The original SiT also predicts a variance that nothing uses.
  const drift = outChannels === inChannels ? output : tf.slice(output, [0, 0, 0, 0], [-1, inChannels, -1, -1]);
  return {
    velocity: reversedTime ? tf.neg(drift) : drift,
    projected: projectors ? projectTokens(p, config, hidden) : [],
    classVelocity: classToken,
    hidden,
  };
}
