/**
 * The value residual (arXiv 2410.17897, as SR-DiT, arXiv 2512.12386, takes it): later blocks mix a learned share of the
 * first block's values into theirs.
 */
import { tf } from '../engine/index.js';
import { type Parameters, parameter } from '../nn/layers.js';
import type { TransformerConfig } from './dit-sizes.js';
import type { Passage } from './passage.js';
import type { PlannedParameter } from './start.js';

/** The name of the learned share, a scalar. */
const valueShare = (block: string): string => `${block}.attn.v1_lambda`;

export const valueSharePlan = (block: string): PlannedParameter => [valueShare(block), { shape: [], start: 'half' }];

/** A block's `own` values [B, T, H, d], mixed with its share of the `first` block's, [B, T, D]: [B, T, H, d]. */
export function withFirstValues(p: Parameters, block: string, own: tf.Tensor, first: tf.Tensor): tf.Tensor {
  const values = tf.reshape(first, own.shape); // [B, T, H, d]
  return tf.add(own, tf.mul(parameter(p, valueShare(block)), tf.sub(values, own))); // [B, T, H, d]
}

/** The first block's values for the others; for the first block, what keeps them. */
export interface FirstValues {
  /** The first block's values, [B, T, D]. */
  values?: tf.Tensor;
  /** Keeps the block's own values, [B, T, D]. */
  keep?(own: tf.Tensor): void;
}

/**
 * For a network with the residual, what block `number` is given: the first block's values of the tokens that pass it.
 */
export function valuesOfFirst(
  { valueResidual }: Pick<TransformerConfig, 'valueResidual'>,
  passages: readonly Passage[],
): ((number: number) => FirstValues) | undefined {
  if (!valueResidual) return undefined;
  let first: tf.Tensor | undefined; // [B, P + T, D]
  const keep = (own: tf.Tensor): void => {
    first = own;
  };
  return (number) =>
    number === 1
      ? { keep }
      : { values: first && passages.reduce((each, passage) => passage.seen?.(each, number) ?? each, first) };
}
