/** A few steps of a run that writes nothing: what the run takes. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ProcessGroup } from '../parallel/group.js';
import { activeMethods, areFollowing, methodsAt } from '../repa/methods.js';
import { compileLoss } from './compiled-loss.js';
import { DrawnBatches } from './data/drawn.js';
import { BatchLoader, microBatches } from './data/loader.js';
import { prepareMethods } from './data/preparation.js';
import type { RunPlan } from './plan.js';
import { checkRanksAgree, divideBatch } from './ranks.js';
import { Stopwatch } from './stopwatch.js';
import { checkpointBytes, freshStore, restoreStore } from './store.js';
import { type TrainOptions, takeStep } from './train.js';

/** Steps that are measured, after one that compiles. */
export const MEASURED_STEPS = 3;

export interface Rehearsal {
  /** Steps that are left of the run. */
  steps: number;
  /** Wall time of one; undefined where none is left. */
  seconds: number | undefined;
  /** Of a checkpoint. */
  bytes: number;
}

/**
 * Takes the next steps of a run in memory, as the run would, measures and checkpoints left out.
 * @throws DataError when a loss or a gradient is not finite; whatever the run would throw until then
 */
export async function rehearse(
  { set, record, checkpoint, initial }: RunPlan,
  options: Pick<TrainOptions, 'steps' | 'checkpointBlocks' | 'lossLimit'>,
  group: ProcessGroup,
): Promise<Rehearsal> {
  const settings = record.training;
  const share = divideBatch(settings, group);
  const accumulation = share.passes > 1;
  const store = checkpoint ? restoreStore(record, checkpoint, accumulation) : freshStore(record, accumulation, initial);
  initial?.close();
  checkRanksAgree(group, store, record);
  const prepared = await prepareMethods(record, set, checkpoint, group);
  set.include(prepared.besides);
  const bytes = checkpointBytes(record, store);
  const from = record.step;
  const to = Math.min(options.steps, from + 1 + MEASURED_STEPS);
  const steps = Math.max(0, options.steps - from);
  if (steps === 0) {
    await set.close();
    return { steps, seconds: undefined, bytes };
  }
  const methods = methodsAt(activeMethods(record.methods), from);
  const follows = (): boolean => areFollowing(methods);
  const loader = new BatchLoader(set, microBatches(set, record, group, { from, to, follows }));
  try {
    const run = {
      network: record,
      training: settings,
      latentShape: set.latents.shape,
      features: set.features,
      emptyText: set.captions?.empty,
    };
    const { checkpointBlocks, lossLimit } = options;
    const loss = compileLoss(store, run, { rows: share.microBatch, ranks: group.size, checkpointBlocks, methods });
    const work = { store, loss, settings, passes: share.passes, group, lossLimit };
    const drawn = new DrawnBatches(loader, (to - from) * share.passes, undefined);
    const times: number[] = [];
    for (let step = from; step < to; step++) {
      const watch = new Stopwatch();
      await takeStep(work, step, drawn, watch);
      times.push(watch.total);
      await nextTurn();
    }
    const measured = times.length > 1 ? times.slice(1) : times;
    return { steps, seconds: measured.reduce((sum, time) => sum + time, 0) / measured.length, bytes };
  } finally {
    await loader.close();
    await set.close();
  }
}
