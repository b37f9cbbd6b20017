/** A further output of a transformer: a final layer of its own, on tokens of any block. */
import type { tf } from '../engine/index.js';
import { dense, type Parameters, unpatchify } from '../nn/layers.js';
import { finalPlan, finalTokens } from './dit-parts.js';
import type { TransformerConfig } from './dit-sizes.js';
import type { PlannedParameter } from './start.js';

/** A further output head `name`, of the final layer's layout. */
export const outputHeadPlan = (name: string, config: TransformerConfig): PlannedParameter[] =>
  finalPlan(name, config, []);

/**
 * The image that the output head `name` makes of tokens of patches: `x` [B, T, D], `c` [B, D] to [B, outChannels, H,
 * W].
 */
export function outputHead(
  p: Parameters,
  name: string,
  config: TransformerConfig,
  x: tf.Tensor,
  c: tf.Tensor,
): tf.Tensor {
  const pixels = dense(p, `${name}.linear`, finalTokens(p, name, config, x, c)); // [B, T, patch * patch * outChannels]
  return unpatchify(pixels, config.patchSize, config.outChannels);
}
