/** A training run from its plan to its files: where it continues, and what it leaves behind. */

import { UnavailableError } from '../errors.js';
import { lockRun, type RunLock } from '../files/run-lock.js';
import type { ProcessGroup } from '../parallel/group.js';
import { checkpointSteps, discardUnfinished, saveCheckpoint } from './checkpoint.js';
import { storedComponents } from './feature-components.js';
import { COMPONENTS_PART, includedIn } from './included.js';
import { openLog } from './log.js';
import type { Measure, OpenMonitor, RunMonitor } from './monitor.js';
import type { RunPlan } from './plan.js';
import { checkRanksAgree, divideBatch } from './ranks.js';
import { checkpointParts, freshStore, restoreStore } from './store.js';
import { type LogEntry, trainLoop } from './train.js';

export interface RunHooks {
  steps: number;
  checkpointBlocks: number;
  lossLimit: number;
  saveEvery: number;
  keep: number;
  logEvery: number;
  out: string;
  say(line: string): void;
  /** A line of the log. */
  print(line: string): void;
  shouldStop(): boolean;
  onStep(entry: LogEntry): void;
  /** How the run is measured on the way; undefined for not at all. */
  openMonitor: OpenMonitor | undefined;
}

/**
 * Trains, logging and saving on the way. Stops early, with a checkpoint, when `shouldStop` says so on any rank. Only the
 * first rank writes.
 * @throws UnavailableError when another run has the same folder, or the disk is full
 */
export async function runTraining(plan: RunPlan, group: ProcessGroup, hooks: RunHooks): Promise<void> {
  const { record } = plan;
  const lock = group.rank === 0 ? lockRun(hooks.out) : undefined;
  try {
    if (lock) checkNothingNewer(hooks.out, record.step);
    await trainLocked(plan, group, hooks, lock);
  } finally {
    lock?.release();
  }
}

/** @throws UnavailableError when another run has saved since this one was planned */
function checkNothingNewer(out: string, step: number): void {
  const newest = checkpointSteps(out).at(-1) ?? 0;
  if (newest === step) return;
  throw new UnavailableError(`another run has just trained ${out} to step ${newest}`, 'Run the same command again.');
}

async function trainLocked(
  { set, record, checkpoint }: RunPlan,
  group: ProcessGroup,
  hooks: RunHooks,
  lock: RunLock | undefined,
): Promise<void> {
  const accumulation = divideBatch(record.training, group).passes > 1;
  const store = checkpoint ? restoreStore(record, checkpoint, accumulation) : freshStore(record, accumulation);
  checkRanksAgree(group, store, record);
  const millions = (store.parameters.reduce((sum, { value }) => sum + value.length, 0) / 1e6).toFixed(1);
  hooks.say(`${record.architecture} of ${millions}M parameters on ${set.rows} images of ${set.latentShape.join('x')}`);
  if (checkpoint) hooks.say(`continuing ${checkpoint}`);
  if (record.step >= hooks.steps) {
    hooks.say(`${hooks.out} is trained to step ${record.step} already: no steps up to --steps ${hooks.steps}`);
  }
  const writes = group.rank === 0;
  if (writes) discardUnfinished(hooks.out);
  const log = writes ? await openLog(hooks.out, record.step, hooks.print) : undefined;
  const { out, shouldStop } = hooks;
  const included = await includedIn(record, set, checkpoint, group);
  set.include(included);
  const monitor = await hooks.openMonitor?.({ store, record, group, included, out, shouldStop });
  const measure = async (step: number): Promise<void> => {
    if (!monitor || step === 0 || step % monitor.every !== 0) return;
    for (const each of missingMeasures(monitor, group, log?.measuresOf(step))) {
      const started = performance.now();
      const result = await each.run(step);
      if (!result) return; // stopped: the next run does what is missing
      await log?.write({ step, evaluation: each.name, ...result, seconds: (performance.now() - started) / 1000 });
    }
  };
  const parts = checkpointParts(record, store);
  if (included.components) parts.set(COMPONENTS_PART, storedComponents(included.components));
  let saved = record.step;
  const save = (step: number) => {
    checkRanksAgree(group, store, { ...record, step });
    lock?.check();
    if (writes) saveCheckpoint(out, { ...record, step }, parts, hooks.keep);
    saved = step;
  };
  let last = record.step;
  try {
    await measure(record.step);
    if (record.step >= hooks.steps) return;
    await trainLoop(store, record, set, group, {
      from: record.step,
      to: hooks.steps,
      checkpointBlocks: hooks.checkpointBlocks,
      lossLimit: hooks.lossLimit,
      reports: writes ? out : undefined,
      async onStep(entry) {
        last = entry.step;
        hooks.onStep(entry);
        if (entry.step % hooks.logEvery === 0 || entry.step === hooks.steps) await log?.write(entry);
        if (entry.step % hooks.saveEvery === 0) save(entry.step);
        await measure(entry.step);
        return !shouldStop();
      },
    });
    if (saved < last) save(last);
  } finally {
    await monitor?.dispose();
    await log?.close();
    await set.close();
  }
}

/** What is to be measured at a step: all, but for what the log of a run that was stopped there has already. */
function missingMeasures(
  { measures }: RunMonitor,
  group: ProcessGroup,
  logged: ReadonlySet<string> | undefined,
): Measure[] {
  const done = Uint8Array.from(measures, ({ name }) => Number(logged?.has(name) ?? false));
  group.broadcast(done); // the first rank reads the log
  return measures.filter((_, i) => !done[i]);
}
