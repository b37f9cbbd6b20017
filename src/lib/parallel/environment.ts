/**
 * What a cluster's environment says about this process: which of how many it is, and what part of the machine it has.
 */
import os from 'node:os';
import type { Shard } from '../stream/shards.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** [number, how many] of each kind of launcher; numbers start at 0. */
const MPI_LAUNCHERS = [
  ['OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'], // Open MPI
  ['PMI_RANK', 'PMI_SIZE'], // MPICH, Intel MPI, Cray
  ['SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'], // srun: only it sets the second, a batch script has none
  ['PMIX_RANK', 'SLURM_NTASKS'], // PMIx under an older Slurm
] as const;

const whole = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;

function pair(environment: Environment, indexName: string, countName: string): Shard | undefined {
  const [index, count] = [whole(environment[indexName]), whole(environment[countName])];
  return index !== undefined && count !== undefined && index < count ? { index, count } : undefined;
}

/** The rank among the processes of an MPI launcher; undefined outside of one. */
export function mpiRank(environment: Environment = process.env): Shard | undefined {
  for (const [index, count] of MPI_LAUNCHERS) {
    const rank = pair(environment, index, count);
    if (rank) return rank;
  }
  return undefined;
}

/**
 * The part of the work that falls to this process: its place in a Slurm array, a Kubernetes Indexed Job (whose number
 * of completions has to be passed on as JOB_COMPLETIONS), or an MPI launch; undefined if it is alone.
 */
export function shardFromEnvironment(environment: Environment = process.env): Shard | undefined {
  const task = whole(environment.SLURM_ARRAY_TASK_ID);
  const tasks = whole(environment.SLURM_ARRAY_TASK_COUNT);
  const first = whole(environment.SLURM_ARRAY_TASK_MIN) ?? 0;
  if (task !== undefined && tasks !== undefined && task - first < tasks) return { index: task - first, count: tasks };
  return pair(environment, 'JOB_COMPLETION_INDEX', 'JOB_COMPLETIONS') ?? mpiRank(environment);
}

/** The number of this process among those of its machine: Open MPI, MPICH, Slurm. */
const LOCAL_RANKS = ['OMPI_COMM_WORLD_LOCAL_RANK', 'MPI_LOCALRANKID', 'SLURM_LOCALID'] as const;

/** Processes of the MPI launch on this machine; 1 outside of one. */
export function localRanks(environment: Environment = process.env): number {
  if (!mpiRank(environment)) return 1;
  return (
    whole(environment.OMPI_COMM_WORLD_LOCAL_SIZE) ?? // Open MPI
    whole(environment.MPI_LOCALNRANKS) ?? // MPICH, Intel MPI
    slurmTasksHere(environment) ??
    1
  );
}

/** Slurm counts the tasks of each node, in order, as `2(x3),1`: three nodes of two, then one of one. */
function slurmTasksHere(environment: Environment): number | undefined {
  const node = whole(environment.SLURM_NODEID) ?? 0;
  const counts = (environment.SLURM_STEP_TASKS_PER_NODE ?? '').split(',').flatMap((part) => {
    const [, tasks, nodes = '1'] = /^(\d+)(?:\(x(\d+)\))?$/.exec(part) ?? [];
    return tasks === undefined ? [] : Array<number>(Number(nodes)).fill(Number(tasks));
  });
  return counts[node];
}

/**
 * The CUDA device of this process, as CUDA_VISIBLE_DEVICES takes it, when several ranks share a machine: each takes one
 * of those that are visible, in turn. Undefined when that is settled already, or nothing is shared.
 */
export function deviceOfRank(environment: Environment = process.env): string | undefined {
  const local = LOCAL_RANKS.map((name) => whole(environment[name])).find((rank) => rank !== undefined);
  if (local === undefined || localRanks(environment) === 1) return undefined;
  const visible = environment.CUDA_VISIBLE_DEVICES?.split(',');
  return visible ? visible[local % visible.length] : String(local);
}

/** Cores for this process: those it may run on, but no more than its share of the machine among the local ranks. */
export const coresPerProcess = (environment: Environment = process.env): number =>
  Math.max(1, Math.min(os.availableParallelism(), Math.floor(os.cpus().length / localRanks(environment))));
