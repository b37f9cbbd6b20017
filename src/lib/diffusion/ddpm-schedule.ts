/**
 * The discrete diffusion process of DDPM (arXiv 2006.11239) and its shortened versions (arXiv 2102.09672, section 4).
 */
import { UsageError } from '../errors.js';
import { roundHalfEven } from '../numbers/rounding.js';

/** Training steps of DiT. */
export const DDPM_STEPS = 1000;

/** Tables over the steps of a diffusion process, index 0 the least noisy. All of length `timesteps.length`, in f64. */
export interface DdpmSchedule {
  /** The step of the original process that each step stands for: what the network is told. */
  readonly timesteps: Int32Array;
  readonly betas: Float64Array;
  /** Products of 1 - beta up to and including the step, and up to the step before. */
  readonly alphasCumprod: Float64Array;
  readonly alphasCumprodPrevious: Float64Array;
  /** The variance of q(x_{t-1} | x_t, x_0); its logarithm takes step 1's value at step 0, where the variance is 0. */
  readonly posteriorVariance: Float64Array;
  readonly posteriorLogVariance: Float64Array;
  /** The mean of q(x_{t-1} | x_t, x_0) is `posteriorOnData` x_0 + `posteriorOnState` x_t. */
  readonly posteriorOnData: Float64Array;
  readonly posteriorOnState: Float64Array;
}

/** Betas from 1e-4 to 0.02 at 1000 steps, scaled so that other lengths add the same noise in all. */
export function linearBetas(steps = DDPM_STEPS): Float64Array {
  const scale = 1000 / steps;
  const [first, last] = [1e-4 * scale, 0.02 * scale];
  return Float64Array.from({ length: steps }, (_, i) => first + ((last - first) * i) / (steps - 1));
}

/** `count` of `steps` timesteps, evenly spread with both ends included (the spacing DiT samples with). */
export function evenTimesteps(count: number, steps = DDPM_STEPS): Int32Array {
  if (count < 1 || count > steps) throw new UsageError(`cannot take ${count} sampling steps of a process of ${steps}`);
  const stride = count === 1 ? 1 : (steps - 1) / (count - 1);
  return Int32Array.from({ length: count }, (_, i) => roundHalfEven(i * stride));
}

/** `count` of `steps` timesteps at a whole stride from 0 (the spacing of the DDIM paper). */
export function stridedTimesteps(count: number, steps = DDPM_STEPS): Int32Array {
  for (let stride = 1; stride <= steps; stride++) {
    if (Math.ceil(steps / stride) === count) return Int32Array.from({ length: count }, (_, i) => i * stride);
  }
  throw new UsageError(`${steps} steps cannot be cut to ${count} by a whole stride`, 'Use a divisor, such as 50.');
}

/** The process that visits only the given `timesteps` (ascending; default all) of the one with these `betas`. */
export function ddpmSchedule(
  timesteps: Int32Array = Int32Array.from({ length: DDPM_STEPS }, (_, i) => i),
  betas: Float64Array = linearBetas(),
): DdpmSchedule {
  const all = cumulativeProducts(betas);
  const visited = Float64Array.from(timesteps, (timestep) => all[timestep]);
  const kept = visited.map((product, i) => 1 - product / (visited[i - 1] ?? 1));
  const alphasCumprod = cumulativeProducts(kept);
  const alphasCumprodPrevious = alphasCumprod.map((_, i) => alphasCumprod[i - 1] ?? 1);
  const posteriorVariance = kept.map((beta, i) => (beta * (1 - alphasCumprodPrevious[i])) / (1 - alphasCumprod[i]));
  return {
    timesteps,
    betas: kept,
    alphasCumprod,
    alphasCumprodPrevious,
    posteriorVariance,
    posteriorLogVariance: posteriorVariance.map((_, i) => Math.log(posteriorVariance[Math.max(i, 1)])),
    posteriorOnData: kept.map((beta, i) => (beta * Math.sqrt(alphasCumprodPrevious[i])) / (1 - alphasCumprod[i])),
    posteriorOnState: kept.map(
      (beta, i) => (Math.sqrt(1 - beta) * (1 - alphasCumprodPrevious[i])) / (1 - alphasCumprod[i]),
    ),
  };
}

function cumulativeProducts(betas: Float64Array): Float64Array {
  let product = 1;
  return betas.map((beta) => {
    product *= 1 - beta;
    return product;
  });
}
