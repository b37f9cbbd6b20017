/** How training draws its times: t in (0, 1), or steps of DDPM. */
import { fillNormal, fillUniform, PURPOSE, randomInteger } from '../numbers/random.js';
import { DDPM_STEPS } from './ddpm-schedule.js';
import type { TrainingPath } from './interpolant.js';

export type TimeDistribution = 'uniform' | 'lognormal';

/**
 * Maps a standard normal draw to a time: the noise-to-signal ratio sigma/alpha is exp(normal), as in EDM
 * (arXiv 2206.00364), solved for t on the path: s / (1 + s) on the linear path, 2/pi atan(s) on the cosine path. On the
 * geodesic path, whose angle is near pi / 2, RJF draws as on the linear one.
 */
export function lognormalTime(normal: number, path: TrainingPath): number {
  const ratio = Math.exp(normal);
  return path === 'cosine' ? (2 / Math.PI) * Math.atan(ratio) : ratio / (1 + ratio);
}

/**
 * The time t moved towards the noise (t = 1): s t / (1 + (s - 1) t), after Stable Diffusion 3 (arXiv 2403.03206,
 * equation 23). Below 1, s moves it towards the data.
 */
export const shiftTime = (t: number, shift: number): number => (shift * t) / (1 + (shift - 1) * t);

/** Values of a latent for which no shift is needed (SR-DiT, arXiv 2512.12386; RAE, arXiv 2510.11690). */
const UNSHIFTED_SIZE = 4096;

/** The shift for latents of `size` values: the more of them, the more noise it takes to hide an image. */
export const shiftForSize = (size: number): number => Math.sqrt(size / UNSHIFTED_SIZE);

/**
 * What times to draw: those of step `step` for the samples `firstRow ... firstRow + rows - 1` of the global
 * batch. A time depends only on the seed, the step and the row, never on how the batch is split.
 */
export interface TimeDraw {
  seed: number;
  step: number;
  firstRow: number;
  rows: number;
}

/**
 * Times t in (0, 1) for a velocity network: [rows]. Lognormal ones are made of normals with this mean and deviation.
 */
export function drawTimes(
  distribution: TimeDistribution,
  path: TrainingPath,
  draw: TimeDraw,
  { mean = 0, deviation = 1 }: { mean?: number; deviation?: number } = {},
): Float32Array {
  const times = new Float32Array(draw.rows);
  const fill = distribution === 'uniform' ? fillUniform : fillNormal;
  for (let row = 0; row < draw.rows; row++) {
    fill(times.subarray(row, row + 1), draw.seed, PURPOSE.time, draw.firstRow + row, draw.step);
  }
  return distribution === 'uniform' ? times : times.map((normal) => lognormalTime(mean + deviation * normal, path));
}

/** Steps of DDPM, each as likely as any other: [rows]. */
export const drawTimesteps = ({ seed, step, firstRow, rows }: TimeDraw): Int32Array =>
  Int32Array.from({ length: rows }, (_, row) => randomInteger(DDPM_STEPS, seed, PURPOSE.time, firstRow + row, step));
