/** Seconds of training along the steps of a log. */
import type { LogLine } from './run-view.js';

/**
 * Seconds that training had taken at any step, without measurements and without the pauses of a run that was continued.
 * A logged step stands, with its own time, for all steps since the line before.
 */
export function trainingTime(lines: readonly LogLine[]): (step: number) => number {
  const times: { step: number; seconds: number }[] = [{ step: 0, seconds: 0 }];
  for (const { step, seconds, evaluation } of lines) {
    if (evaluation !== undefined || typeof step !== 'number' || typeof seconds !== 'number') continue;
    const last = times[times.length - 1];
    times.push({ step, seconds: last.seconds + seconds * Math.max(0, step - last.step) });
  }
  return (step) => {
    const after = times.findIndex((time) => time.step >= step);
    if (after <= 0) return times[after === 0 ? 0 : times.length - 1].seconds;
    const [before, next] = [times[after - 1], times[after]];
    return before.seconds + ((next.seconds - before.seconds) * (step - before.step)) / (next.step - before.step);
  };
}
