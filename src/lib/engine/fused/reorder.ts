import * as tf from '../tfjs.js';

/**
 * Rows of `x` [N, D] in another order: row `order[i]` goes to i. The gradient is the same with `inverse`, since every
 * row is taken once: no scattering, no sum.
 * @param order [N] int32, each of 0..N-1 once
 * @param inverse [N] int32, with inverse[order[i]] = i
 */
export function reorder(x: tf.Tensor, order: tf.Tensor, inverse: tf.Tensor): tf.Tensor {
  // The indices are inputs of it, since what is only used in its gradient has to be kept until then.
  const move = tf.customGrad((...parameters) => {
    const [x, order, inverse, save] = parameters as unknown as [tf.Tensor, tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    save([inverse]);
    return {
      value: tf.gather(x, order),
      gradFunc: (dy: tf.Tensor, [inverse]: tf.Tensor[]) => [
        tf.gather(dy, inverse),
        tf.zeros(inverse.shape),
        tf.zeros(inverse.shape),
      ],
    };
  });
  return move(x, order, inverse);
}
