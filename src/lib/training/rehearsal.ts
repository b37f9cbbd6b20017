/** A few steps that write nothing, to tell how long a run takes and how much it writes. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DataError } from '../errors.js';
import type { ProcessGroup } from '../parallel/group.js';
import { openBatches, openData, openWeights, StepLoss } from './opening.js';
import { MEASURED_STEPS } from './pace.js';
import type { RunPlan } from './plan.js';
import { Stopwatch } from './stopwatch.js';
import { checkpointBytes } from './store.js';
import { type TrainOptions, takeStep } from './train.js';

export interface Rehearsal {
  /** Steps left of the run. */
  steps: number;
  /** Wall time of one step; undefined where none is left. */
  seconds: number | undefined;
  /** Size of a checkpoint. */
  bytes: number;
}

/**
 * Takes the next steps of a run in memory, as the run would, without its measurements and checkpoints.
 * @throws DataError when a loss is too large, or it or a gradient is not finite; whatever the run would throw until
 *   then
 */
export async function rehearse(
  plan: RunPlan,
  options: Pick<TrainOptions, 'steps' | 'checkpointBlocks' | 'lossLimit'>,
  group: ProcessGroup,
): Promise<Rehearsal> {
  const { set, record } = plan;
  const { checkpointBlocks, lossLimit } = options;
  const { store, share } = openWeights(plan, group);
  await openData(plan, group);
  const bytes = checkpointBytes(record, store);
  const from = record.step;
  const to = Math.min(options.steps, from + 1 + MEASURED_STEPS);
  const steps = Math.max(0, options.steps - from);
  if (steps === 0) {
    await set.close();
    return { steps, seconds: undefined, bytes };
  }
  const loss = new StepLoss(store, plan, { rows: share.microBatch, ranks: group.size, checkpointBlocks });
  const { passes } = share;
  const { drawn, loader } = openBatches(plan, group, { loss, passes, from, to });
  try {
    const times: number[] = [];
    for (let step = from; step < to; step++) {
      const watch = new Stopwatch();
      const age = step + 1; // no matter: nothing of it is kept
      const work = { store, loss: loss.at(step), settings: record.training, age, passes, group, lossLimit };
      const { problem } = await takeStep(work, step, drawn, watch);
      if (problem) throw new DataError(problem);
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
