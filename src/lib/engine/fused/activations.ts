import * as tf from '../tfjs.js';
import { runKernel, runKernels } from './kernel.js';

/** An element-wise function of one kernel, with its derivative; apply it with {@link activate}. */
export interface Activation {
  readonly kernel: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** The value at x, and its gradient for that of the result: they have most of their work in common. */
  derive(x: tf.Tensor, dy: tf.Tensor): { value: tf.Tensor; dx: tf.Tensor };
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
      gradFunc: (dy: tf.Tensor, [x]: tf.Tensor[]) => activation.derive(x, dy).dx,
    };
  });
  return apply(x);
}

const gelu = (approximate: 'tanh' | 'none'): Activation => ({
  kernel: 'Gelu',
  attributes: { approximate },
  derive(x, dy) {
    const [value, dx] = runKernels('GeluGradient', { x, dy }, { approximate });
    return { value, dx };
  },
});

/** x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (arXiv 1606.08415). */
export const GELU_TANH = gelu('tanh');

/** x Phi(x), with Phi the normal distribution function (arXiv 1606.08415). */
export const GELU_ERF = gelu('none');

/** x sigmoid(steepness x). */
const silu = (steepness: number): Activation => ({
  kernel: 'Silu',
  attributes: { steepness },
  derive(x, dy) {
    const steep = tf.mul(x, steepness);
    const gate = tf.sigmoid(steep);
    const slope = tf.mul(gate, tf.add(tf.mul(steep, tf.sub(1, gate)), 1));
    return { value: tf.mul(x, gate), dx: tf.mul(dy, slope) };
  },
});

/** x sigmoid(x). */
export const SILU = silu(1);

/** x sigmoid(1.702 x), CLIP's approximation of GELU. */
export const GELU_QUICK = silu(1.702);
