import * as tf from '../tfjs.js';
import { runKernel, runKernels } from './kernel.js';

/**
 * (x - mean) / sqrt(variance + epsilon) over the last axis, without scale and shift.
 * @param x [..., D]
 */
export function layerNorm(x: tf.Tensor, epsilon: number): tf.Tensor {
  const normalise = tf.customGrad((...parameters) => {
    const [x, save] = parameters as unknown as [tf.Tensor, tf.GradSaveFunc];
    const [y, inverseDeviation] = runKernels('LayerNorm', { x }, { epsilon }); // [..., D], [..., 1]
    save([y, inverseDeviation]);
    return {
      value: y,
      gradFunc: (dy: tf.Tensor, [y, inverseDeviation]: tf.Tensor[]) => standardGradient(dy, y, inverseDeviation),
    };
  });
  return normalise(x);
}

/**
 * x / sqrt(mean(x^2) + epsilon) over the last axis, without scale (RMSNorm, arXiv 1910.07467).
 * @param x [..., D]
 */
export function rmsNorm(x: tf.Tensor, epsilon: number): tf.Tensor {
  const normalise = tf.customGrad((...parameters) => {
    const [x, save] = parameters as unknown as [tf.Tensor, tf.GradSaveFunc];
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon)) as tf.Tensor; // [..., 1]
    const y = tf.mul(x, inverse);
    save([y, inverse]);
    return {
      value: y,
      gradFunc(dy: tf.Tensor, [y, inverse]: tf.Tensor[]) {
        const slope = tf.mean(tf.mul(dy, y), -1, true); // [..., 1]
        return tf.mul(tf.sub(dy, tf.mul(y, slope)), inverse);
      },
    };
  });
  return normalise(x);
}

/**
 * Group normalisation of images: each group of channels has mean 0 and variance 1, then each channel its scale and
 * shift.
 * @param x [B, C, H, W]
 * @param weight [C]
 * @param bias [C]
 */
export function groupNorm(
  x: tf.Tensor,
  groups: number,
  weight: tf.Tensor,
  bias: tf.Tensor,
  epsilon: number,
): tf.Tensor {
  const [, channels] = x.shape;
  tf.util.assert(
    x.rank === 4 && channels % groups === 0,
    () => `Error in groupNorm: x of shape ${x.shape} does not divide into ${groups} groups of channels.`,
  );
  const perChannel = (parameter: tf.Tensor) => tf.reshape(parameter, [1, channels, 1, 1]);
  return tf.add(tf.mul(groupStandardise(x, groups, epsilon), perChannel(weight)), perChannel(bias));
}

function groupStandardise(x: tf.Tensor, groups: number, epsilon: number): tf.Tensor {
  const standardise = tf.customGrad((...parameters) => {
    const [x, save] = parameters as unknown as [tf.Tensor, tf.GradSaveFunc];
    const y = runKernel('GroupStandardise', { x }, { groups, epsilon });
    save([x, y]);
    return {
      value: y,
      gradFunc(dy: tf.Tensor, [x, y]: tf.Tensor[]) {
        const rows = (image: tf.Tensor) => tf.reshape(image, [x.shape[0], groups, -1]); // [B, G, C/G * H * W]
        const inverseDeviation = tf.rsqrt(tf.add(tf.moments(rows(x), -1, true).variance, epsilon)); // [B, G, 1]
        return tf.reshape(standardGradient(rows(dy), rows(y), inverseDeviation), x.shape);
      },
    };
  });
  return standardise(x);
}

/** Gradient of y = (x - mean) / deviation over the last axis. */
function standardGradient(dy: tf.Tensor, y: tf.Tensor, inverseDeviation: tf.Tensor): tf.Tensor {
  const mean = tf.mean(dy, -1, true);
  const slope = tf.mean(tf.mul(dy, y), -1, true);
  return tf.mul(tf.sub(tf.sub(dy, mean), tf.mul(y, slope)), inverseDeviation);
}
