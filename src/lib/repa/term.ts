/** What a loss is a sum of. */
import type { tf } from '../engine/index.js';

/** A term of the loss. */
export interface Term {
  /** As in the log, which adds `_loss`. */
  name: string;
  weight: number;
  /** Scalar. */
  value: () => tf.Tensor;
}

/** A term of a sum; one of weight 0 is not computed. */
export const term = (name: string, weight: number, value: () => tf.Tensor): Term => ({ name, weight, value });
