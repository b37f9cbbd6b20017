/** What a training run will be: its options, checked against the data and against the run that it continues. */
import path from 'node:path';
import { shiftForSize } from '../diffusion/time.js';
import { engineInfo } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { portablePath } from '../files/portable-path.js';
import { contextBlockOf, patchCount, type TransformerConfig, transformerConfig } from '../models/dit-sizes.js';
import { sizeOf } from '../numbers/typed-array.js';
import { inUse } from '../options/resolve.js';
import type { Values } from '../options/table.js';
import type { ProcessGroup } from '../parallel/group.js';
import { activeMethods, chosenMethods, type MethodValues, settleMethods } from '../repa/methods.js';
import type { Network } from '../repa/network.js';
import { version } from '../version.js';
import { checkpointSteps, readCheckpointRecord, stepFolder } from './checkpoint.js';
import { openComputedFeatures } from './data/features.js';
import { TrainingSet } from './data/set.js';
import { fitWeights, type InitialWeights, originOf } from './initial-weights.js';
import type { DATA, MODEL, STEPS } from './options.js';
import { divideBatch } from './ranks.js';
import { checkContinuation, type RunRecord } from './record.js';

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
 * @throws UsageError for settings that do not fit each other or an earlier run; DataError for data or weights that do not fit
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
    training: {
      batchSize: options.batchSize,
      microBatch,
      seed: options.seed,
      optimizer: options.optimizer,
      learningRate: options.lr,
      warmup: options.warmup,
      schedule: options.lrSchedule,
      scheduleSteps: options.lrSchedule === 'cosine' ? options.steps : null,
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
      timeShift: options.timeShift === 'auto' ? shiftForSize(sizeOf(set.latents.shape)) : options.timeShift,
      precision: engineInfo().precision ?? 'f32',
    },
    latent: { shape: [...set.latents.shape], ...set.latents.scale },
    data: {
      latents: { rows: set.rows, metadata: set.latents.file.schema.metadata },
      features: set.featureMetadata.map((metadata) => ({ rows: set.rows, metadata })),
      labelled: set.latents.labelled,
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

/**
 * The same command goes on with its run; another is not started from weights in the same folder.
 * @throws UsageError when the run in --out began otherwise than --init says
 */
function checkOrigin({ origin }: RunRecord, { init, out }: RunOptions): void {
  if (init === undefined || (origin?.by === 'init' && isWithin(origin.source, init))) return;
  const began = origin ? `from ${origin.source}` : 'with weights of its own';
  throw new UsageError(
    `${out} holds a run that began ${began}: it continues from its newest checkpoint, not from --init ${init}`,
    'Choose another --out for a new run, or drop --init to continue this one.',
  );
}

/** Whether a checkpoint is what a name means today or meant yesterday, when a folder had fewer of them. */
const isWithin = (source: string, name: string): boolean =>
  [portablePath(name), name].some((each) => source === each || path.dirname(source) === each);

/** The data, with features that are stored or computed, or without where no method asks for them. */
async function openSet(options: RunOptions, rows: number): Promise<TrainingSet> {
  const { encoder, images } = options;
  const computes = encoder !== undefined && images !== undefined;
  const asked = chosenMethods(options.methods).some(({ features }) => features);
  const set = await TrainingSet.open(options.latents, asked && !computes ? options.feats : []);
  if (computes)
    set.computeFeatures(await openComputedFeatures({ ...options, encoder, images }, set.latents.file.keys(), rows));
  return set;
}

/** @throws UsageError for an encoder that no method follows, or one in place of features that have to be stored */
function checkEncoder({ encoder, images, methods }: RunOptions): void {
  if (encoder === undefined) return;
  const chosen = chosenMethods(methods);
  const generating = chosen.filter(({ features }) => features === 'generated');
  if (generating.length > 0) {
    const flags = generating.map(({ name, options }) => inUse(options, methods[name])[0].long);
    throw new UsageError(
      `${flags.join(' and ')} need${flags.length === 1 ? 's' : ''} stored features`,
      'Give --feats in place of --encoder.',
    );
  }
  if (chosen.every(({ features }) => features !== 'followed')) {
    throw new UsageError('--encoder does nothing without --lambda');
  }
  if (images === undefined) throw new UsageError('--encoder does nothing without --images');
}

/** The parts of JiT and DDT that the options ask for. @throws UsageError for a prediction that is not for the path */
function settledDesign(options: RunOptions, depth: number): Partial<TransformerConfig> {
  const { prediction, path, bottleneck, contextTokens, contextBlock, timeEmbedding, wideHead } = options;
  const { qkNormKind, positions, valueResidual } = options;
  if (prediction === 'data' && path !== 'linear') {
    throw new UsageError(`--prediction data is for --path linear, not ${path}`);
  }
  return {
    ...(qkNormKind && { qkNormKind }),
    ...(positions === 'none' && { positions }),
    ...(valueResidual && { valueResidual }),
    ...(prediction === 'data' && { prediction }),
    ...(bottleneck !== undefined && { bottleneck }),
    ...(contextTokens !== undefined && {
      context: { tokens: contextTokens, block: contextBlock ?? contextBlockOf(depth) },
    }),
    ...(timeEmbedding === 'fourier' && { timeEmbedding }),
    ...(wideHead && { head: wideHead }),
  };
}

/**
 * The network that the options name, in the sizes that the data asks for, and the methods that are on.
 * @param origin the network whose weights it has or starts from, by which it runs through time
 */
function settleNetwork(options: RunOptions, set: TrainingSet, rows: number, origin?: TransformerConfig): Network {
  const [channels, height, width] = set.latents.shape;
  if (height !== width) throw new UsageError(`latents are ${height}x${width}: the model takes square ones`);
  const given: Partial<TransformerConfig> = {
    depth: options.depth,
    hiddenSize: options.width,
    numHeads: options.heads,
    patchSize: options.patchSize,
    alignDepth: options.alignDepth,
  };
  const architecture = options.model.startsWith('DiT') ? 'DiT' : 'SiT';
  const chosen = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const sizes: Partial<TransformerConfig> = {
    ...chosen,
    inputSize: height,
    numClasses: options.numClasses ?? Math.max(1, set.latents.classes),
    qkNorm: options.qkNorm ?? false,
    norm: options.norm,
    feedForward: options.feedForward,
    rotary: options.rotary ?? false,
    ...settledDesign(options, options.depth ?? transformerConfig(architecture, options.model).depth),
  };
  if (architecture === 'SiT') sizes.reversedTime = origin?.reversedTime ?? false;
  const sized = (inChannels: number) => transformerConfig(architecture, options.model, { ...sizes, inChannels });
  const facts = { architecture, model: sized(channels), features: set.features, rows } as const;
  const methods = settleMethods(options.methods, facts);
  const active = activeMethods(methods);
  const added = active.reduce((sum, { method, settings }) => sum + (method.channels?.(settings) ?? 0), 0);
  const model = sized(channels + added);
  if (set.latents.classes > model.numClasses) {
    throw new UsageError(`the labels go up to ${set.latents.classes - 1}, but --num-classes is ${model.numClasses}`);
  }
  const followed = active.some(({ method }) => method.features === 'followed') ? set.features : [];
  for (const { name, tokens } of followed) {
    if (tokens === patchCount(model)) continue;
    throw new UsageError(
      `${name} gives ${tokens} tokens an image, the model has ${patchCount(model)}`,
      'Both grids must be the same: change --patch-size, or --size of encode-vae or extract-dino.',
    );
  }
  return { architecture, model, methods };
}
