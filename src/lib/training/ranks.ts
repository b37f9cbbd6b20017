/** How ranks divide a step, and the check that they stay equal. */
import { createHash } from 'node:crypto';
import { DataError, UsageError } from '../errors.js';
import { bytesOf } from '../numbers/typed-array.js';
import type { ParameterStore } from '../optim/index.js';
import { agree, type ProcessGroup } from '../parallel/group.js';
import type { RunRecord, TrainingSettings } from './record.js';

/** What one rank computes of each global batch. */
export interface RankBatch {
  /** Position of its first row within the global batch. */
  first: number;
  /** Rows of one forward and backward pass. */
  microBatch: number;
  /** Passes of one step. */
  passes: number;
}

/**
 * Divides the global batch by position: each rank takes as many neighbouring rows, in micro-batches of at most
 * `microBatch`.
 * @throws UsageError when the numbers do not divide
 */
export function divideBatch(
  { batchSize, microBatch }: Pick<TrainingSettings, 'batchSize' | 'microBatch'>,
  { rank, size }: ProcessGroup,
): RankBatch {
  if (batchSize % size !== 0) throw new UsageError(`--batch-size ${batchSize} cannot be divided among ${size} ranks`);
  const rows = batchSize / size;
  const pass = Math.min(microBatch, rows);
  if (rows % pass !== 0) {
    const what = size === 1 ? `--batch-size ${rows}` : `the ${rows} rows of a rank`;
    throw new UsageError(`--micro-batch ${pass} does not divide ${what}`);
  }
  return { first: rank * rows, microBatch: pass, passes: rows / pass };
}

/**
 * Adds up what the ranks have computed of a step: the gradients in their stores, and their losses.
 * @returns the sums of the losses, by name
 */
export function sumOverRanks(
  group: ProcessGroup,
  store: ParameterStore,
  losses: Readonly<Record<string, number>>,
): Record<string, number> {
  if (group.size > 1) store.exchangeGradients((gradients) => group.sum(gradients));
  const sums = Float64Array.from(Object.values(losses));
  group.sum(sums);
  return Object.fromEntries(Object.keys(losses).map((name, i) => [name, sums[i]]));
}

/**
 * Checks that all ranks do the same work on the same weights and moments, by their hash. They start equal, and every
 * step is the same arithmetic on the same sums; a machine that computes wrongly, or sees other files, shows here.
 * @throws DataError on every rank when they differ
 */
export function checkRanksAgree(group: ProcessGroup, store: ParameterStore, record: RunRecord): void {
  if (group.size === 1) return;
  const hash = createHash('sha256').update(JSON.stringify(record));
  for (const { value, firstMoment, secondMoment } of store.parameters) {
    for (const array of [value, firstMoment, secondMoment]) if (array) hash.update(bytesOf(array));
  }
  if (agree(group, hash.digest())) return;
  throw new DataError(
    `the ranks disagree at step ${record.step}: their settings, data or weights are not the same`,
    'All machines must see the same files under --latents, --feats and --out. If they do, one of them computes wrongly.',
  );
}
