/** Joins the group of processes that share the work of a step, and lets them agree. */
import { setTimeout as pause } from 'node:timers/promises';
import { mpiRank } from './environment.js';
import type { ProcessGroup } from './group-interface.js';

export type { ProcessGroup } from './group-interface.js';

/** The group of a process that nobody launched in parallel. */
export const ALONE: ProcessGroup = { rank: 0, size: 1, sum() {}, broadcast() {}, leave() {} };

/**
 * The group that this process was launched in: that of `mpirun` or `srun`, else itself alone.
 * @throws UnavailableError when there is a launcher, but no MPI library that connects to it
 */
export async function joinGroup(environment = process.env): Promise<ProcessGroup> {
  const launched = mpiRank(environment);
  if (!launched || launched.count === 1) return ALONE;
  const { joinMpi } = await import('./mpi.js');
  return joinMpi(launched.count, environment);
}

/** Whether `flag` is set on any rank. */
export function anyRank(group: ProcessGroup, flag: boolean): boolean {
  const raised = Float64Array.of(flag ? 1 : 0);
  group.sum(raised);
  return raised[0] > 0;
}

/** Whether all ranks hold the same bytes. */
export function agree(group: ProcessGroup, bytes: Uint8Array): boolean {
  const first = Uint8Array.from(bytes);
  group.broadcast(first);
  return !anyRank(group, Buffer.compare(first, bytes) !== 0);
}

const GRACE_MS = 3000;

/**
 * Does work that all ranks do, then leaves the group. An error ends the group: this process reports it and exits, which
 * ends the others.
 */
export async function together<T>(group: ProcessGroup, work: () => Promise<T>): Promise<T> {
  try {
    const result = await work();
    group.leave();
    return result;
  } catch (error) {
    // Most errors strike all ranks at once: the first reports them, and ends the others while they wait here.
    if (group.rank > 0) await pause(GRACE_MS);
    throw error;
  }
}
