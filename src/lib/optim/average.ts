/**
 * Kinds of moving averages of the weights: with a fixed decay, or along a power of the training time, whose width
 * `sigma` is relative to that time (arXiv 2312.02696, section 3.1 and appendix C). Checked against the published code
 * (fixture published/post-hoc-ema).
 */
import { ValueProblem } from '../options/option.js';

/** A decay, or `sigma:0.05`: the standard deviation of the averaged times, relative to the time trained. */
export type Average = number | `sigma:${number}`;

const SIGMA = 'sigma:';

/** A uniform average has 12^-1/2 = 0.2887; a wider one would give the earliest weights the most weight. */
export const WIDEST_SIGMA = 0.288;
const NARROWEST_SIGMA = 0.001;

export const powerAverage = (sigma: number): Average => `${SIGMA}${sigma}`;

/** The width of an average along a power of the time; undefined for a fixed decay. */
export const sigmaOf = (average: Average): number | undefined =>
  typeof average === 'number' ? undefined : Number(average.slice(SIGMA.length));

/** Whether a value, as JSON holds it, is an average. */
export function isAverage(value: unknown): value is Average {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'string' || !value.startsWith(SIGMA)) return false;
  const sigma = Number(value.slice(SIGMA.length));
  return sigma >= NARROWEST_SIGMA && sigma <= WIDEST_SIGMA;
}

/** Reads `0.9999` or `sigma:0.05`. @throws ValueProblem */
export function parseAverage(text: string): Average {
  const isPower = text.startsWith(SIGMA);
  const value = Number(isPower ? text.slice(SIGMA.length) : text);
  const average: Average = isPower ? powerAverage(value) : value;
  if (text.trim() !== '' && isAverage(average) && (isPower || (value >= 0 && value < 1))) return average;
  throw new ValueProblem(
    `It takes a decay of at least 0 and below 1, or ${SIGMA} and a width from ${NARROWEST_SIGMA} to ${WIDEST_SIGMA}, such as 0.9999 or ${SIGMA}0.05.`,
  );
}

/**
 * The exponent g of the weights (t / T)^g whose times have the standard deviation `sigma` T: the largest root of
 * (g + 2)^2 (g + 3) sigma^2 = g + 1 (equations 123 and 126), by Newton's method from above, where the cubic is convex.
 */
export function exponentOf(sigma: number): number {
  const inverse = sigma ** -2;
  let exponent = 1 / sigma; // above the root, as (g + 2)^2 (g + 3) / (g + 1) > g^2
  for (;;) {
    const value = ((exponent + 7) * exponent + 16 - inverse) * exponent + 12 - inverse;
    const slope = (3 * exponent + 14) * exponent + 16 - inverse;
    const next = exponent - value / slope;
    if (!(next < exponent)) return exponent;
    exponent = next;
  }
}

/**
 * The decay of an average at a step (equation 127: (1 - 1 / age)^(g + 1)).
 * @param age images seen up to and with this step, over the images of this step: with a constant batch size, the number
 *   of the step, counted from 1
 */
export function decayAt(average: Average, age: number): number {
  const sigma = sigmaOf(average);
  return sigma === undefined ? (average as number) : (1 - 1 / age) ** (exponentOf(sigma) + 1);
}

/** The weight that an average at time T gives to the weights of time t: (g + 1) t^g / T^(g + 1). */
export interface Profile {
  /** T, above 0. */
  time: number;
  sigma: number;
}

/** The inner product of two profiles, over all times (equation 151). */
export function profileProduct(a: Profile, b: Profile): number {
  const [earlier, later] = a.time <= b.time ? [a, b] : [b, a];
  const [g, h] = [exponentOf(earlier.sigma), exponentOf(later.sigma)];
  return (((g + 1) * (h + 1)) / (g + h + 1)) * ((earlier.time / later.time) ** h / later.time);
}
