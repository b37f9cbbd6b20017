/** The times at which a sampler calls the network. */
import { shiftTime } from '../time.js';

/**
 * `count` evenly spaced values from `start` to `end`, both included. The second half is counted back from the end, as
 * PyTorch does on a GPU: whether a step falls inside a guidance interval can hang on the last bit of its time.
 */
export function evenlySpaced(start: number, end: number, count: number): Float64Array {
  const step = (end - start) / (count - 1);
  return Float64Array.from({ length: count }, (_, i) =>
    i < count / 2 ? start + step * i : end - step * (count - 1 - i),
  );
}

/** `count` times from 1 to `end`, both included, evenly spaced before they are shifted. */
export function shiftedTimes(end: number, count: number, shift: number): Float64Array {
  if (shift === 1) return evenlySpaced(1, end, count);
  const times = evenlySpaced(1, shiftTime(end, 1 / shift), count).map((u) => shiftTime(u, shift));
  [times[0], times[count - 1]] = [1, end]; // and not a rounding error next to them
  return times;
}
