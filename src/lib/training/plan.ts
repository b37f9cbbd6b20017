/** What a training run will be: its options, checked against the data and against the run that it continues. */
import type { TrainingPath } from '../diffusion/interpolant.js';
import { shiftForSize, type TimeDistribution } from '../diffusion/time.js';
import { UsageError } from '../errors.js';
import { ditConfig } from '../models/dit.js';
import { type SiTConfig, sitConfig } from '../models/sit.js';
import type { NormKind } from '../nn/layers.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { ProcessGroup } from '../parallel/group.js';
import { version } from '../version.js';
import { type AlignmentOptions, alignmentSettings, REDI_CHANNELS } from './alignment-options.js';
import { checkpointSteps, readCheckpointConfig, stepFolder } from './checkpoint.js';
import { type EncoderChoice, openComputedFeatures } from './computed-features.js';
import { TrainingSet } from './dataset.js';
import type { LearningRate } from './learning-rate.js';
import { checkNeeds } from './option-needs.js';
import { divideBatch } from './ranks.js';
import { middleBlocks, type RouteOptions, routeSettings } from './route-options.js';
import { checkContinuation, type ModelRecord, type RunRecord, type TrainingSettings } from './settings.js';

/** The options of `repa train` that decide what is computed. */
export interface RunOptions extends AlignmentOptions, RouteOptions, Partial<EncoderChoice> {
  latents: string;
  feats: string[];
  out: string;
  model: string;
  depth?: number;
  width?: number;
  heads?: number;
  patchSize?: number;
  numClasses?: number;
  qkNorm?: true;
  norm: NormKind;
  feedForward: SiTConfig['feedForward'];
  rotary?: true;
  alignDepth?: number;
  projectorDim: number;
  steps: number;
  batchSize: number;
  microBatch?: number;
  seed: number;
  optimizer: TrainingSettings['optimizer'];
  lr: number;
  lrSchedule: LearningRate['schedule'];
  warmup: number;
  beta2: number;
  weightDecay: number;
  clip: number;
  ema: number[];
  labelDropout: number;
  path: TrainingPath;
  time: TimeDistribution;
  timeShift: number | 'auto';
  resume?: true;
}

export interface RunPlan {
  set: TrainingSet;
  /** What the checkpoints will say; its `step` is where the run starts. */
  record: RunRecord;
  /** The checkpoint to continue from. */
  checkpoint: string | undefined;
}

/**
 * Opens the data, settles the model, and finds out whether a run is to be continued.
 * @throws UsageError for settings that do not fit each other or an earlier run; DataError for data that does not fit
 */
export async function planRun(options: RunOptions, group: ProcessGroup): Promise<RunPlan> {
  const microBatch = options.microBatch ?? options.batchSize;
  checkComparisons(options, divideBatch({ batchSize: options.batchSize, microBatch }, group).microBatch);
  if (options.model.startsWith('DiT')) checkDiT(options);
  if (new Set(options.ema).size < options.ema.length) throw new UsageError(`--ema ${options.ema} names a decay twice`);
  checkEncoder(options);
  const set = await openSet(options, divideBatch({ batchSize: options.batchSize, microBatch }, group).microBatch);
  const network = modelRecord(options, set);
  const { model } = network;
  const terms = alignmentSettings(options, model.depth, model.alignDepth);
  const record: RunRecord = {
    step: 0,
    version,
    ...network,
    training: {
      ...terms,
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
      emaDecays: options.ema,
      labelDropout: options.labelDropout,
      path: options.path,
      time: options.time,
      timeShift: options.timeShift === 'auto' ? shiftForSize(sizeOf(set.latentShape)) : options.timeShift,
      route: routeSettings(options, middleBlocks(options, model.depth), model, terms),
      pathDrop: options.pathDrop,
    },
    latent: { shape: set.latentShape, ...set.scale },
    data: {
      latents: { rows: set.rows, metadata: set.metadata },
      features: set.featureMetadata.map((metadata) => ({ rows: set.rows, metadata })),
    },
  };
  const newest = checkpointSteps(options.out).at(-1);
  if (newest === undefined) return { set, record, checkpoint: undefined };
  const checkpoint = stepFolder(options.out, newest);
  const saved = readCheckpointConfig(checkpoint) as RunRecord;
  checkContinuation(saved, record, options.out, options.resume ?? false);
  return { set, record: { ...record, step: saved.step }, checkpoint };
}

/** Whether anything is made of an encoder's features. */
const usesFeatures = ({ lambda, classToken, representation }: RunOptions): boolean =>
  lambda > 0 || classToken > 0 || representation > 0;

/** The data, with features that are stored or computed, or without where none are followed. */
async function openSet(options: RunOptions, rows: number): Promise<TrainingSet> {
  const { encoder, images } = options;
  const computes = encoder !== undefined && images !== undefined;
  const set = await TrainingSet.open(options.latents, usesFeatures(options) && !computes ? options.feats : []);
  if (computes) set.computeFeatures(await openComputedFeatures({ ...options, encoder, images }, set.keys(), rows));
  return set;
}

function checkEncoder(options: RunOptions): void {
  const { encoder, images } = options;
  if (encoder !== undefined && (options.classToken > 0 || options.representation > 0)) {
    throw new UsageError(
      '--class-token and --representation need stored features',
      'Give --feats in place of --encoder.',
    );
  }
  const ofEncoder = {
    '--images': images,
    '--encoder-weights': options.encoderWeights,
    '--encoder-output': options.encoderOutput,
    '--encoder-normalise': options.encoderNormalise,
    '--encoder-size': options.encoderSize,
  };
  checkNeeds([
    ['--encoder', encoder !== undefined, '--lambda', options.lambda > 0],
    ['--encoder', encoder !== undefined, '--images', images !== undefined],
    ...Object.entries(ofEncoder).map(
      ([option, value]) => [option, value !== undefined, '--encoder', encoder !== undefined] as const,
    ),
  ]);
}

/** @throws UsageError for options that a network which predicts noise has no use for */
function checkDiT(options: RunOptions): void {
  const velocityOptions = {
    '--path': options.path !== 'linear',
    '--time': options.time !== 'uniform',
    '--direction': options.direction > 0,
    '--contrastive': options.contrastive > 0,
    '--sra': options.sra > 0,
    '--time-shift': options.timeShift !== 1,
    '--class-token': options.classToken > 0,
    '--representation': options.representation > 0,
  };
  const given = Object.entries(velocityOptions).flatMap(([option, isGiven]) => (isGiven ? [option] : []));
  if (given.length === 0) return;
  throw new UsageError(
    `${given.join(', ')}: for a SiT, which learns a velocity; a DiT learns the noise of DDPM's steps`,
  );
}

/** @throws UsageError for terms that compare images with each other where there is one at a time */
function checkComparisons({ contrastive, dispersive, projectionLoss }: RunOptions, rows: number): void {
  if (rows > 1 || (contrastive === 0 && dispersive === 0 && projectionLoss === 'cosine')) return;
  const option = contrastive > 0 ? '--contrastive' : dispersive > 0 ? '--dispersive' : '--projection-loss nt-xent';
  throw new UsageError(
    `${option} compares the images that are computed together, but that is one`,
    'Raise --micro-batch.',
  );
}

/** The network that `options` name, in the sizes that the data asks for. */
function modelRecord(options: RunOptions, set: TrainingSet): ModelRecord {
  const [channels, height, width] = set.latentShape;
  if (height !== width) throw new UsageError(`latents are ${height}x${width}: the model takes square ones`);
  const given = {
    depth: options.depth,
    hiddenSize: options.width,
    numHeads: options.heads,
    patchSize: options.patchSize,
    alignDepth: options.alignDepth,
  };
  const chosen = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const sizes = {
    ...chosen,
    inputSize: height,
    inChannels: channels + (options.representation > 0 ? (options.representationChannels ?? REDI_CHANNELS) : 0),
    numClasses: options.numClasses ?? Math.max(1, set.classes),
    qkNorm: options.qkNorm ?? false,
    norm: options.norm,
    feedForward: options.feedForward,
    rotary: options.rotary ?? false,
    classTokenDim: options.classToken > 0 ? set.features[0].dim : 0,
    projector: options.projector,
    projectorDim: options.projectorDim,
    selfAlignment: options.sra > 0,
    zDims: options.lambda > 0 ? set.features.map(({ dim }) => dim) : [],
  };
  const isDiT = options.model.startsWith('DiT');
  const { depth } = isDiT ? ditConfig(options.model, sizes) : sitConfig(options.model, sizes);
  const whole = { ...sizes, fusion: options.fusion ? middleBlocks(options, depth) : null };
  const record: ModelRecord = isDiT
    ? { architecture: 'DiT', model: ditConfig(options.model, whole) }
    : { architecture: 'SiT', model: sitConfig(options.model, whole) };
  const config = record.model;
  if (set.classes > config.numClasses) {
    throw new UsageError(`the labels go up to ${set.classes - 1}, but --num-classes is ${config.numClasses}`);
  }
  const tokens = (config.inputSize / config.patchSize) ** 2;
  if (options.classToken > 0 && set.features.length > 1) {
    throw new UsageError('--class-token takes the class token of one encoder, but --feats names several');
  }
  for (const feature of options.lambda > 0 ? set.features : []) {
    if (feature.tokens === tokens) continue;
    throw new UsageError(
      `${feature.name} gives ${feature.tokens} tokens an image, the model has ${tokens}`,
      'Both grids must be the same: change --patch-size, or --size of encode-vae or extract-dino.',
    );
  }
  return record;
}
