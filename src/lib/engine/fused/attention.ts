import { computedAgain } from '../graph/value.js';
import * as tf from '../tfjs.js';
import { runKernel } from './kernel.js';

/**
 * softmax(scale q k^T) v of each head (arXiv 1706.03762).
 *
 * No weight is kept for the backward pass: all are computed again there.
 * @param q [B, N, H, d]
 * @param k [B, M, H, d]
 * @param v [B, M, H, d]
 * @param scale 1 / sqrt(d) by default
 * @returns [B, N, H, d]
 */
export function attention(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, scale = q.shape.at(-1)! ** -0.5): tf.Tensor {
  const attend = tf.customGrad((...parameters) => {
    const [q, k, v, save] = parameters as unknown as [tf.Tensor, tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    const output = runKernel('Attention', { q, k, v }, { scale }); // [B, N, H, d]
    save([q, k, v, output]);
    return {
      value: output,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => attentionGradients(dy, saved, scale),
    };
  });
  return attend(q, k, v);
}

/** Of q, k and v; `saved` holds these and the output. */
function attentionGradients(dy: tf.Tensor, saved: readonly tf.Tensor[], scale: number): tf.Tensor[] {
  const [q, k, v, dOutput] = [...saved.slice(0, 3), dy].map(swapHeads); // [B, H, N, d], [B, H, M, d] twice, [B, H, N, d]
  const weights = computedAgain(() => tf.softmax(product(q, k, { transposeB: true, scale })) as tf.Tensor); // [B, H, N, M]
  const dWeights = product(dOutput, v, { transposeB: true }); // [B, H, N, M]
  // The softmax gradient's row sums of weights * dWeights are those of dy * output, which has fewer columns.
  const rowSums = swapHeads(tf.sum(tf.mul(dy, saved[3]), -1, true)); // [B, H, N, 1]
  const dLogits = tf.mul(weights, tf.sub(dWeights, rowSums));
  return [
    product(dLogits, k, { scale }),
    product(dLogits, q, { transposeA: true, scale }),
    product(weights, dOutput, { transposeA: true }),
  ].map(swapHeads);
}

/** [B, N, H, d] to [B, H, N, d], and back. */
const swapHeads = (x: tf.Tensor): tf.Tensor => tf.transpose(x, [0, 2, 1, 3]);

/** scale a b, for batches of matrices that are each possibly transposed. */
const product = (a: tf.Tensor, b: tf.Tensor, { transposeA = false, transposeB = false, scale = 1 } = {}): tf.Tensor =>
  runKernel('ScaledMatMul', { a, b }, { transposeA, transposeB, scale });
