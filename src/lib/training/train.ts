/**
 * The training loop of REPA (arXiv 2410.06940, section 3; the official train.py): gradients of the objective over a
 * global batch, a step of the optimiser, and moving averages of the weights.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DataError } from '../errors.js';
import type { ParameterStore, StepOptions } from '../optim/index.js';
import { anyRank, type ProcessGroup } from '../parallel/group.js';
import { BatchLoader, microBatches } from './batch-loader.js';
import type { TrainingSet } from './dataset.js';
import { divergence } from './divergence.js';
import { learningRateAt } from './learning-rate.js';
import { type CompiledObjective, compileObjective } from './objective.js';
import { divideBatch, sumOverRanks } from './ranks.js';
import { ADAM, type RunRecord } from './settings.js';

/** One line of the log. Losses are means over the global batch, each under its name and unweighted. */
export interface LogEntry {
  step: number;
  epoch: number;
  /** The weighted sum of the losses: what is minimised. */
  loss: number;
  /** Before clipping. */
  gradient_norm: number;
  learning_rate: number;
  /** Wall time of the step, and the parts of it that are not loss and gradients: data, other ranks, optimiser, features. */
  seconds: number;
  data_seconds: number;
  exchange_seconds: number;
  optimizer_seconds: number;
  encoder_seconds?: number;
  [term: `${string}_loss`]: number;
}

export interface LoopOptions {
  /** Steps already taken: the first step computed is number `from + 1`. */
  from: number;
  to: number;
  /** How many blocks are computed again in the backward pass. */
  checkpointBlocks: number;
  /** A larger loss ends the run. */
  lossLimit: number;
  /** Where the report of a step that ends it goes; undefined for nowhere. */
  reports: string | undefined;
  /** Called after every step; the loop ends when it returns false on any rank. */
  onStep(entry: LogEntry): Promise<boolean>;
}

/**
 * Trains from step `from` to step `to`.
 * @throws DataError when the loss is too large, or it or a gradient is not finite, naming the step; the parameters are then
 *   those before it
 */
export async function trainLoop(
  store: ParameterStore,
  record: RunRecord,
  set: TrainingSet,
  group: ProcessGroup,
  options: LoopOptions,
): Promise<void> {
  const isAligned = (step: number): boolean => {
    const { lambda, alignUntil } = record.training;
    return lambda > 0 && (alignUntil === null || step < alignUntil);
  };
  const loader = new BatchLoader(set, microBatches(set, record.training, group, { ...options, isAligned }));
  try {
    await takeSteps(store, record, set, group, { ...options, isAligned }, loader);
  } finally {
    await loader.close();
  }
}

async function takeSteps(
  store: ParameterStore,
  record: RunRecord,
  set: TrainingSet,
  group: ProcessGroup,
  { isAligned, ...options }: LoopOptions & { isAligned(step: number): boolean },
  loader: BatchLoader,
): Promise<void> {
  const settings = record.training;
  const { checkpointBlocks } = options;
  const { batchSize, seed } = settings;
  const { first, microBatch, passes } = divideBatch(settings, group);
  const compile = (aligned: boolean): CompiledObjective =>
    compileObjective(store, record, set, { microBatch, ranks: group.size, checkpointBlocks, aligned });
  let aligned = isAligned(options.from);
  let objective = compile(aligned);

  for (let step = options.from; step < options.to; step++) {
    const started = performance.now();
    if (aligned && !isAligned(step)) {
      aligned = false;
      objective.dispose();
      objective = compile(aligned);
    }
    let waited = 0;
    let encoded = 0;
    const parts: Record<string, number> = {};
    for (let pass = 0; pass < passes; pass++) {
      const position = first + pass * microBatch;
      const asked = performance.now();
      const { batch, crops } = await loader.next();
      const arrived = performance.now();
      const features = crops.length > 0 ? [set.computed!.encode(crops)] : batch.features;
      const encodedAt = performance.now();
      const prepared = objective.prepare({ ...batch, features, rows: microBatch, seed, step, position });
      encoded += encodedAt - arrived;
      waited += performance.now() - asked - (encodedAt - arrived);
      const losses = objective.run(prepared);
      for (const [name, value] of Object.entries(losses)) parts[name] = (parts[name] ?? 0) + value / passes;
      if (pass < passes - 1) store.accumulateGradients();
    }
    if (passes > 1) store.averageGradients(passes);
    const computed = performance.now();
    const means = sumOverRanks(group, store, parts);
    const exchanged = performance.now() - computed;
    const { total, ...terms } = means;
    const problem = lossProblem(total, options.lossLimit);
    const fail = (reason: string): Promise<DataError> => {
      const rows = set.rowsOfStep(step, batchSize, seed);
      return divergence({ step: step + 1, reason, losses: means, rows, seed }, store, set, options.reports);
    };
    if (problem) throw await fail(`the loss of step ${step + 1} is ${problem}`);

    const learningRate = learningRateAt(step + 1, settings);
    const optimised = performance.now();
    const gradientNorm = stepFinite(store, {
      step: step + 1,
      lr: learningRate,
      ...ADAM,
      beta2: settings.beta2,
      weightDecay: settings.weightDecay,
      clip: settings.clip,
      emaDecays: settings.emaDecays,
    });
    if (gradientNorm === undefined) throw await fail(`a gradient of step ${step + 1} is not finite`);
    const goOn = await options.onStep({
      step: step + 1,
      epoch: Math.floor((step * batchSize) / set.rows),
      loss: total,
      ...Object.fromEntries(Object.entries(terms).map(([name, value]) => [`${name}_loss`, value])),
      gradient_norm: gradientNorm,
      learning_rate: learningRate,
      seconds: (performance.now() - started) / 1000,
      data_seconds: waited / 1000,
      exchange_seconds: exchanged / 1000,
      optimizer_seconds: (performance.now() - optimised) / 1000,
      ...(set.computed ? { encoder_seconds: encoded / 1000 } : {}),
    });
    if (anyRank(group, !goOn)) return;
    await nextTurn(); // the step itself never yields: signals are heard here
  }
}

/** A step of the optimiser; undefined, with nothing changed, when a gradient is not finite. */
function stepFinite(store: ParameterStore, options: StepOptions): number | undefined {
  try {
    return store.step(options);
  } catch (error) {
    if (error instanceof DataError) return undefined;
    throw error;
  }
}

function lossProblem(loss: number, limit: number): string | undefined {
  if (!Number.isFinite(loss)) return 'not finite';
  return loss > limit ? `${loss.toPrecision(4)}, more than --loss-limit ${limit}` : undefined;
}
