/** Plans a training run: its options, checked against the data and against the run that it continues. */
import { shiftForSize } from '../diffusion/time.js';
import { engineInfo } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { Values } from '../options/table.js';
import type { ProcessGroup } from '../parallel/group.js';
import type { MethodValues } from '../repa/methods.js';
import { version } from '../version.js';
import { checkpointSteps, readCheckpointRecord, stepFolder } from './checkpoint.js';
import { checkContinuation, checkOrigin } from './continuation.js';
import { checkEncoder, openSet } from './data/open.js';
import type { DATA } from './data/options.js';
import type { TrainingSet } from './data/set.js';
import { fitWeights, type InitialWeights, originOf } from './initial-weights.js';
import { settleNetwork } from './network-choice.js';
import type { MODEL, STEPS } from './options.js';
import { divideBatch } from './ranks.js';
import type { RunRecord } from './record.js';

/** The options of `repa train` that decide what is computed. */
export type RunOptions = Values<typeof DATA> &
  Values<typeof MODEL> &
  Values<typeof STEPS> & { init?: string; methods: MethodValues; seed: number };

export interface RunPlan {
  set: TrainingSet;
  /** What the checkpoints will say; its `step` is where the run starts. */
  record: RunRecord;
  /** The checkpoint to continue from. */
  checkpoint: string | undefined;
  /** The weights to start from, where there is no such checkpoint and they are another run's. */
  initial?: InitialWeights;
}

/**
 * Opens the data, settles the model, and finds out whether a run is to be continued.
 * @param openInitial opens the weights that --init names
 * @throws UsageError for settings that do not fit each other or an earlier run; DataError for data or weights that do
 *   not fit
 */
export async function planRun(
  options: RunOptions,
  group: ProcessGroup,
  openInitial?: () => Promise<InitialWeights>,
): Promise<RunPlan> {
  const microBatch = options.microBatch ?? options.batchSize;
  const rows = divideBatch({ batchSize: options.batchSize, microBatch }, group).microBatch;
  if (new Set(options.ema).size < options.ema.length) throw new UsageError(`--ema ${options.ema} names a decay twice`);
  checkEncoder(options);
  const newest = checkpointSteps(options.out).at(-1);
  const checkpoint = newest === undefined ? undefined : stepFolder(options.out, newest);
  const saved = checkpoint === undefined ? undefined : readCheckpointRecord(checkpoint);
  if (saved) checkOrigin(saved, options);
  const initial = saved ? undefined : await openInitial?.();
  const set = await openSet(options, rows);
  const record: RunRecord = {
    step: 0,
    images: 0,
    version,
    ...settleNetwork(options, set, rows, (saved ?? initial?.record)?.model),
    training: trainingSettings({ ...options, microBatch }, set),
    latent: { shape: [...set.latents.shape], ...set.latents.scale },
    data: {
      latents: { rows: set.rows, ...set.latents.facts },
      features: set.featureFacts.map((facts) => ({ rows: set.rows, ...facts })),
      labelled: set.latents.labelled,
      ...(set.captions && { text: { rows: set.rows, ...set.captions.facts } }),
    },
    origin: null,
  };
  if (initial) {
    const origin = originOf(fitWeights(record, initial), initial);
    return { set, record: { ...record, origin }, checkpoint: undefined, initial };
  }
  if (!saved) return { set, record, checkpoint: undefined };
  checkContinuation(saved, record, options.out, options.resume ?? false);
  return { set, record: { ...record, step: saved.step, images: saved.images, origin: saved.origin }, checkpoint };
}

/** How a run trains, as its record keeps it. */
function trainingSettings(
  options: RunOptions & { microBatch: number },
  { latents }: TrainingSet,
): RunRecord['training'] {
  return {
    batchSize: options.batchSize,
    microBatch: options.microBatch,
    seed: options.seed,
    optimizer: options.optimizer,
    learningRate: options.lr,
    warmup: options.warmup,
    schedule: options.lrSchedule,
    scheduleSteps: options.lrSchedule === 'constant' ? null : (options.lrDecay?.[1] ?? options.steps),
    scheduleFrom: options.lrDecay?.[0] ?? 0,
    finalRate: options.lrFinal,
    beta2: options.beta2,
    weightDecay: options.weightDecay,
    clip: options.clip,
    termSchedules: options.termSchedule,
    emaDecays: options.ema,
    labelDropout: options.labelDropout,
    path: options.path,
    time: options.time,
    timeMean: options.timeMean,
    timeDeviation: options.timeDeviation,
    timeShift: options.timeShift === 'auto' ? shiftForSize(sizeOf(latents.shape)) : options.timeShift,
    precision: engineInfo().precision ?? 'f32',
  };
}
