/** Changes to the tokens around the blocks of a transformer. */
import type { tf } from '../engine/index.js';
import type { RotaryAngles } from '../nn/rotary.js';

/** The tokens on their way through the blocks. */
export interface Stream {
  tokens: tf.Tensor; // [B, T, D]
  /** The angles by which the queries and keys of each token are rotated. */
  angles?: RotaryAngles;
}

/** What a method, or another design, does to the tokens between the blocks. */
export interface Passage {
  /** Changes the stream before block `block`, 1..depth. */
  enter?(stream: Stream, block: number): Stream;
  /** Changes the stream after that block. */
  leave?(stream: Stream, block: number): Stream;
  /** Whether the block is left out. */
  skips?(block: number): boolean;
  /** Takes from values of all tokens [B, T, ...] those of the tokens that pass the block. */
  seen?(values: tf.Tensor, block: number): tf.Tensor;
  /** Takes from the tokens after a block, [B, K + T, D], those that terms and probes read, [B, T, D]. */
  shown?(tokens: tf.Tensor, block: number): tf.Tensor;
}
