/** Which images a process samples, and in how many files. */
import type { Shard } from '../stream/shards.js';

/** Image numbers from `first` up to, but without, `end`. */
export interface Range {
  first: number;
  end: number;
}

export const WHOLE: Shard = { index: 0, count: 1 };

/** The images of a shard of `total`. */
export function rangeOf({ index, count }: Shard, total: number): Range {
  const edge = (i: number): number => Math.floor((i * total) / count);
  return { first: edge(index), end: edge(index + 1) };
}

/**
 * A process's share in parts of about `partSize` images each, so that a job that was killed goes on behind the last
 * part that was finished. Together they are the images of the share, and all processes cut alike.
 */
export function partsOf({ index, count }: Shard, total: number, partSize: number): Shard[] {
  const each = Math.max(1, Math.ceil(total / (count * partSize)));
  return Array.from({ length: each }, (_, i) => ({ index: index * each + i, count: count * each }));
}
