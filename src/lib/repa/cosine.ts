/** Cosine similarity, as the alignment losses take it. */
import { tf } from '../engine/index.js';

/** The bound of torch.nn.functional.normalize, squared: 1e-24 is still a normal f32. */
const SMALLEST_NORM_SQUARED = 1e-24;

/**
 * x / max(|x|, 1e-12) along `axis`, as torch.nn.functional.normalize. The bound is put on the square, before the root:
 * the gradient of the root at 0 would turn tokens that are all zeros into NaN.
 */
export function normalised(x: tf.Tensor, axis = -1): tf.Tensor {
  const squaredNorm = tf.sum(tf.square(x), axis, true); // 1 along the axis
  return tf.mul(x, tf.rsqrt(tf.maximum(squaredNorm, SMALLEST_NORM_SQUARED)));
}

/** The cosine similarity of `a` and `b` along `axis`, which the result does not have. */
export const cosineSimilarity = (a: tf.Tensor, b: tf.Tensor, axis = -1): tf.Tensor =>
  tf.sum(tf.mul(normalised(a, axis), normalised(b, axis)), axis);
