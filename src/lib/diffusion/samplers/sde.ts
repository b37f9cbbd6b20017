/**
 * Euler-Maruyama on the reverse-time SDE that shares the interpolant's marginals (SiT, arXiv 2401.08740, section 2.3).
 */
import { UsageError } from '../../errors.js';
import { choice, number } from '../../options/option.js';
import type { Predictor, Values } from '../guidance.js';
import { type FlatPath, type Interpolant, interpolants, type PathName, scoreWeights } from '../interpolant.js';
import { hostSpace, type Space } from '../space.js';
import { DIFFUSION, type DiffusionForm } from './diffusion-form.js';
import { type Described, describeShift, STEPS, sampler, shiftNote, stepsNote, TIME_SHIFT } from './sampler.js';
import { shiftedTimes } from './time-grid.js';

/** The length of the last step, to t = 0, in the official code. */
const LAST_STEP_SIZE = 0.04;

/**
 * How the last step to t = 0 is taken: along the drift of the SDE (`mean`, the official choice), along the velocity
 * (`euler`), to the posterior mean (`tweedie`), or not at all (`none`): then the noisy steps reach t = 0 themselves.
 */
export type LastStep = 'mean' | 'euler' | 'tweedie' | 'none';

export interface SdeOptions {
  path: PathName;
  steps: number;
  /** Default `linear`: w(t) = 2 t, as in REPA's code (its paper says w = sigma). */
  diffusion?: DiffusionForm;
  /** Scales w(t), as the original SiT's diffusion-norm does; default 1. */
  diffusionNorm?: number;
  lastStep?: LastStep;
  /** Time of the last step, in (0, 1); default 0.04. */
  lastStepSize?: number;
  /** Moves the steps towards the noise (see shiftedTimes); default 1, evenly spaced. The last one keeps its length. */
  timeShift?: number;
  /** Fills `out` with standard normals for one row of the batch at one step. */
  noise: (out: Float64Array, row: number, step: number) => void;
  /** Called after each step with the part of the way done, in (0, 1]. */
  onProgress?: (fraction: number) => void;
}

/**
 * Integrates dx = (v - w s / 2) dt + sqrt(w) dW backwards in `steps` steps, as REPA's `euler_maruyama_sampler` does:
 * `steps - 1` equal noisy steps from t = 1 to 0.04, and a last one without noise. The state is f64, the network sees
 * f32. As in the original SiT, leaving out the last step leaves `steps - 1` steps, all noisy.
 *
 * `latents` [rows, C, h, w] is the noise at t = 1; returns the samples, of the same shape.
 */
export async function sampleSde<State = Values, Input = Float32Array>(
  velocity: Predictor<number, State, Input>,
  latents: State,
  rows: number,
  options: SdeOptions,
  space: Space<State, Input> = hostSpace(),
): Promise<Float64Array> {
  const interpolant = interpolants[options.path];
  const { diffusion = 'linear', diffusionNorm = 1, lastStep = 'mean', lastStepSize = LAST_STEP_SIZE } = options;
  const diffusionAt = (t: number): number => DIFFUSION[diffusion](t, interpolant(t), diffusionNorm);
  const end = lastStep === 'none' ? 0 : lastStepSize;
  const times = shiftedTimes(end, options.steps, options.timeShift ?? 1);
  const size = space.sizeOf(latents, rows);
  let x = latents; // [rows, C, h, w]

  for (let step = 0; step < options.steps - 1; step++) {
    const t = times[step];
    const dt = times[step + 1] - t;
    const v = await velocity(space.single(x), t, t);
    const w = diffusionAt(t);
    const drift = reverseDrift(interpolant, t, w);
    const noiseScale = Math.sqrt(w) * Math.sqrt(-dt);
    const noise = new Float64Array(rows * size); // [rows, C, h, w]
    for (let row = 0; row < rows; row++) options.noise(noise.subarray(row * size, (row + 1) * size), row, step);
    const drifted = space.combine([drift.onVelocity, drift.onState], [v, x]);
    x = space.combine([1, dt, noiseScale], [x, drifted, space.from(noise, rows)]);
    space.keep(x);
    options.onProgress?.((step + 1) / (lastStep === 'none' ? options.steps - 1 : options.steps));
  }

  if (lastStep === 'none') return space.read(x);
  const v = await velocity(space.single(x), end, end);
  const last = lastStepWeights(interpolant, end, lastStep, diffusionAt(end));
  options.onProgress?.(1);
  return space.read(space.combine([last.onState, last.onVelocity], [x, v]));
}

/** A linear function of the state and the velocity. */
interface Weights {
  onVelocity: number;
  onState: number;
}

/** The drift v - w s / 2. */
function reverseDrift(interpolant: Interpolant, t: number, w: number): Weights {
  const score = scoreWeights(interpolant(t));
  return { onVelocity: 1 - 0.5 * w * score.onVelocity, onState: -0.5 * w * score.onState };
}

/** The state at 0, as the step from `t` gives it. */
function lastStepWeights(
  interpolant: Interpolant,
  t: number,
  kind: Exclude<LastStep, 'none'>,
  diffusion: number,
): Weights {
  if (kind === 'tweedie') {
    // E[x | x_t] = (x_t + sigma^2 s) / alpha
    const path = interpolant(t);
    const score = scoreWeights(path);
    const variance = path.sigma ** 2;
    return {
      onVelocity: (variance * score.onVelocity) / path.alpha,
      onState: (1 + variance * score.onState) / path.alpha,
    };
  }
  const drift = reverseDrift(interpolant, t, kind === 'mean' ? diffusion : 0);
  return { onVelocity: -t * drift.onVelocity, onState: 1 - t * drift.onState };
}

interface SdeSettings extends Record<string, unknown> {
  path: FlatPath;
  diffusion: Exclude<DiffusionForm, 'sbdm'>;
  diffusionNorm: number;
  lastStep: LastStep;
  lastStepSize: number;
  steps: number;
  timeShift: number;
}

/** How REPA's sampler is called for its published numbers. */
const PUBLISHED: readonly [string, unknown][] = [
  ['diffusion', 'linear'],
  ['diffusion_norm', 1],
  ['last_step', 'mean'],
  ['last_step_size', LAST_STEP_SIZE],
];

function sdeNotes(described: Described): string[] {
  const others = PUBLISHED.filter(([name, published]) => described[name] !== published);
  return [
    ...stepsNote(described),
    ...others.map(
      ([name, published]) =>
        `the sampler's ${name} is ${described[name] ?? 'none'}; that of published numbers is ${published}`,
    ),
    ...shiftNote(described),
  ];
}

/** The reverse-time SDE: the sampler of REPA's published numbers. */
export const sde = sampler({
  name: 'sde',
  of: 'SiT',
  mode: 'sde',
  words: 'the SDE',
  options: {
    diffusion: choice(
      '--diffusion <form>',
      "the SDE's w(t), named as SiT names them",
      ['linear', 'sigma', 'constant', 'decreasing', 'increasing-decreasing'],
      { defaultText: "linear, which is 2 t, as in REPA's code" },
    ),
    diffusionNorm: number('--diffusion-norm <n>', "what scales the SDE's w(t)", { min: 0, defaultText: '1' }),
    lastStep: choice(
      '--last-step <how>',
      'of the SDE: along its drift (mean), along the velocity, to the posterior mean, or none',
      ['mean', 'euler', 'tweedie', 'none'],
      { defaultText: 'mean' },
    ),
    lastStepSize: number('--last-step-size <t>', 'time of that step', {
      min: 0.001,
      max: 0.999,
      defaultText: '0.04',
      needs: { words: 'a last step', holds: ({ lastStep }: { lastStep?: LastStep }) => lastStep !== 'none' },
    }),
    steps: STEPS,
    timeShift: TIME_SHIFT,
  },
  defaults: ({ path, timeShift }): SdeSettings => ({
    path: path as FlatPath, // which the list chooses it by
    diffusion: 'linear',
    diffusionNorm: 1,
    lastStep: 'mean',
    lastStepSize: LAST_STEP_SIZE,
    steps: 50,
    timeShift,
  }),
  check({ steps }) {
    if (steps === 1) throw new UsageError('the SDE takes at least 2 steps');
  },
  sample: (velocity, { states, rows, noise }, settings, space) =>
    sampleSde(velocity, space.from(states, rows), rows, { ...settings, noise }, space),
  describe: ({ diffusion, diffusionNorm, lastStep, lastStepSize, steps, timeShift }) => ({
    mode: 'sde',
    diffusion,
    diffusion_norm: diffusionNorm,
    last_step: lastStep,
    ...(lastStep === 'none' ? {} : { last_step_size: lastStepSize }),
    steps,
    ...describeShift(timeShift),
  }),
  published: sdeNotes,
});
