/** The schedule of the learning rate. */
import type { TrainingSettings } from './record.js';

/**
 * The rate of step number `step`, counted from 1: a linear warm-up, then constant, half a cosine down to 0, or in a
 * line down to the final rate. The line is that of RAE's published code, which counts steps from 0.
 */
export function learningRateAt(
  step: number,
  { learningRate, warmup, schedule, scheduleSteps, scheduleFrom, finalRate }: TrainingSettings,
): number {
  if (step <= warmup) return (learningRate * step) / warmup;
  if (schedule === 'constant' || scheduleSteps === null) return learningRate;
  if (schedule === 'linear') {
    const from = Math.max(warmup, scheduleFrom);
    const done = (step - 1 - from) / Math.max(1, scheduleSteps - from);
    return learningRate + (finalRate - learningRate) * Math.min(1, Math.max(0, done));
  }
  const done = Math.min(1, (step - warmup) / (scheduleSteps - warmup));
  return (learningRate * (1 + Math.cos(Math.PI * done))) / 2;
}
