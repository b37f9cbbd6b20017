/** Patches of an image as tokens: one map, or through a bottleneck (JiT, arXiv 2511.13720). */
import { tf } from '../engine/index.js';
import { linear } from '../nn/functional.js';
import { type Parameters, parameter, patchEmbed } from '../nn/layers.js';
import type { TransformerConfig } from './dit-sizes.js';
import type { PlannedParameter } from './start.js';

export function patchesPlan(
  name: string,
  { inChannels, patchSize, hiddenSize, bottleneck }: TransformerConfig,
): PlannedParameter[] {
  const map = (layer: string, outputs: number): PlannedParameter => [
    `${name}.${layer}.weight`,
    { shape: [outputs, inChannels, patchSize, patchSize], start: 'xavier' },
  ];
  const bias = (layer: string): PlannedParameter => [`${name}.${layer}.bias`, { shape: [hiddenSize], start: 'zeros' }];
  if (bottleneck === undefined) return [map('proj', hiddenSize), bias('proj')];
  const wider: PlannedParameter = [`${name}.proj2.weight`, { shape: [hiddenSize, bottleneck, 1, 1], start: 'xavier' }];
  return [map('proj1', bottleneck), wider, bias('proj2')];
}

/** Patches of `x` [B, C, H, W] as tokens [B, T, D]. */
export function patchTokens(p: Parameters, name: string, { bottleneck }: TransformerConfig, x: tf.Tensor): tf.Tensor {
  if (bottleneck === undefined) return patchEmbed(p, `${name}.proj`, x);
  const narrow = patchEmbed(p, `${name}.proj1`, x); // [B, T, bottleneck]
  const weight = parameter(p, `${name}.proj2.weight`); // [D, bottleneck, 1, 1]
  return linear(narrow, tf.reshape(weight, weight.shape.slice(0, 2)), parameter(p, `${name}.proj2.bias`)); // [B, T, D]
}
