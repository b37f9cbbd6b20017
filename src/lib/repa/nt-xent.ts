/** NT-Xent, the objective of REPA that compares images with each other. */
import { tf } from '../engine/index.js';
import { normalised } from './cosine.js';

/**
 * The paper's other objective, NT-Xent (arXiv 2002.05709, equation 1, without the symmetric half, as the encoder is
 * frozen): each token has to tell its own target from the targets of all tokens of the batch. `projected` and `target`
 * [B, T, D]; returns the mean over each image's tokens, [B]. Holds the (B T)^2 similarities in memory.
 */
export function ntXentLoss(projected: tf.Tensor, target: tf.Tensor, temperature = 0.1): tf.Tensor {
  const [batch, tokens, dim] = projected.shape;
  const h = tf.reshape(normalised(projected), [batch * tokens, dim]); // [BT, D]
  const y = tf.reshape(normalised(target), [batch * tokens, dim]); // [BT, D]
  // The upper bound of the similarities, 1, is subtracted, so that no exponential overflows.
  const logits = tf.div(tf.sub(tf.matMul(h, y, false, true), 1), temperature); // [BT, BT]
  const own = tf.div(tf.sub(tf.sum(tf.mul(h, y), -1), 1), temperature); // [BT]
  const loss = tf.sub(tf.log(tf.sum(tf.exp(logits), -1)), own); // [BT]
  return tf.mean(tf.reshape(loss, [batch, tokens]), -1); // [B]
}
