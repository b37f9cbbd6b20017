/** Options: the path between data and noise, and how its times are drawn. */
import { TRAINING_PATHS } from '../diffusion/interpolant.js';
import { choice, decimal, number, parsed, ValueProblem } from '../options/option.js';
import { options } from '../options/table.js';

/** Reads a shift of times. @throws ValueProblem */
function timeShift(value: string): number | 'auto' {
  if (value === 'auto') return value;
  try {
    return decimal(0.01, 100)(value);
  } catch {
    throw new ValueProblem('It takes a number from 0.01 to 100, or auto.');
  }
}

const isLognormal = { words: '--time lognormal', holds: ({ time }: { time: string }) => time === 'lognormal' };

export const TIMES = options({
  path: choice(
    '--path <name>',
    'path between data and noise; geodesic: along the sphere that tokens lie on (RJF)',
    TRAINING_PATHS,
    {
      default: 'linear',
      onlyFor: 'SiT',
    },
  ),
  time: choice('--time <name>', 'how times are drawn', ['uniform', 'lognormal'], {
    default: 'uniform',
    onlyFor: 'SiT',
  }),
  timeMean: number('--time-mean <m>', 'of lognormal times: the mean of the logarithm of noise to signal (JiT: 0.8)', {
    default: 0,
    needs: isLognormal,
  }),
  timeDeviation: number('--time-deviation <s>', 'and its deviation (JiT: 0.8)', {
    above: 0,
    default: 1,
    needs: isLognormal,
  }),
  timeShift: parsed(
    '--time-shift <s>',
    'move the times towards the noise: t becomes s t / (1 + (s - 1) t); auto is by the size of the latents (SR-DiT)',
    timeShift,
    { default: 1, onlyFor: 'SiT' },
  ),
});
