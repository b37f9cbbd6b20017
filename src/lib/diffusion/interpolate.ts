/** The interpolant as tensor operations, for training. */
import { tf } from '../engine/index.js';
import { alongSphere, geodesic } from './geodesic.js';
import type { FlatPath, TrainingPath } from './interpolant.js';

type PathTensors = Record<'alpha' | 'sigma' | 'alphaPrime' | 'sigmaPrime', tf.Tensor>;

function pathTensors(path: FlatPath, t: tf.Tensor): PathTensors {
  if (path === 'linear') {
    return { alpha: tf.sub(1, t), sigma: t, alphaPrime: tf.scalar(-1), sigmaPrime: tf.scalar(1) };
  }
  const angle = tf.mul(t, Math.PI / 2);
  const [alpha, sigma] = [tf.cos(angle), tf.sin(angle)];
  return { alpha, sigma, alphaPrime: tf.mul(sigma, -Math.PI / 2), sigmaPrime: tf.mul(alpha, Math.PI / 2) };
}

/**
 * Noises a batch and gives the network's target.
 * @param x data, and `noise` e, [B, ...] each, such as latents [B, C, h, w]
 * @param t times [B], or [B, 1, h, w] of each pixel
 * @returns x_t = alpha x + sigma e and v = alpha' x + sigma' e, shaped as x; with the weight of v's error, if not 1
 */
export function interpolate(
  path: TrainingPath,
  x: tf.Tensor,
  noise: tf.Tensor,
  t: tf.Tensor,
): { xT: tf.Tensor; velocity: tf.Tensor; weight?: tf.Tensor } {
  const times = t.rank === 1 ? tf.reshape(t, [-1, ...x.shape.slice(1).map(() => 1)]) : t; // [B, 1, ...]
  if (path === 'geodesic') return geodesic(x, noise, times);
  const { alpha, sigma, alphaPrime, sigmaPrime } = pathTensors(path, times); // [B, 1, ...]
  return {
    xT: tf.add(tf.mul(alpha, x), tf.mul(sigma, noise)), // [B, ...]
    velocity: tf.add(tf.mul(alphaPrime, x), tf.mul(sigmaPrime, noise)), // [B, ...]
  };
}

/** The part of a predicted velocity that counts at a state, [B, C, h, w] each: on a sphere, the part along it. */
export const alongPath = (path: TrainingPath, predicted: tf.Tensor, state: tf.Tensor): tf.Tensor =>
  path === 'geodesic' ? alongSphere(predicted, state) : predicted;
