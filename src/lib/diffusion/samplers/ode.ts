/** Fixed-step solvers of the probability flow dx/dt = v(x, t), from noise at t = 1 to data at t = 0. */
import { choice } from '../../options/option.js';
import type { Predictor, Values } from '../guidance.js';
import { hostSpace, type Space } from '../space.js';
import { type Described, describeShift, STEPS, sampler, shiftNote, stepsNote, TIME_SHIFT } from './sampler.js';
import { shiftedTimes } from './time-grid.js';

export interface OdeOptions {
  solver: 'euler' | 'heun';
  steps: number;
  /** Moves the steps towards the noise (see shiftedTimes); default 1, evenly spaced. */
  timeShift?: number;
  /** Where to stop; default 0. The velocity of the `vp` path is infinite there, so it stops at 0.001. */
  endTime?: number;
  /** Called after each step with the part of the way done, in (0, 1]. */
  onProgress?: (fraction: number) => void;
}

/**
 * Integrates the velocity over `steps` steps, equal unless shifted, as REPA's `euler_sampler` does. The state is f64,
 * the network sees f32. Heun's method corrects each step with the velocity at its end, but not the last one, where t =
 * 0 would be outside the times the network was trained on; the corrector is guided when the step's start is.
 *
 * `latents` [N, C, h, w] is the noise; returns the samples, of the same shape.
 */
export async function sampleOde<State = Values, Input = Float32Array>(
  velocity: Predictor<number, State, Input>,
  latents: State,
  options: OdeOptions,
  space: Space<State, Input> = hostSpace(),
): Promise<Float64Array> {
  const times = shiftedTimes(options.endTime ?? 0, options.steps + 1, options.timeShift ?? 1);
  let x = latents;
  for (let step = 0; step < options.steps; step++) {
    const [t, next] = [times[step], times[step + 1]];
    const dt = next - t;
    const slope = await velocity(space.single(x), t, t);
    const ahead = space.combine([1, dt], [x, slope]);
    if (options.solver === 'heun' && step < options.steps - 1) {
      const slopeAhead = await velocity(space.single(ahead), next, t);
      x = space.combine([1, dt], [x, space.combine([0.5, 0.5], [slope, slopeAhead])]);
    } else {
      x = ahead;
    }
    space.keep(x);
    options.onProgress?.((step + 1) / options.steps);
  }
  return space.read(x);
}

/** The solver of the ODE: with fixed steps, or the one that chooses its own. */
export const SOLVER = choice('--solver <name>', 'of the ODE', ['euler', 'heun', 'dopri5'], { defaultText: 'euler' });

interface OdeSettings extends Record<string, unknown> {
  solver: 'euler' | 'heun' | 'dopri5';
  steps: number;
  timeShift: number;
}

/** Notes on samples of any solver of the ODE. */
export const odeNotes = (described: Described): string[] => [
  `the sampler is the ODE (${described.solver}); published numbers of REPA are of the SDE, and differ`,
  ...stepsNote(described),
  ...shiftNote(described),
];

/** The probability flow in steps of a fixed length. */
export const ode = sampler({
  name: 'ode',
  of: 'SiT',
  mode: 'ode',
  solvers: ['euler', 'heun'],
  words: 'the ODE',
  options: { solver: SOLVER, steps: STEPS, timeShift: TIME_SHIFT },
  defaults: ({ timeShift }): OdeSettings => ({ solver: 'euler', steps: 50, timeShift }),
  sample(velocity, { states, rows }, { solver, steps, timeShift }, space) {
    const options = { solver: solver === 'heun' ? solver : 'euler', steps, timeShift } as const;
    return sampleOde(velocity, space.from(states, rows), options, space);
  },
  describe: ({ solver, steps, timeShift }) => ({ mode: 'ode', solver, steps, ...describeShift(timeShift) }),
  published: odeNotes,
});
