/** What is done to the tokens around the blocks of a transformer. */
import type { tf } from '../engine/index.js';
import type { RotaryAngles } from '../nn/rotary.js';

/** The tokens on their way through the blocks. */
export interface Stream {
  tokens: tf.Tensor; // [B, T, D]
  /** By how much the queries and keys of each turn. */
  angles?: RotaryAngles;
}

/** What a method, or another design, does to the tokens besides the blocks. */
export interface Passage {
  /** Before block number `block`, of 1..depth. */
  enter?(stream: Stream, block: number): Stream;
  /** After it. */
  leave?(stream: Stream, block: number): Stream;
  /** Whether the block is left out. */
  skips?(block: number): boolean;
  /** Of values of all tokens [B, T, ...], those of the tokens that the block sees. */
  seen?(values: tf.Tensor, block: number): tf.Tensor;
  /** Of the tokens after a block, [B, K + T, D], those that terms and probes look at, [B, T, D]. */
  shown?(tokens: tf.Tensor, block: number): tf.Tensor;
}
