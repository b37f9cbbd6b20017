/** The value residual (SR-DiT, arXiv 2512.12386): later blocks mix a learned share of the first block's values into theirs. */
import { tf } from '../engine/index.js';
import { type Parameters, parameter } from '../nn/layers.js';
import type { PlannedParameter } from './start.js';

/** The share, a number. */
const valueShare = (block: string): string => `${block}.attn.v1_lambda`;

export const valueSharePlan = (block: string): PlannedParameter => [valueShare(block), { shape: [], start: 'half' }];

/** A block's `own` values [B, T, H, d] with its share of those of the `first` one, [B, T, D]: [B, T, H, d]. */
export function withFirstValues(p: Parameters, block: string, own: tf.Tensor, first: tf.Tensor): tf.Tensor {
  const values = tf.reshape(first, own.shape); // [B, T, H, d]
  return tf.add(own, tf.mul(parameter(p, valueShare(block)), tf.sub(values, own))); // [B, T, H, d]
}
