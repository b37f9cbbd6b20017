/**
 * Internal Guidance in sampling (arXiv 2512.24176): away from the weaker prediction that an early head of the network
 * makes in the same pass (repa/internal-guidance.ts).
 */
import { tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { hasWeaker } from '../repa/weaker.js';
import type { RunRecord } from '../training/record.js';
import type { SamplerOptions } from './options.js';

/** At times from `low` to `high`. */
export interface InternalGuidance {
  /** The weight w of weaker + w (own - weaker). */
  scale: number;
  low: number;
  high: number;
}

/** @throws UsageError for a network without a weaker prediction, and an empty interval */
export function settleInternal(
  { internalCfg = 1, internalLow: low = 0, internalHigh: high = 1 }: SamplerOptions,
  record: RunRecord,
  source: string,
): InternalGuidance | undefined {
  if (internalCfg === 1) return undefined;
  if (!hasWeaker(record)) {
    throw new UsageError(
      `--internal-cfg: ${source} has no early head to be guided by`,
      'Train one with --internal 0.5, or --preset internal-guidance.',
    );
  }
  if (low > high)
    throw new UsageError(`nothing would be guided: --internal-low ${low} is above --internal-high ${high}`);
  return { scale: internalCfg, low, high };
}

export const describeInternal = ({ scale, low, high }: InternalGuidance): Record<string, unknown> => ({
  internal_cfg: scale,
  internal_interval: [low, high],
});

/** weaker + scale (own - weaker) of the rows whose time is in the interval; `own`, `weaker` [N, C, h, w], `t` [N]. */
export function guidedInside(
  own: tf.Tensor,
  weaker: tf.Tensor,
  t: tf.Tensor,
  { scale, low, high }: InternalGuidance,
): tf.Tensor {
  const guided = tf.add(weaker, tf.mul(tf.sub(own, weaker), scale)); // [N, C, h, w]
  const inside = tf.logicalAnd(tf.greaterEqual(t, low), tf.lessEqual(t, high)); // [N]
  return tf.where(tf.broadcastTo(tf.reshape(inside, [-1, 1, 1, 1]), own.shape), guided, own); // [N, C, h, w]
}
