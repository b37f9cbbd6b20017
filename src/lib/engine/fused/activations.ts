import * as tf from '../tfjs.js';
import { runKernel } from './kernel.js';

/** An element-wise function of one kernel, with its derivative; apply it with {@link activate}. */
export interface Activation {
  readonly kernel: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** The value and the derivative at x, which have most of their work in common, from elementary operations. */
  derive(x: tf.Tensor): { value: tf.Tensor; slope: tf.Tensor };
}

/** What the kernel makes of x; no gradient. */
export const activated = ({ kernel, attributes }: Activation, x: tf.Tensor): tf.Tensor =>
  runKernel(kernel, { x }, { ...attributes });

/** The activation at every element of x. */
export function activate(activation: Activation, x: tf.Tensor): tf.Tensor {
  const apply = tf.customGrad((...parameters) => {
    const [x, save] = parameters as unknown as [tf.Tensor, tf.GradSaveFunc];
    save([x]);
    return {
      value: activated(activation, x),
      gradFunc: (dy: tf.Tensor, [x]: tf.Tensor[]) => tf.mul(dy, activation.derive(x).slope),
    };
  });
  return apply(x);
}

// The tanh form is x/2 (1 + tanh(u/2)) = x sigmoid(u) with u = x (LINEAR + CUBIC x^2).
export const LINEAR = 2 * Math.sqrt(2 / Math.PI);
export const CUBIC = 0.044715 * LINEAR;

/** x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (arXiv 1606.08415). */
export const GELU_TANH: Activation = {
  kernel: 'Gelu',
  attributes: { approximate: 'tanh' },
  derive(x) {
    const square = tf.square(x);
    const gate = tf.sigmoid(tf.mul(x, tf.add(tf.mul(square, CUBIC), LINEAR)));
    const steepness = tf.mul(x, tf.add(tf.mul(square, 3 * CUBIC), LINEAR)); // x du/dx
    return { value: tf.mul(x, gate), slope: tf.mul(gate, tf.add(tf.mul(steepness, tf.sub(1, gate)), 1)) };
  },
};

/** x Phi(x), with Phi the normal distribution function (arXiv 1606.08415). */
export const GELU_ERF: Activation = {
  kernel: 'Gelu',
  attributes: { approximate: 'none' },
  derive(x) {
    const probability = tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
    const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return { value: tf.mul(x, probability), slope: tf.add(probability, tf.mul(x, density)) };
  },
};

/** x sigmoid(steepness x). */
const silu = (steepness: number): Activation => ({
  kernel: 'Silu',
  attributes: { steepness },
  derive(x) {
    const steep = tf.mul(x, steepness);
    const gate = tf.sigmoid(steep);
    return { value: tf.mul(x, gate), slope: tf.mul(gate, tf.add(tf.mul(steep, tf.sub(1, gate)), 1)) };
  },
});

/** x sigmoid(x). */
export const SILU = silu(1);

/** x sigmoid(1.702 x), CLIP's approximation of GELU. */
export const GELU_QUICK = silu(1.702);
