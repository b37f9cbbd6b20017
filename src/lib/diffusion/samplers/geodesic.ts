/**
 * Euler's steps along the sphere, of a network that was trained on the geodesic path (RJF, arXiv 2602.10099): each
 * follows the great circle that the velocity points along, so that no position ever changes its length. Checked against
 * the published code.
 */
import type { Predictor, Values } from '../guidance.js';
import { odeNotes, SOLVER } from './ode.js';
import { describeShift, onHost, STEPS, sampler, TIME_SHIFT } from './sampler.js';
import { shiftedTimes } from './time-grid.js';

/** Added to the length of a velocity, which may be 0. */
const EPSILON = 1e-6;

export interface GeodesicOptions {
  steps: number;
  /** Moves the steps towards the noise (see shiftedTimes); default 1, evenly spaced. */
  timeShift?: number;
  /** Numbers of a channel of one row, h * w. */
  channelSize: number;
  rows: number;
}

/** Calls `change` with the channels of every position of states [N, C, h, w]. */
function atPositions(
  states: Float64Array,
  { rows, channelSize }: Pick<GeodesicOptions, 'rows' | 'channelSize'>,
  change: (at: (channel: number) => number, channels: number) => void,
): void {
  const rowSize = states.length / rows;
  for (let row = 0; row < rows; row++) {
    for (let position = 0; position < channelSize; position++) {
      change((channel) => row * rowSize + channel * channelSize + position, rowSize / channelSize);
    }
  }
}

/**
 * Integrates the velocity, of vectors of length 1, from noise at t = 1 to data at t = 0. `latents` [N, C, h, w] is the
 * noise, of any length; returns samples of length sqrt(C) at each position, of the same shape.
 */
export async function sampleGeodesic(
  velocity: Predictor,
  latents: Values,
  options: GeodesicOptions,
): Promise<Float64Array> {
  const times = shiftedTimes(0, options.steps + 1, options.timeShift ?? 1);
  const states = new Float64Array(latents);
  const lengthAt = (values: ArrayLike<number>, at: (channel: number) => number, channels: number): number => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) sum += values[at(channel)] ** 2;
    return Math.sqrt(sum);
  };
  atPositions(states, options, (at, channels) => {
    const factor = Math.sqrt(channels) / lengthAt(states, at, channels);
    for (let channel = 0; channel < channels; channel++) states[at(channel)] *= factor;
  });
  for (let step = 0; step < options.steps; step++) {
    const [t, next] = [times[step], times[step + 1]];
    const moving = new Float64Array(await velocity(new Float32Array(states), t, t));
    atPositions(states, options, (at, channels) => {
      let outward = 0; // the part of the velocity that leaves the sphere
      for (let channel = 0; channel < channels; channel++) outward += moving[at(channel)] * states[at(channel)];
      for (let channel = 0; channel < channels; channel++) {
        moving[at(channel)] -= (outward / channels) * states[at(channel)];
      }
      const speed = lengthAt(moving, at, channels) + EPSILON;
      const angle = speed * (next - t);
      const along = (Math.sin(angle) / speed) * Math.sqrt(channels);
      for (let channel = 0; channel < channels; channel++) {
        states[at(channel)] = Math.cos(angle) * states[at(channel)] + along * moving[at(channel)];
      }
      const factor = Math.sqrt(channels) / lengthAt(states, at, channels);
      for (let channel = 0; channel < channels; channel++) states[at(channel)] *= factor;
    });
  }
  return states;
}

/** The probability flow along the sphere. */
export const geodesicOde = sampler({
  name: 'ode',
  of: 'SiT',
  mode: 'ode',
  path: 'geodesic',
  solvers: ['euler'],
  words: 'the ODE',
  options: { solver: SOLVER, steps: STEPS, timeShift: TIME_SHIFT },
  defaults: ({ timeShift }) => ({ solver: 'euler' as 'euler' | 'heun' | 'dopri5', steps: 50, timeShift }),
  sample: (velocity, { states, rows, channelSize }, { steps, timeShift }, space) =>
    sampleGeodesic(onHost(velocity, space, rows), states, { steps, timeShift, rows, channelSize }),
  describe: ({ steps, timeShift }) => ({
    mode: 'ode',
    solver: 'euler',
    path: 'geodesic',
    steps,
    ...describeShift(timeShift),
  }),
  published: odeNotes,
});
