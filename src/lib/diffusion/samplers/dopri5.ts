/**
 * Adaptive Dormand-Prince 5(4) for the probability flow, with the step-size control of Hairer, Norsett and Wanner,
 * Solving Ordinary Differential Equations I, section II.4 (starting step included).
 */
import { DataError } from '../../errors.js';
import { choice, number } from '../../options/option.js';
import type { Predictor, Values } from '../guidance.js';
import { hostSpace, type Space } from '../space.js';
import { odeNotes } from './ode.js';
import { sampler } from './sampler.js';

/** Those of the original SiT. */
export const DOPRI5_TOLERANCES = { absolute: 1e-6, relative: 1e-3 } as const;

export interface Dopri5Options {
  /** Default {@link DOPRI5_TOLERANCES}. */
  absoluteTolerance?: number;
  relativeTolerance?: number;
  /** Where to stop; default 0. The velocity of the `vp` path is infinite there, so it stops at 0.001. */
  endTime?: number;
  /**
   * Whether the error that steps grow by is at least the rounding error of f32. The first steps are so short that their
   * error is nothing but rounding, which differs from batch to batch. The official code has no such bound.
   */
  boundByRounding?: boolean;
  /** Called after each attempt at a step with the part of the way that the slowest row has done, in [0, 1]. */
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

/** The rounding error of a velocity, relative: a few units of the last place of f32. */
const ROUNDING = 2 ** -20;

const SAFETY = 0.9;
const LARGEST_GROWTH = 10;
const LARGEST_SHRINKAGE = 0.2;

/**
 * Integrates the velocity from t = 1 to the end time. The state is f64, the network sees f32. Each row has its own time
 * and steps, chosen by the root mean square error over the row alone, so that its result does not depend on the rows
 * sampled with it; the network sees all rows at once, each at its own time, and rows that are finished idle until the
 * last one is. As in the torchdiffeq library, the last step goes past the end time and the result is interpolated
 * within it.
 *
 * `latents` [rows, C, h, w] is the noise; returns the samples, of the same shape. The velocity is asked with one time a
 * row; the step's time of a row that idles is NaN.
 *
 * @throws DataError when no step is small enough, as when the network gives NaN.
 */
export async function sampleDopri5<State = Values, Input = Float32Array>(
  velocity: Predictor<Float64Array, State, Input>,
  latents: State,
  rows: number,
  options: Dopri5Options = {},
  space: Space<State, Input> = hostSpace(),
): Promise<Float64Array> {
  const { absoluteTolerance = DOPRI5_TOLERANCES.absolute, relativeTolerance = DOPRI5_TOLERANCES.relative } = options;
  const { endTime = 0, boundByRounding = false } = options;
  const field: Field<State, Input> = {
    velocity,
    space,
    rows,
    tolerance: { absolute: absoluteTolerance, relative: relativeTolerance },
  };

  let x = latents; // [N, C, h, w]
  let samples = latents; // [N, C, h, w], of rows that are finished
  const t = new Float64Array(rows).fill(1);
  const stepTime = t.slice(); // t, and NaN of rows that are finished
  let slope: State = await velocity(space.single(x), t, t); // [N, C, h, w]
  const size = await firstStepSizes(field, x, slope);
  while (!stepTime.every(Number.isNaN)) {
    const dt = size.map((step, row) => (Number.isNaN(stepTime[row]) ? 0 : -step));
    if (dt.some((step, row) => step !== 0 && !(t[row] + step < t[row]))) {
      throw new DataError(`dopri5 cannot step on from t = ${Math.max(...t)}: the velocity is not finite or not smooth`);
    }
    const { slopes, ahead } = await tryStep(field, x, slope, { t, dt, stepTime });
    const error = space.combine(scaled(ERROR_WEIGHTS, dt), slopes);
    const ratio = await space.ratios(error, [x, ahead], field.tolerance, rows);
    const steepness = boundByRounding ? await space.ratios(slope, [x, x], field.tolerance, rows) : undefined;
    const isTaken = Array.from(ratio, (value, row) => dt[row] !== 0 && value <= 1);
    const isLast = isTaken.map((taken, row) => taken && t[row] - size[row] <= endTime);
    const goesOn = isTaken.map((taken, row) => taken && !isLast[row]);
    if (isLast.includes(true)) {
      const fraction = t.map((time, row) => (time - endTime) / size[row]);
      samples = space.choose(isLast, interpolated(space, x, ahead, slopes, dt, fraction), samples);
    }
    if (goesOn.includes(true)) {
      x = space.choose(goesOn, ahead, x);
      slope = space.choose(goesOn, slopes[6], slope);
    }
    space.keep(x, slope, samples);
    for (let row = 0; row < rows; row++) {
      if (dt[row] === 0) continue;
      if (isTaken[row]) t[row] -= size[row];
      if (isTaken[row]) stepTime[row] = isLast[row] ? Number.NaN : t[row];
      const rounded = steepness ? ROUNDING * size[row] * steepness[row] : 0;
      size[row] *= stepFactor(Math.max(ratio[row], Math.min(1, rounded)));
    }
    const slowest = Math.max(...stepTime.map((time) => (Number.isNaN(time) ? endTime : time)));
    options.onProgress?.((1 - slowest) / (1 - endTime));
  }
  return space.read(samples);
}

/** What is integrated, where, and how closely. */
interface Field<State, Input> {
  velocity: Predictor<Float64Array, State, Input>;
  space: Space<State, Input>;
  rows: number;
  tolerance: { absolute: number; relative: number };
}

/** Where each row is, how far it tries to go, and the time of its step. */
interface Attempt {
  t: Float64Array; // [N]
  dt: Float64Array; // [N]
  stepTime: Float64Array; // [N]
}

/** The state one step on, and the slopes of the seven stages, of which the last lies there. */
async function tryStep<State, Input>(
  { velocity, space }: Field<State, Input>,
  x: State,
  slope: State,
  { t, dt, stepTime }: Attempt,
) {
  const slopes = [slope];
  let ahead = x;
  for (const { node, weights } of STAGES) {
    ahead = space.combine([1, ...scaled(weights, dt)], [x, ...slopes]);
    const times = t.map((time, row) => time + node * dt[row]);
    slopes.push(await velocity(space.single(ahead), times, stepTime));
  }
  return { slopes, ahead };
}

/** Weights of slopes times the dt of each row. */
const scaled = (weights: readonly number[], dt: Float64Array): Float64Array[] =>
  weights.map((weight) => dt.map((step) => step * weight));

/**
 * The state a `fraction` of the way through each row's step: the quartic through start, middle and end with the slopes
 * of both ends.
 */
function interpolated<State, Input>(
  space: Space<State, Input>,
  x: State,
  ahead: State,
  slopes: readonly State[],
  dt: Float64Array,
  fraction: Float64Array,
): State {
  const combine: typeof space.combine = (weights, terms) => space.combine(weights, terms);
  const middle = combine([1, ...scaled(MIDDLE_WEIGHTS, dt)], [x, ...slopes]); // Shampine's
  const [before, after] = [combine([dt], [slopes[0]]), combine([dt], [slopes[6]])];
  const change = combine([1, -1], [after, before]);
  const quartic = combine([2, -8, 16], [change, combine([1, 1], [ahead, x]), middle]);
  const cubic = combine([5, -3, 18, 14, -32], [before, after, x, ahead, middle]);
  const square = combine([1, -4, -11, -5, 16], [after, before, x, ahead, middle]);
  return [quartic, cubic, square, before, x].reduce((sum, coefficient) => combine([1, fraction], [coefficient, sum]));
}

/** How much to scale the step so that the next error is just within tolerance. An accepted step never shrinks. */
function stepFactor(ratio: number): number {
  if (!Number.isFinite(ratio)) return LARGEST_SHRINKAGE;
  const wanted = SAFETY * ratio ** -0.2;
  return Math.min(LARGEST_GROWTH, Math.max(wanted, ratio < 1 ? 1 : LARGEST_SHRINKAGE));
}

/** For each row, a step so short that an Euler step of it changes the slope by about a hundredth of the tolerance. */
async function firstStepSizes<State, Input>(
  { velocity, space, rows, tolerance }: Field<State, Input>,
  x: State,
  slope: State,
): Promise<Float64Array> {
  const norms = async (values: State): Promise<Float64Array> => space.ratios(values, [x, x], tolerance, rows);
  const [stateNorms, slopeNorms] = [await norms(x), await norms(slope)];
  const trials = stateNorms.map((stateNorm, row) =>
    stateNorm < 1e-5 || slopeNorms[row] < 1e-5 ? 1e-6 : (0.01 * stateNorm) / slopeNorms[row],
  );
  const backwards = trials.map((trial) => -trial);
  const ahead = space.combine([1, backwards], [x, slope]);
  const times = backwards.map((dt) => 1 + dt);
  const slopeAhead = await velocity(space.single(ahead), times, new Float64Array(rows).fill(1));
  const changes = await norms(space.combine([1, -1], [slopeAhead, slope]));
  return trials.map((trial, row) => {
    const steepest = Math.max(slopeNorms[row], changes[row] / trial);
    const size = steepest <= 1e-15 ? Math.max(1e-6, trial * 1e-3) : (0.01 / steepest) ** 0.2;
    return Math.min(100 * trial, size);
  });
}

/**
 * Whose error chooses the steps: each image's own, or, as in the official code, that of the batch as if it were one
 * image.
 */
const STEP_CONTROLS = ['image', 'batch'] as const;

interface Dopri5Settings extends Record<string, unknown> {
  solver: 'dopri5';
  atol: number;
  rtol: number;
  stepControl: (typeof STEP_CONTROLS)[number];
}

/** The velocity of `rows` images that all take the same steps, as if they were one image. */
const together =
  <State, Input>(
    velocity: Predictor<Float64Array, State, Input>,
    rows: number,
  ): Predictor<Float64Array, State, Input> =>
  (x, [t], [stepTime]) =>
    velocity(x, new Float64Array(rows).fill(t), new Float64Array(rows).fill(stepTime));

/** The probability flow in steps of adaptive length. */
export const dopri5 = sampler({
  name: 'dopri5',
  of: 'SiT',
  mode: 'ode',
  solvers: ['dopri5'],
  words: 'dopri5',
  remark: ', which chooses its own steps',
  options: {
    atol: number('--atol <x>', 'absolute tolerance of dopri5, which steps by the error of each image', {
      min: 0,
      defaultText: '1e-6',
    }),
    rtol: number('--rtol <x>', 'relative tolerance of dopri5', { min: 0, defaultText: '1e-3' }),
    stepControl: choice(
      '--step-control <how>',
      'whose error chooses the steps of dopri5: of each image its own, or of the batch, as in the official code, which makes an image depend on the others',
      STEP_CONTROLS,
      { defaultText: 'image' },
    ),
  },
  defaults: (): Dopri5Settings => ({
    solver: 'dopri5',
    atol: DOPRI5_TOLERANCES.absolute,
    rtol: DOPRI5_TOLERANCES.relative,
    stepControl: 'image',
  }),
  sample(velocity, { states, rows }, { atol, rtol, stepControl }, space) {
    const tolerances = { absoluteTolerance: atol, relativeTolerance: rtol };
    const start = space.from(states, rows);
    if (stepControl === 'batch') return sampleDopri5(together(velocity, rows), start, 1, tolerances, space);
    return sampleDopri5(velocity, start, rows, { ...tolerances, boundByRounding: true }, space);
  },
  // Headers without step_control are older: then all images of a batch took the same steps.
  describe: ({ solver, atol, rtol, stepControl }) => ({
    mode: 'ode',
    solver,
    atol,
    rtol,
    steps: 'adaptive',
    step_control: stepControl,
  }),
  published: odeNotes,
});
