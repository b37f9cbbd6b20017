/** The terms that a loss is the sum of. */
import type { tf } from '../engine/index.js';

/** A term of the loss. */
export interface Term {
  /** The name in the log, which adds `_loss`. */
  name: string;
  weight: number;
  /** Scalar. */
  value: () => tf.Tensor;
}

/** Makes a term; one of weight 0 is never computed. */
export const term = (name: string, weight: number, value: () => tf.Tensor): Term => ({ name, weight, value });
