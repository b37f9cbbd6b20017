/** Ancestral sampling of a network that predicts noise and variance in discrete steps, as DiT does. */
import { ddpmSchedule, evenTimesteps } from '../ddpm-schedule.js';
import type { Predictor, Values } from '../guidance.js';
import { type DdpmOptions, denoiser, descend } from './ddpm-steps.js';
import { onHost, STEPS, sampler, stepsNote } from './sampler.js';

/**
 * Ancestral sampling with learned variance (arXiv 2102.09672, equation 15). `predict` returns [N, 2C, h, w]: the noise,
 * then where the log variance lies between its bounds, in [-1, 1]. It is called with the timestep of the original
 * process.
 *
 * `latents` [N, C, h, w] is the noise; returns the samples, of the same shape. The state is f64, the network sees f32.
 */
export function sampleDdpm(predict: Predictor, latents: Values, rows: number, options: DdpmOptions) {
  const { schedule, clipDenoised = false } = options;
  return descend(predict, latents, rows, options, (step) => {
    const upper = Math.log(schedule.betas[step]);
    const lower = schedule.posteriorLogVariance[step];
    const [onData, onState] = [schedule.posteriorOnData[step], schedule.posteriorOnState[step]];
    const denoised = denoiser(schedule, step, clipDenoised);
    return (x, predictedNoise, varianceFraction, noise) => {
      const mean = onData * denoised(x, predictedNoise) + onState * x;
      const logVariance = lower + ((varianceFraction + 1) / 2) * (upper - lower);
      return mean + Math.exp(0.5 * logVariance) * noise;
    };
  });
}

interface DdpmSettings extends Record<string, unknown> {
  steps: number;
}

/** The sampler of DiT's published numbers. */
export const ddpm = sampler({
  name: 'ddpm',
  of: 'DiT',
  mode: 'ddpm',
  words: 'DDPM',
  options: { steps: STEPS },
  defaults: (): DdpmSettings => ({ steps: 250 }),
  check: ({ steps }) => void evenTimesteps(steps),
  sample(predict, { states, rows, noise }, { steps }, space) {
    const schedule = ddpmSchedule(evenTimesteps(steps));
    return sampleDdpm(onHost(predict, space, rows), states, rows, { schedule, noise });
  },
  describe: ({ steps }) => ({ mode: 'ddpm', steps }),
  published: stepsNote,
});
