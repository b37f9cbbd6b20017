/** The labels of a logarithmic axis. */

/** About how many labels an axis has room for. */
const MOST = 9;
const FEWEST = 4;
/** About how many intervals between even labels. */
const EVEN = 5;

/**
 * Values between two positive ones at which a logarithmic axis is labelled: powers of ten where there are many of them,
 * else 1, 2 and 5 of each, and of less than about a decade round numbers at equal distances.
 */
export function logTicks(low: number, high: number): number[] {
  if (!(low > 0 && high >= low && Number.isFinite(high))) return [];
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const within = (value: number): boolean => value >= low && value <= high;
  const powers = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const oneTwoFive = powers.flatMap((power) => [1, 2, 5].map((digit) => rounded(digit * 10 ** power))).filter(within);
  if (oneTwoFive.length < FEWEST) return evenTicks(low, high);
  if (oneTwoFive.length <= MOST) return oneTwoFive;
  const every = Math.ceil((last - first) / MOST);
  return powers
    .filter((power) => power % every === 0)
    .map((power) => rounded(10 ** power))
    .filter(within);
}

/** Multiples of 1, 2 or 5 times a power of ten. */
function evenTicks(low: number, high: number): number[] {
  if (low === high) return [low];
  const raw = (high - low) / EVEN;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = rounded(power * [1, 2, 5, 10].find((digit) => digit * power >= raw)!);
  const count = Math.floor((high - Math.ceil(low / step) * step) / step) + 1;
  return Array.from({ length: Math.max(0, count) }, (_, i) => rounded((Math.ceil(low / step) + i) * step));
}

/** Rounds off the error of binary fractions: 0.6, not 0.6000000000000001. */
const rounded = (value: number): number => Number(value.toPrecision(12));
