/**
 * Adaptive Dormand-Prince 5(4) for the probability flow, with the step-size control of Hairer, Norsett and Wanner,
 * Solving Ordinary Differential Equations I, section II.4 (starting step included).
 */
import { DataError } from '../../errors.js';
import type { Predictor, Values } from '../guidance.js';

/** As the original SiT sets them. */
export const DOPRI5_TOLERANCES = { absolute: 1e-6, relative: 1e-3 } as const;

export interface Dopri5Options {
  /** Default {@link DOPRI5_TOLERANCES}. */
  absoluteTolerance?: number;
  relativeTolerance?: number;
  /** Where to stop; default 0. The velocity of the `vp` path is infinite there, so it stops at 0.001. */
  endTime?: number;
  /** Called after each accepted step with the part of the way done, in (0, 1]. */
  onProgress?: (fraction: number) => void;
}

const STAGES = [
  { node: 1 / 5, weights: [1 / 5] },
  { node: 3 / 10, weights: [3 / 40, 9 / 40] },
  { node: 4 / 5, weights: [44 / 45, -56 / 15, 32 / 9] },
  { node: 8 / 9, weights: [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729] },
  { node: 1, weights: [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656] },
  // The last stage is the solution itself: its slope is the first one of the next step.
  { node: 1, weights: [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84] },
];

/** Fifth-order minus embedded fourth-order weights, with Shampine's embedded formula. */
const ERROR_WEIGHTS = [
  35 / 384 - 1951 / 21600,
  0,
  500 / 1113 - 22642 / 50085,
  125 / 192 - 451 / 720,
  -2187 / 6784 + 12231 / 42400,
  11 / 84 - 649 / 6300,
  -1 / 60,
];

/** Shampine's fourth-order solution in the middle of the step. */
const MIDDLE_WEIGHTS = [
  6025192743 / 30085553152,
  0,
  51252292925 / 65400821598,
  -2691868925 / 45128329728,
  187940372067 / 1594534317056,
  -1776094331 / 19743644256,
  11237099 / 235043384,
].map((weight) => weight / 2);

const SAFETY = 0.9;
const LARGEST_GROWTH = 10;
const LARGEST_SHRINKAGE = 0.2;

/**
 * Integrates the velocity from t = 1 to the end time. The state is f64, the network sees f32. All rows take the same
 * steps, chosen by the root mean square error over the whole batch: unlike a fixed-step solver's, a row's result
 * depends (within the tolerance) on the rows sampled with it. As in the torchdiffeq library, the last step goes past the
 * end time and the result is interpolated within it.
 *
 * `latents` [N, C, h, w] is the noise; returns the samples, of the same shape.
 *
 * @throws DataError when no step is small enough, as when the network gives NaN.
 */
export async function sampleDopri5(
  velocity: Predictor,
  latents: Values,
  options: Dopri5Options = {},
): Promise<Float64Array> {
  const { absoluteTolerance = DOPRI5_TOLERANCES.absolute, relativeTolerance = DOPRI5_TOLERANCES.relative } = options;
  const { endTime = 0 } = options;
  const tolerance = (value: number): number => absoluteTolerance + relativeTolerance * Math.abs(value);

  let t = 1;
  let x: Float64Array = new Float64Array(latents);
  let slope = await velocity(new Float32Array(x), t, t);
  let size = await firstStepSize(velocity, x, slope, tolerance);
  for (;;) {
    if (!(t - size < t)) {
      throw new DataError(`dopri5 cannot step on from t = ${t}: the velocity is not finite or not smooth`);
    }
    const { slopes, ahead } = await tryStep(velocity, x, slope, t, -size);
    const error = addScaled(new Float64Array(x.length), slopes, ERROR_WEIGHTS, -size);
    const ratio = rootMeanSquare(error, (i) => tolerance(Math.max(Math.abs(x[i]), Math.abs(ahead[i]))));
    if (ratio <= 1) {
      options.onProgress?.(Math.min(1, (1 - t + size) / (1 - endTime)));
      if (t - size <= endTime) return interpolate(x, ahead, slopes, -size, (t - endTime) / size);
      t -= size;
      x = ahead;
      slope = slopes[6];
    }
    size *= stepFactor(ratio);
  }
}

/** The state one step on, and the slopes of the seven stages, of which the last lies there. */
async function tryStep(velocity: Predictor, x: Float64Array, slope: Values, t: number, dt: number) {
  const slopes = [slope];
  let ahead = x;
  for (const { node, weights } of STAGES) {
    ahead = addScaled(x, slopes, weights, dt);
    slopes.push(await velocity(new Float32Array(ahead), t + node * dt, t));
  }
  return { slopes, ahead };
}

/** The state a `fraction` of the way through a step: the quartic through start, middle and end with the slopes of both ends. */
function interpolate(x: Float64Array, ahead: Float64Array, slopes: readonly Values[], dt: number, fraction: number) {
  const middle = addScaled(x, slopes, MIDDLE_WEIGHTS, dt);
  return x.map((start, i) => {
    const [before, after] = [dt * slopes[0][i], dt * slopes[6][i]];
    const quartic = 2 * (after - before) - 8 * (ahead[i] + start) + 16 * middle[i];
    const cubic = 5 * before - 3 * after + 18 * start + 14 * ahead[i] - 32 * middle[i];
    const square = after - 4 * before - 11 * start - 5 * ahead[i] + 16 * middle[i];
    return start + fraction * (before + fraction * (square + fraction * (cubic + fraction * quartic)));
  });
}

/** How much to scale the step so that the next error is just within tolerance. An accepted step never shrinks. */
function stepFactor(ratio: number): number {
  if (!Number.isFinite(ratio)) return LARGEST_SHRINKAGE;
  const wanted = SAFETY * ratio ** -0.2;
  return Math.min(LARGEST_GROWTH, Math.max(wanted, ratio < 1 ? 1 : LARGEST_SHRINKAGE));
}

/** A step on which an explicit Euler step would change the slope by about one hundredth of the tolerance. */
async function firstStepSize(
  velocity: Predictor,
  x: Float64Array,
  slope: Values,
  tolerance: (value: number) => number,
): Promise<number> {
  const scale = (i: number): number => tolerance(x[i]);
  const stateNorm = rootMeanSquare(x, scale);
  const slopeNorm = rootMeanSquare(slope, scale);
  const trial = stateNorm < 1e-5 || slopeNorm < 1e-5 ? 1e-6 : (0.01 * stateNorm) / slopeNorm;
  const slopeAhead = await velocity(new Float32Array(addScaled(x, [slope], [1], -trial)), 1 - trial, 1);
  const curvature =
    rootMeanSquare(
      slopeAhead.map((value, i) => value - slope[i]),
      scale,
    ) / trial;
  const steepest = Math.max(slopeNorm, curvature);
  const size = steepest <= 1e-15 ? Math.max(1e-6, trial * 1e-3) : (0.01 / steepest) ** 0.2;
  return Math.min(100 * trial, size);
}

/** x + dt sum_k weights[k] slopes[k]. */
function addScaled(x: Float64Array, slopes: readonly Values[], weights: readonly number[], dt: number): Float64Array {
  const out = new Float64Array(x);
  for (const [k, weight] of weights.entries()) {
    const slope = slopes[k];
    for (let i = 0; weight !== 0 && i < out.length; i++) out[i] = out[i] + dt * weight * slope[i];
  }
  return out;
}

function rootMeanSquare(values: Values, scale: (i: number) => number): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] / scale(i)) ** 2;
  return Math.sqrt(sum / values.length);
}
