/** What samplers of discrete steps share: the way down them, and the clean sample that a prediction implies. */
import { DDPM_STEPS, type DdpmSchedule } from '../ddpm-schedule.js';
import type { Predictor, Values } from '../guidance.js';

export interface DdpmOptions {
  schedule: DdpmSchedule;
  /** Clamps the predicted clean sample to [-1, 1]: right for pixels, wrong for latents. */
  clipDenoised?: boolean;
  /** Fills `out` with standard normals for one row of the batch at one step, counted from the first one taken. */
  noise: (out: Float64Array, row: number, step: number) => void;
  /** Called after each step with the part of the way done, in (0, 1]. */
  onProgress?: (fraction: number) => void;
}

/** One element of x_{t-1} from that of x_t, the two predictions and a standard normal (0 at the last step). */
export type ElementUpdate = (x: number, predictedNoise: number, varianceFraction: number, noise: number) => number;

/** The loop that both samplers share: from the noisiest step to step 0, which adds no noise. */
export async function descend(
  predict: Predictor,
  latents: Values,
  rows: number,
  { schedule, noise: fillNoise, onProgress }: DdpmOptions,
  updateOfStep: (step: number) => ElementUpdate,
): Promise<Float64Array> {
  const x = new Float64Array(latents); // [N, C, h, w]
  const rowSize = x.length / rows;
  const noise = new Float64Array(rowSize); // [C, h, w]
  const steps = schedule.timesteps.length;
  for (let step = steps - 1; step >= 0; step--) {
    const timestep = schedule.timesteps[step];
    const out = await predict(new Float32Array(x), timestep, timestep / DDPM_STEPS); // [N, 2C, h, w]
    const update = updateOfStep(step);
    for (let row = 0; row < rows; row++) {
      if (step > 0) fillNoise(noise, row, steps - 1 - step);
      else noise.fill(0);
      for (let j = 0, i = row * rowSize, o = 2 * row * rowSize; j < rowSize; j++, i++, o++) {
        x[i] = update(x[i], out[o], out[o + rowSize], noise[j]);
      }
    }
    onProgress?.((steps - step) / steps);
  }
  return x;
}

/** The clean sample that x_t and its predicted noise imply. */
export function denoiser(schedule: DdpmSchedule, step: number, clip: boolean): (x: number, noise: number) => number {
  const product = schedule.alphasCumprod[step];
  const [signal, noiseScale] = [Math.sqrt(product), Math.sqrt(1 - product)];
  return (x, noise) => {
    const data = (x - noiseScale * noise) / signal;
    return clip ? Math.min(1, Math.max(-1, data)) : data;
  };
}
