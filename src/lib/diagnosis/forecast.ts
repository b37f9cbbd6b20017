/** Forecasts how long the rest of a job takes. */
import { showBytes } from '../files/space.js';
import { showDuration } from '../progress.js';

/** Seconds left for which a forecast is worth a line. */
const LONG_WAIT = 60;

/**
 * A line on how long the rest of a job takes; undefined where it is soon done.
 * @param unit what is counted, in the plural
 * @param seconds that one of them takes
 */
export function forecast(left: number, unit: string, seconds: number): string | undefined {
  if (left * seconds < LONG_WAIT) return undefined;
  const memory = showBytes(process.resourceUsage().maxRSS * 1024);
  const rate = (1 / seconds).toPrecision(3);
  return `about ${showDuration(left * seconds)} for the ${left} ${unit} that are left, at ${rate} a second; ${memory} of memory so far`;
}
