/**
 * The path along great circles (RJF, arXiv 2602.10099, section 4), for latents that are, at each position, a vector of
 * the same length, as an encoder's tokens are after their norm. Data x and noise e are taken to the unit sphere of a
 * position's channels, at the angle omega from each other:
 *
 *     u_t = (sin((1 - t) omega) x + sin(t omega) e) / sin(omega),    v = du_t / dt, along the sphere
 *     L = (sin(w) / w)^2 |v_theta - v|^2,    w = (1 - t) omega
 *
 * whose factor is the Jacobi field of an error at t that is carried on to the data.
 *
 * The network sees the state at the length that a standard normal has, sqrt(C) u_t, and predicts v, of which the part
 * along the sphere counts. Checked against the published code (fixture published/rjf): outputs, loss, gradients,
 * samples.
 */
import { tf } from '../engine/index.js';

/** The cosine of an angle stays this far from 1 and -1, where no single great circle joins the vectors. */
const NEAR = 1e-6;

/** Below this, sin(w) / w is 1. */
const SMALL = 1e-4;

/** Over the channels, [B, C, h, w] to [B, 1, h, w]. */
const dot = (a: tf.Tensor, b: tf.Tensor): tf.Tensor => tf.sum(tf.mul(a, b), 1, true);

/** `x` [B, C, h, w] scaled to length 1 at each position. */
const unit = (x: tf.Tensor): tf.Tensor => tf.div(x, tf.maximum(tf.sqrt(dot(x, x)), 1e-12));

/** Length of a state at each position. */
export const sphereRadius = (channels: number): number => Math.sqrt(channels);

/** The part of `moving` along the sphere at `state`; [B, C, h, w] each. */
export function alongSphere(moving: tf.Tensor, state: tf.Tensor): tf.Tensor {
  const outward = tf.div(dot(moving, state), state.shape[1]!); // [B, 1, h, w], times sqrt(C)
  return tf.sub(moving, tf.mul(outward, state));
}

/**
 * The state x_t, its velocity, and the weight of an error of that velocity.
 * `x` and `noise` [B, C, h, w], of any length, `t` [B, 1, 1, 1] or [B, 1, h, w]
 */
export function geodesic(x: tf.Tensor, noise: tf.Tensor, t: tf.Tensor) {
  const [data, start] = [unit(x), unit(noise)]; // [B, C, h, w]
  const omega = tf.acos(tf.clipByValue(dot(data, start), NEAR - 1, 1 - NEAR)); // [B, 1, h, w]
  const left = tf.mul(tf.sub(1, t), omega); // [B, 1, h, w]: the angle that is left to the data
  const gone = tf.mul(t, omega);
  const sine = tf.sin(omega);
  const mix = (ofData: tf.Tensor, ofNoise: tf.Tensor): tf.Tensor =>
    tf.div(tf.add(tf.mul(ofData, data), tf.mul(ofNoise, start)), sine); // [B, C, h, w]
  const xT = tf.mul(mix(tf.sin(left), tf.sin(gone)), sphereRadius(x.shape[1]!));
  const velocity = mix(tf.neg(tf.mul(omega, tf.cos(left))), tf.mul(omega, tf.cos(gone)));
  const ratio = tf.where(tf.less(left, SMALL), tf.onesLike(left), tf.div(tf.sin(left), tf.add(left, NEAR)));
  return { xT, velocity: alongSphere(velocity, xT), weight: tf.square(ratio) };
}
