/** The learning rate over the steps. */
import type { TrainingSettings } from './record.js';

/** The rate of step number `step`, counted from 1: a linear warm-up, then constant or half a cosine down to 0. */
export function learningRateAt(
  step: number,
  { learningRate, warmup, schedule, scheduleSteps }: TrainingSettings,
): number {
  if (step <= warmup) return (learningRate * step) / warmup;
  if (schedule === 'constant' || scheduleSteps === null) return learningRate;
  const done = Math.min(1, (step - warmup) / (scheduleSteps - warmup));
  return (learningRate * (1 + Math.cos(Math.PI * done))) / 2;
}
