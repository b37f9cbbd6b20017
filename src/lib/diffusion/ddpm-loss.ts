/**
 * The hybrid loss of improved DDPM (arXiv 2102.09672, section 3.1), with which DiT is trained, as tensor operations.
 */
import { detach, tf } from '../engine/index.js';
import { type DdpmSchedule, ddpmSchedule } from './ddpm-schedule.js';

/** What noising and the loss need of the schedule at the steps of a batch, all [B, 1, 1, 1]. */
interface StepTensors {
  /** x_t = signal x + noise e. */
  signal: tf.Tensor;
  noise: tf.Tensor;
  /** The weight of (e_predicted - e) in the difference of the two posterior means. */
  meanShift: tf.Tensor;
  /** Bounds of the log variance; the lower one is that of the true posterior. */
  lowerLogVariance: tf.Tensor;
  upperLogVariance: tf.Tensor;
}

const full: DdpmSchedule = ddpmSchedule();
const TABLES: Readonly<Record<keyof StepTensors, Float64Array>> = {
  signal: full.alphasCumprod.map(Math.sqrt),
  noise: full.alphasCumprod.map((product) => Math.sqrt(1 - product)),
  meanShift: full.posteriorOnData.map((weight, t) => -weight * Math.sqrt(1 / full.alphasCumprod[t] - 1)),
  lowerLogVariance: full.posteriorLogVariance,
  upperLogVariance: full.betas.map(Math.log),
};

/** `t` [B] int32 steps of the process of 1000. */
function stepTensors(t: tf.Tensor): StepTensors {
  const pick = (table: Float64Array) => tf.reshape(tf.gather(tf.tensor1d(new Float32Array(table)), t), [-1, 1, 1, 1]);
  const entries = Object.entries(TABLES).map(([name, table]) => [name, pick(table)]);
  return Object.fromEntries(entries) as StepTensors;
}

/** Noises clean samples `x` with `noise`, both [B, C, h, w], to the steps `t` [B] int32: [B, C, h, w]. */
export function diffuse(x: tf.Tensor, noise: tf.Tensor, t: tf.Tensor): tf.Tensor {
  const step = stepTensors(t);
  return tf.add(tf.mul(step.signal, x), tf.mul(step.noise, noise));
}

/**
 * The squared error of the predicted noise, and the variational bound that teaches the variance alone (no gradient
 * flows into its mean), in bits per dimension; both [B], and the loss is their sum.
 *
 * @param prediction the network's output at x_t, [B, 2C, h, w]: the noise, then the place of the log variance between
 *   its bounds, in [-1, 1].
 * @param x clean samples in [-1, 1] and `noise`, [B, C, h, w]; `t` [B] int32.
 */
export function ddpmLoss(
  prediction: tf.Tensor,
  x: tf.Tensor,
  noise: tf.Tensor,
  t: tf.Tensor,
): { squaredError: tf.Tensor; bound: tf.Tensor } {
  const step = stepTensors(t);
  const [predictedNoise, place] = tf.split(prediction, 2, 1); // [B, C, h, w] each
  const error = tf.sub(predictedNoise, noise); // [B, C, h, w]
  const share = tf.mul(tf.add(place, 1), 0.5);
  const range = tf.sub(step.upperLogVariance, step.lowerLogVariance);
  const logVariance = tf.add(step.lowerLogVariance, tf.mul(share, range)); // [B, C, h, w]

  // How far the predicted posterior mean lies from the true one: both are linear in the noise that each believes in.
  const shift = tf.mul(step.meanShift, detach(error)); // [B, C, h, w]
  const divergence = perSample(gaussianDivergence(step.lowerLogVariance, shift, logVariance)); // [B]
  const codeLength = perSample(discretisedCodeLength(x, shift, logVariance)); // [B]
  return {
    squaredError: perSample(tf.square(error)), // [B]
    bound: tf.div(tf.where(tf.equal(t, 0), codeLength, divergence), Math.LN2), // [B]
  };
}

const perSample = (values: tf.Tensor): tf.Tensor => tf.mean(values, [1, 2, 3]);

/** KL(N(m, exp(trueLogVariance)) || N(m + shift, exp(logVariance))) in nats. */
function gaussianDivergence(trueLogVariance: tf.Tensor, shift: tf.Tensor, logVariance: tf.Tensor): tf.Tensor {
  const difference = tf.sub(trueLogVariance, logVariance);
  const distance = tf.mul(tf.square(shift), tf.exp(tf.neg(logVariance)));
  return tf.mul(tf.sub(tf.add(tf.exp(difference), distance), tf.add(difference, 1)), 0.5);
}

const HALF_BIN = 1 / 255;
/** The official code takes no probability to be smaller than 1e-12. */
const LONGEST_CODE = -Math.log(1e-12);
const ROOT_2_OVER_PI = Math.sqrt(2 / Math.PI);

/**
 * The nats that `x`, in steps of 2/255, takes under N(x + shift, exp(logVariance)). The ends of [-1, 1] own the tails.
 *
 * With the official approximation (1 + tanh a(z)) / 2 of the distribution function, the probability of a bin is
 * (tanh A - tanh B) / 2 = sinh(A - B) / (2 cosh A cosh B). In f32 the difference would be noise; its logarithm is not.
 */
function discretisedCodeLength(x: tf.Tensor, shift: tf.Tensor, logVariance: tf.Tensor): tf.Tensor {
  const inverseDeviation = tf.exp(tf.mul(logVariance, -0.5));
  const middle = tf.neg(tf.mul(inverseDeviation, shift));
  const half = tf.mul(inverseDeviation, HALF_BIN);
  const [above, below] = [tanhArgument(tf.add(middle, half)), tanhArgument(tf.sub(middle, half))];
  // A - B, of which the cubic terms are divided by z_A - z_B = 2 half.
  const cubics = tf.add(tf.mul(tf.square(middle), 3), tf.square(half));
  const difference = tf.mul(tf.mul(half, 2 * ROOT_2_OVER_PI), tf.add(tf.mul(cubics, 0.044715), 1));
  const inside = tf.sub(tf.add(logCosh(above), tf.add(logCosh(below), Math.LN2)), logSinh(difference));
  const leftTail = tf.softplus(tf.mul(above, -2));
  const rightTail = tf.softplus(tf.mul(below, 2));
  const length = tf.where(tf.less(x, -0.999), leftTail, tf.where(tf.greater(x, 0.999), rightTail, inside));
  return tf.minimum(length, LONGEST_CODE);
}

/** a(z) of the distribution function (1 + tanh a(z)) / 2. */
const tanhArgument = (z: tf.Tensor): tf.Tensor =>
  tf.mul(tf.mul(z, ROOT_2_OVER_PI), tf.add(tf.mul(tf.square(z), 0.044715), 1));

const logCosh = (x: tf.Tensor): tf.Tensor => tf.sub(tf.add(x, tf.softplus(tf.mul(x, -2))), Math.LN2);

/** log sinh x of positive x. */
const logSinh = (x: tf.Tensor): tf.Tensor => tf.sub(tf.add(x, tf.log(tf.sub(1, tf.exp(tf.mul(x, -2))))), Math.LN2);
