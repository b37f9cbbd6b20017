/** A group of processes that share the work of a step. */

/**
 * Every call but `leave` is collective: it returns when all processes of the group have made it, in the same order and
 * with arrays of the same length.
 */
export interface ProcessGroup {
  /** From 0; the first rank is the one that speaks and writes. */
  readonly rank: number;
  readonly size: number;
  /** Replaces the elements by their sums over all ranks: the same bits on each. */
  sum(values: Float32Array | Float64Array): void;
  /** Replaces the bytes by those of the first rank. */
  broadcast(bytes: Uint8Array): void;
  /** Ends the membership: a process that exits without it ends all the others. */
  leave(): void;
}
