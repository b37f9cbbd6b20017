/** Several files by one name, as shells and WebDataset have it: `imgs-{000..127}.tar`, `{train,val}-{0..3}.tar`. */
import { UsageError } from '../errors.js';

const BRACES = /\{(\d+\.\.\d+|[^{}]*,[^{}]*)\}/;
/** No set has more archives. */
const MOST = 100_000;

export const hasBraces = (name: string): boolean => BRACES.test(name);

/**
 * The names that a pattern stands for, in the order of a shell: numbers from one to the other, with as many digits as
 * the first has; or words between commas. Braces do not nest.
 * @throws UsageError for more names than any set has files
 */
export function expandBraces(pattern: string): string[] {
  const found = BRACES.exec(pattern);
  if (!found) return [pattern];
  const [whole, inside] = found;
  const before = pattern.slice(0, found.index);
  const rest = expandBraces(pattern.slice(found.index + whole.length));
  const words = inside.includes(',') ? inside.split(',') : numbers(inside, pattern);
  if (words.length * rest.length > MOST) throw tooMany(pattern);
  return words.flatMap((word) => rest.map((end) => before + word + end));
}

function numbers(range: string, pattern: string): string[] {
  const [first, last] = range.split('..');
  const [from, to] = [Number(first), Number(last)];
  const count = Math.abs(to - from) + 1;
  if (count > MOST) throw tooMany(pattern);
  const padded = /^0\d/.test(first) || /^0\d/.test(last) ? Math.max(first.length, last.length) : 0;
  return Array.from({ length: count }, (_, i) => String(from + (to < from ? -i : i)).padStart(padded, '0'));
}

const tooMany = (pattern: string): UsageError => new UsageError(`${pattern}: stands for more than ${MOST} files`);
