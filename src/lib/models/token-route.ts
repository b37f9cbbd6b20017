/**
 * Training on part of the tokens: a random share of each image's tokens skips the middle blocks. TREAD (arXiv 2501.04765)
 * puts them back as they were; SPRINT (arXiv 2510.21986) puts a learned mask token in their place, and joins what comes
 * out of the middle with what went in.
 */
import { reorder, tf } from '../engine/index.js';
import type { RotaryAngles } from '../nn/rotary.js';

/** Blocks by number, 1 is the first, both ends included. */
export interface BlockRange {
  from: number;
  to: number;
}

export const inRange = ({ from, to }: BlockRange, block: number): boolean => from <= block && block <= to;

export interface TokenRoute {
  /** The blocks that see the kept tokens only. */
  blocks: BlockRange;
  /** [B, T] int32: the tokens of each image in a random order, of which the first `kept` are kept. */
  order: tf.Tensor;
  /** [B, T] int32: the place of each token in that order. */
  places: tf.Tensor;
  kept: number;
}

/** How many of `tokens` are kept where `share` of them skip blocks; at least one is (as the published codes count). */
export const keptTokens = (tokens: number, share: number): number => Math.max(1, Math.trunc(tokens * (1 - share)));

/** [B, T] indices within an image as indices into all rows of a batch: [B * T]. */
function acrossBatch(indices: tf.Tensor): tf.Tensor {
  const [batch, tokens] = indices.shape;
  const first = tf.tensor(
    Int32Array.from({ length: batch }, (_, row) => row * tokens),
    [batch, 1],
    'int32',
  );
  return tf.reshape(tf.add(indices, first), [batch * tokens]);
}

/** `x` [B, T, D] with the tokens of each image in the order of `order`, whose inverse is `places`. */
function reordered(x: tf.Tensor, order: tf.Tensor, places: tf.Tensor): tf.Tensor {
  const rows = tf.reshape(x, [-1, x.shape[2]!]); // [B * T, D]
  return tf.reshape(reorder(rows, acrossBatch(order), acrossBatch(places)), x.shape);
}

/** Parts `x` [B, T, D] into the kept tokens [B, K, D] and those that skip [B, T - K, D]. */
export function partTokens(x: tf.Tensor, { order, places, kept }: TokenRoute): [kept: tf.Tensor, skipping: tf.Tensor] {
  const [keeping, skipping] = tf.split(reordered(x, order, places), [kept, x.shape[1]! - kept], 1);
  return [keeping, skipping];
}

/** Puts both parts back into the order of the image: [B, T, D]. */
export const joinTokens = (kept: tf.Tensor, skipping: tf.Tensor, { order, places }: TokenRoute): tf.Tensor =>
  reordered(tf.concat([kept, skipping], 1), places, order);

/** The rotary angles of the kept tokens, [B, K, 1, d]. */
export function keptAngles({ cos, sin }: RotaryAngles, { order, kept }: TokenRoute): RotaryAngles {
  const chosen = tf.slice(order, [0, 0], [-1, kept]); // [B, K]
  return { cos: tf.gather(cos, chosen), sin: tf.gather(sin, chosen) };
}
