/**
 * Networks that predict the clean data instead of the velocity (JiT, arXiv 2511.13720, table 1; RAEv2, arXiv
 * 2605.18324), on the linear path x_t = (1 - t) x + t e, where v = e - x = (x_t - x) / t. Checked against the published
 * code of both.
 */
import { tf } from '../engine/index.js';

/** What a network predicts; the loss is that of the velocity in either case. */
export type Prediction = 'velocity' | 'data';

/** The smallest t that is divided by: the published value of both. */
export const SMALLEST_TIME = 0.05;

/** (x_t - x) / max(t, 0.05): of `noisy` x_t and data x, [B, ...] each, at times `t` [B]. */
export function velocityOfData(noisy: tf.Tensor, data: tf.Tensor, t: tf.Tensor): tf.Tensor {
  const divisor = tf.reshape(tf.maximum(t, SMALLEST_TIME), [-1, ...noisy.shape.slice(1).map(() => 1)]); // [B, 1, ...]
  return tf.div(tf.sub(noisy, data), divisor);
}
