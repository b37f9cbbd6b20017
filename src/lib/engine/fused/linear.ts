import { sizeOf } from '../../numbers/typed-array.js';
import * as tf from '../tfjs.js';
import { type Activation, activated } from './activations.js';
import { runKernel } from './kernel.js';

/**
 * y = x W^T + b, with the weight as PyTorch stores it; with an activation a, y = a(x) W^T + b.
 *
 * The backward pass needs a(x) for the gradient of W. It is made again there, out of what the derivative of a takes
 * anyway, so that of the two only x is kept.
 * @param x [..., in]
 * @param weight [out, in]
 * @param bias [out]
 * @returns [..., out]
 */
export function linear(
  x: tf.Tensor,
  weight: tf.Tensor,
  bias: tf.Tensor | null = null,
  activation?: Activation,
): tf.Tensor {
  const [outWidth, inWidth] = weight.shape;
  tf.util.assert(
    weight.rank === 2 && x.shape.at(-1) === inWidth,
    () => `Error in linear: x of shape ${x.shape} does not fit a weight of shape ${weight.shape}.`,
  );
  tf.util.assert(
    bias === null || tf.util.arraysEqual(bias.shape, [outWidth]),
    () => `Error in linear: bias must be of shape ${outWidth} but is ${bias?.shape}.`,
  );
  const multiply = linearRows(activation);
  const rows = tf.reshape(x, [sizeOf(x.shape) / inWidth, inWidth]); // [M, in]
  const y = bias ? multiply(rows, weight, bias) : multiply(rows, weight); // [M, out]
  return tf.reshape(y, [...x.shape.slice(0, -1), outWidth]);
}

const linearRows = (activation: Activation | undefined) =>
  tf.customGrad((...parameters) => {
    const save = parameters.pop() as unknown as tf.GradSaveFunc;
    const [x, weight, bias = null] = parameters as tf.Tensor[];
    save([x, weight]);
    return {
      value: runKernel('Linear', { x: activation ? activated(activation, x) : x, weight, bias }),
      gradFunc(dy: tf.Tensor, [x, weight]: tf.Tensor[]) {
        const dValue = tf.matMul(dy, weight); // [M, in]
        const { value, dx } = activation ? activation.derive(x, dValue) : { value: x, dx: dValue }; // [M, in]
        const gradients = [dx, tf.matMul(dy, value, true, false)]; // [M, in], [out, in]
        return bias ? [...gradients, tf.sum(dy, 0)] : gradients;
      },
    };
  });
