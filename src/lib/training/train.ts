/**
 * Training (REPA, arXiv 2410.06940, section 3; the official train.py): gradients of the loss over a global batch, a
 * step of the optimiser, and moving averages of the weights; logged, measured and saved on the way. What a run computes
 * depends on nothing but its record and its data, so that one that was stopped goes on with the same numbers.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { activeDevice } from '../engine/select.js';
import { DataError } from '../errors.js';
import { lockRun, type RunLock } from '../files/run-lock.js';
import { decayAt } from '../optim/average.js';
import type { ParameterStore } from '../optim/index.js';
import { anyRank, type ProcessGroup } from '../parallel/group.js';
import { announcement } from './announcement.js';
import { checkNothingNewer, discardUnfinished, saveCheckpoint } from './checkpoint.js';
import type { CompiledLoss } from './compiled-loss.js';
import type { DrawnBatches } from './data/drawn.js';
import { divergence } from './divergence.js';
import { learningRateAt } from './learning-rate.js';
import { type LogEntry, openLog, stepEntry } from './log.js';
import { type OpenMonitor, openMeasuring } from './monitor.js';
import { openBatches, openData, openWeights, StepLoss } from './opening.js';
import { Pace } from './pace.js';
import type { RunOptions, RunPlan } from './plan.js';
import { checkSnapshots, saveSnapshot } from './post-hoc.js';
import { checkRanksAgree, sumOverRanks } from './ranks.js';
import { ADAM, imagesBefore, type TrainingSettings } from './record.js';
import { Stopwatch } from './stopwatch.js';
import { checkpointParts, checkSavable } from './store.js';

/** The options that decide how far a run goes, and what is kept of it. */
export type TrainOptions = Pick<
  RunOptions,
  'steps' | 'checkpointBlocks' | 'lossLimit' | 'saveEvery' | 'keep' | 'averageDtype' | 'logEvery' | 'out'
>;

/** The surroundings of a run: the other ranks, and who watches it. */
export interface TrainContext {
  group: ProcessGroup;
  say(line: string): void;
  /** Takes each line of the log after it was written to the file. */
  print(line: string): void;
  onStep(entry: LogEntry): void;
  /** Whether the run is to end, with a checkpoint, after this step. */
  shouldStop(): boolean;
  /** How the run is measured on the way; undefined for not at all. */
  openMonitor: OpenMonitor | undefined;
}

/**
 * Trains from the step of the plan's checkpoint. Stops early, with a checkpoint, when `shouldStop` says so on any rank.
 * Only the first rank writes.
 * @throws UnavailableError when another run has the same folder, or the disk is full; DataError when the loss is too
 *   large, or it or a gradient is not finite, naming the step: the weights saved are then those before it
 */
export async function train(plan: RunPlan, options: TrainOptions, context: TrainContext): Promise<void> {
  const lock = context.group.rank === 0 ? lockRun(options.out) : undefined;
  try {
    if (lock) checkNothingNewer(options.out, plan.record.step);
    await trainLocked(plan, options, context, lock);
  } finally {
    lock?.release();
  }
}

async function trainLocked(
  plan: RunPlan,
  options: TrainOptions,
  context: TrainContext,
  lock: RunLock | undefined,
): Promise<void> {
  const { set, record } = plan;
  const { out } = options;
  const { group, shouldStop } = context;
  const settings = record.training;
  const writes = group.rank === 0;

  const { store, share } = openWeights(plan, group);
  for (const line of announcement(plan, store, options)) context.say(line);
  if (writes) {
    discardUnfinished(out);
    if (!plan.checkpoint) checkSnapshots(out, record);
  }
  const log = writes ? await openLog(out, record.step, context.print) : undefined;
  const { besides, parts: prepared } = await openData(plan, group);

  // Measurements of the moving average; a run that was stopped among them takes those that are missing.
  const measuring = await openMeasuring(context.openMonitor, { store, record, group, besides, out, shouldStop }, log);

  // Checkpoints.
  const parts = new Map([...checkpointParts(record, store), ...prepared]);
  let saved = record.step;
  const save = (step: number): void => {
    checkRanksAgree(group, store, { ...record, step });
    lock?.check();
    if (writes) {
      store.fetch(); // the arrays of `parts` are views of the weights
      checkSavable(parts, step, out);
      const now = { ...record, step, images: imagesBefore(record, step) };
      saveSnapshot(out, now, parts, options.averageDtype);
      saveCheckpoint(out, now, parts, options.keep);
    }
    saved = step;
  };

  const { checkpointBlocks, steps, lossLimit } = options;
  const loss = new StepLoss(store, plan, { rows: share.microBatch, ranks: group.size, checkpointBlocks });
  let step = record.step;
  let batches: ReturnType<typeof openBatches> | undefined;
  try {
    await measuring.measure(step);
    if (step >= steps) return;
    const pace = new Pace({ steps: steps - step, passes: share.passes, group, say: context.say });
    pace.begin(loss.at(step)); // compiled before the loader's thread works
    // The device that computes the step computes features too: to draw ahead would gain nothing.
    const ahead = activeDevice() && !set.computed ? new Stopwatch() : undefined;
    batches = openBatches(plan, group, { loss, passes: share.passes, from: step, to: steps }, ahead);
    while (step < steps) {
      const watch = new Stopwatch();
      const age = imagesBefore(record, step + 1) / settings.batchSize;
      const work = { store, loss: loss.at(step), settings, age, passes: share.passes, group, lossLimit };
      const { losses, gradientNorm, problem } = await takeStep(work, step, batches.drawn, watch);
      if (gradientNorm === undefined) {
        const failed = { step: step + 1, reason: problem!, losses };
        throw await divergence(failed, record, store, set, writes ? out : undefined);
      }
      const epoch = Math.floor(imagesBefore(record, step) / set.rows);
      step++;
      const taken = { losses, gradientNorm, learningRate: learningRateAt(step, settings) };
      const of = { encodes: set.computed !== undefined, images: settings.batchSize };
      const entry = stepEntry(step, epoch, taken, watch, of, (seconds) => pace.rates(work.loss, seconds));
      context.onStep(entry);
      if (step % options.logEvery === 0 || step === steps) await log?.write(entry);
      if (step % options.saveEvery === 0) save(step);
      await measuring.measure(step);
      if (anyRank(group, shouldStop())) break;
      await nextTurn(); // the step itself never yields: signals are heard here
    }
    if (saved < step) save(step);
  } finally {
    await batches?.loader.close();
    await measuring.dispose();
    await log?.close();
    await set.close();
  }
}

/** What a step works on. */
export interface StepWork {
  store: ParameterStore;
  loss: CompiledLoss;
  settings: TrainingSettings;
  /** Images seen up to and with this step, over those of this step. */
  age: number;
  /** Micro-batches of one step. */
  passes: number;
  group: ProcessGroup;
  /** A larger loss is a problem. */
  lossLimit: number;
}

/** Losses are means over the global batch, each under its name and unweighted; `total` is what is minimised. */
export interface StepResult {
  losses: Record<string, number>;
  /** Before clipping; undefined where the step was not taken. */
  gradientNorm: number | undefined;
  /** Why the step was not taken. */
  problem?: string;
}

/**
 * One step, number `step` counted from 0: the gradients of all micro-batches, their sum over the ranks, the optimiser,
 * the moving averages. With a problem, the weights are as they were.
 */
export async function takeStep(
  { store, loss, settings, age, passes, group, lossLimit }: StepWork,
  step: number,
  batches: Pick<DrawnBatches, 'next' | 'begin'>,
  watch: Stopwatch,
): Promise<StepResult> {
  const own: Record<string, number> = {};
  for (let pass = 0; pass < passes; pass++) {
    const running = loss.run(await batches.next(loss, watch));
    batches.begin(loss);
    for (const [name, value] of Object.entries(await running)) own[name] = (own[name] ?? 0) + value / passes;
    if (pass < passes - 1) store.accumulateGradients();
  }
  if (passes > 1) store.averageGradients(passes);
  const losses = await watch.time('exchange', () => sumOverRanks(group, store, own));
  const excess = lossProblem(losses.total, lossLimit);
  if (excess) return { losses, gradientNorm: undefined, problem: `the loss of step ${step + 1} is ${excess}` };
  const gradientNorm = await watch.time('optimizer', () => optimise(store, settings, step + 1, age));
  if (gradientNorm !== undefined) return { losses, gradientNorm };
  return { losses, gradientNorm, problem: `a gradient of step ${step + 1} is not finite` };
}

function lossProblem(loss: number, limit: number): string | undefined {
  if (!Number.isFinite(loss)) return 'not finite';
  return loss > limit ? `${loss.toPrecision(4)}, more than --loss-limit ${limit}` : undefined;
}

/** A step of the optimiser; undefined, with nothing changed, when a gradient is not finite. */
function optimise(store: ParameterStore, settings: TrainingSettings, step: number, age: number): number | undefined {
  const { beta2, weightDecay, clip, emaDecays } = settings;
  const lr = learningRateAt(step, settings);
  try {
    const decays = emaDecays.map((average) => decayAt(average, age));
    return store.step({ step, lr, ...ADAM, beta2, weightDecay, clip, emaDecays: decays });
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}
