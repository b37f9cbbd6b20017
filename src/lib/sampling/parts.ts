/** The parts that a process writes its share of images in. */
import type { Shard } from '../stream/shards.js';

/**
 * Cuts a process's share of images into parts of about `partSize` images, so that a job that was killed goes on after
 * the last finished part. All processes cut alike.
 */
export function partsOf({ index, count }: Shard, total: number, partSize: number): Shard[] {
  const each = Math.max(1, Math.ceil(total / (count * partSize)));
  return Array.from({ length: each }, (_, i) => ({ index: index * each + i, count: count * each }));
}
