/** DDIM: sampling of a network that predicts noise in discrete steps, with few of them. */
import { choice } from '../../options/option.js';
import { ddpmSchedule, evenTimesteps, stridedTimesteps } from '../ddpm-schedule.js';
import type { Predictor, Values } from '../guidance.js';
import { type DdpmOptions, denoiser, descend } from './ddpm-steps.js';
import { onHost, STEPS, sampler, stepsNote } from './sampler.js';

/**
 * DDIM (arXiv 2010.02502, equation 12): deterministic at `eta` 0, like ancestral sampling at 1. The predicted variance
 * is ignored. Arguments as of sampleDdpm.
 */
export function sampleDdim(predict: Predictor, latents: Values, rows: number, options: DdpmOptions & { eta?: number }) {
  const { schedule, clipDenoised = false, eta = 0 } = options;
  return descend(predict, latents, rows, options, (step) => {
    const [product, previous] = [schedule.alphasCumprod[step], schedule.alphasCumprodPrevious[step]];
    const sigma = eta * Math.sqrt((1 - previous) / (1 - product)) * Math.sqrt(1 - product / previous);
    const [onData, onNoise] = [Math.sqrt(previous), Math.sqrt(1 - previous - sigma ** 2)];
    const denoised = denoiser(schedule, step, clipDenoised);
    return (x, predictedNoise, _varianceFraction, noise) => {
      const data = denoised(x, predictedNoise);
      // The noise that agrees with the clean sample, which may have been clipped.
      const impliedNoise = (x - Math.sqrt(product) * data) / Math.sqrt(1 - product);
      return onData * data + onNoise * impliedNoise + sigma * noise;
    };
  });
}

/** Which of the 1000 steps are taken. */
const SPACINGS = { even: evenTimesteps, stride: stridedTimesteps };

interface DdimSettings extends Record<string, unknown> {
  steps: number;
  spacing: keyof typeof SPACINGS;
}

export const ddim = sampler({
  name: 'ddim',
  of: 'DiT',
  mode: 'ddim',
  words: 'DDIM',
  options: {
    steps: STEPS,
    spacing: choice(
      '--spacing <how>',
      "of DDIM's steps: evenly from the first to the last, as DiT takes them, or at a whole stride, as the DDIM paper does",
      ['even', 'stride'],
      { defaultText: 'even' },
    ),
  },
  defaults: (): DdimSettings => ({ steps: 250, spacing: 'even' }),
  check: ({ steps, spacing }) => void SPACINGS[spacing](steps),
  sample(predict, { states, rows, noise }, { steps, spacing }, space) {
    const schedule = ddpmSchedule(SPACINGS[spacing](steps));
    return sampleDdim(onHost(predict, space, rows), states, rows, { schedule, noise });
  },
  describe: ({ steps, spacing }) => ({ mode: 'ddim', ...(spacing === 'even' ? {} : { spacing }), steps }),
  published: (described) => ['the sampler is DDIM; published numbers of DiT are of DDPM', ...stepsNote(described)],
});
