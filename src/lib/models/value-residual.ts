/**
 * The value residual (arXiv 2410.17897, as SR-DiT, arXiv 2512.12386, takes it): later blocks mix a learned share of the
 * first block's values into theirs.
 */
import { tf } from '../engine/index.js';
import { type Parameters, parameter } from '../nn/layers.js';
import type { TransformerConfig } from './dit-sizes.js';
import type { Passage } from './passage.js';
import type { PlannedParameter } from './start.js';

/** The share, a number. */
const valueShare = (block: string): string => `${block}.attn.v1_lambda`;

export const valueSharePlan = (block: string): PlannedParameter => [valueShare(block), { shape: [], start: 'half' }];

/** A block's `own` values [B, T, H, d] with its share of those of the `first` one, [B, T, D]: [B, T, H, d]. */
export function withFirstValues(p: Parameters, block: string, own: tf.Tensor, first: tf.Tensor): tf.Tensor {
  const values = tf.reshape(first, own.shape); // [B, T, H, d]
  return tf.add(own, tf.mul(parameter(p, valueShare(block)), tf.sub(values, own))); // [B, T, H, d]
}

/** What a block is given of the first one's values, or does with its own if it is that. */
export interface FirstValues {
  /** [B, T, D], of which this one takes a share. */
  values?: tf.Tensor;
  /** Takes the values of its own, [B, T, D]. */
  keep?(own: tf.Tensor): void;
}

/**
 * What block number `number` of a network with the residual is given: the values of the first one, as far as it sees
 * their tokens.
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
