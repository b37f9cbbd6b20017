import * as tf from '../tfjs.js';
import { runKernel } from './kernel.js';

/** How a window moves over an image: the stride of both axes; zero padding [top, left, bottom, right]. */
export interface Window {
  stride: number;
  padding: readonly [number, number, number, number];
}

/**
 * Convolution (cross-correlation, as in PyTorch).
 * @param x [B, I, H, W]
 * @param weight [O, I, kh, kw]
 * @param bias [O]
 * @returns [B, O, h, w]
 */
export function conv2d(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor | null, window: Window): tf.Tensor {
  tf.util.assert(
    x.rank === 4 && weight.rank === 4 && x.shape[1] === weight.shape[1],
    () => `Error in conv2d: x of shape ${x.shape} does not fit a weight of shape ${weight.shape}.`,
  );
  const attributes = { ...window };
  const convolve = tf.customGrad((...parameters) => {
    const save = parameters.pop() as unknown as tf.GradSaveFunc;
    const [x, weight, bias = null] = parameters as tf.Tensor[];
    save([x, weight]);
    return {
      value: runKernel('Conv2dNchw', { x, weight, bias }, attributes),
      gradFunc(dy: tf.Tensor, [x, weight]: tf.Tensor[]) {
        const imageSize = { ...attributes, size: x.shape.slice(2) };
        const weightSize = { ...attributes, size: weight.shape.slice(2) };
        const gradients = [
          runKernel('Conv2dNchwInputGradient', { dy, weight }, imageSize),
          runKernel('Conv2dNchwWeightGradient', { x, dy }, weightSize),
        ];
        return bias ? [...gradients, tf.sum(dy, [0, 2, 3])] : gradients;
      },
    };
  });
  return bias ? convolve(x, weight, bias) : convolve(x, weight);
}

/** Each channel by a kernel of its own: x [B, C, H, W], weight [C, 1, kh, kw], bias [C]. No gradient. */
export const depthwiseConv2d = (x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, window: Window): tf.Tensor =>
  runKernel('DepthwiseConv2dNchw', { x, weight, bias }, { ...window });

/** Largest element of each `size` x `size` window; x [B, C, H, W]. No gradient. */
export const maxPool2d = (x: tf.Tensor, size: number, window: Window): tf.Tensor =>
  runKernel('MaxPoolNchw', { x }, { size, ...window });

/** Mean of each `size` x `size` window, in which padding counts as zeros or not at all; x [B, C, H, W]. No gradient. */
export const avgPool2d = (x: tf.Tensor, size: number, window: Window, countPadding: boolean): tf.Tensor =>
  runKernel('AvgPoolNchw', { x }, { size, countPadding, ...window });

/** Each pixel becomes 2 x 2 of its kind; x [B, C, H, W] to [B, C, 2H, 2W]. */
export function upsampleNearest2x(x: tf.Tensor): tf.Tensor {
  const [batch, channels, height, width] = x.shape;
  const upsample = tf.customGrad((...parameters) => ({
    value: runKernel('UpsampleNearest2x', { x: parameters[0] as tf.Tensor }),
    gradFunc(dy: tf.Tensor) {
      const blocks = tf.reshape(dy, [batch * channels, height, 2, width, 2]);
      return tf.reshape(tf.sum(blocks, [2, 4]), [batch, channels, height, width]);
    },
  }));
  return upsample(x);
}
