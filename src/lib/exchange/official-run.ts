/**
 * Describes an official checkpoint as a record of ours: its architecture, its latents and, as far as known, its run.
 */
import type { TrainingPath } from '../diffusion/interpolant.js';
import { shiftForSize } from '../diffusion/time.js';
import { DataError, UsageError } from '../errors.js';
import { showPlain } from '../formats/pickle.js';
import { publishedName, type TransformerConfig, transformerConfig } from '../models/dit-sizes.js';
import type { Average } from '../optim/average.js';
import { type CodecHints, codecMetadata, settleCodec } from '../pretrained/latent-codec.js';
import type { OfficialCheckpoint, StateDict } from '../pretrained/official-checkpoint.js';
import { inferNetwork } from '../repa/infer.js';
import type { Network } from '../repa/network.js';
import { ADAM, type RunRecord, readRecord, type TrainingSettings } from '../training/record.js';
import type { WeightsChoice } from '../training/weights-choice.js';
import { version } from '../version.js';

/**
 * The entry in which our exports keep the whole record as JSON: an argument of a .pt, in the header of a .safetensors.
 */
export const RUN_KEY = 'repa.run';

/** Facts that neither the weights nor the saved arguments tell. */
export interface OfficialHints {
  /** `SiT-XL/2`, `DiT-B/4`, or the family alone: `SiT`, `DiT`. */
  model?: string;
  /** Attention heads, where they are not those of the published model of this width. */
  heads?: number;
  path?: TrainingPath;
  /** Classes, where its label table may have no row for the null class. */
  numClasses?: number;
  /** Where its weights lie, where a file holds several sets of them. */
  key?: string;
  /** The codec of its latents. */
  codec?: CodecHints;
}

/** The arguments of REPA's train.py, or what it fixes, where a checkpoint does not tell. */
const RECIPE: TrainingSettings = {
  batchSize: 256,
  microBatch: 256,
  seed: 0,
  optimizer: 'adamw',
  learningRate: 1e-4,
  warmup: 0,
  schedule: 'constant',
  scheduleSteps: null,
  scheduleFrom: 0,
  finalRate: 0,
  beta2: 0.999,
  weightDecay: 0,
  clip: 1,
  termSchedules: [],
  emaDecays: [0.9999],
  labelDropout: 0.1,
  path: 'linear',
  time: 'uniform',
  timeShift: 1,
  timeMean: 0,
  timeDeviation: 1,
  precision: 'f32',
};

/** A checkpoint as config.json describes one of ours, and which weights it has. */
export interface DescribedCheckpoint {
  record: RunRecord;
  /**
   * What is told of `model` and of `ema`: `raw`, `ema 0.9999`, `ema` of a decay that is not told, or the file's only
   * set.
   */
  weights: { model: string; ema: string };
}

/**
 * Describes a checkpoint: in the very words of config.json if it was exported from one of ours.
 * @throws DataError when it holds no SiT or DiT, or one of another objective; UsageError when something has to be
 *   named, or what is named is not so
 */
export function describeOfficial(checkpoint: OfficialCheckpoint, hints: OfficialHints): DescribedCheckpoint {
  const exported = exportedRecord(checkpoint);
  if (exported) checkPath(exported, hints, checkpoint.source);
  const record = exported ?? foreignRecord(checkpoint, hints);
  const decay = decayOf(checkpoint, exported);
  const { step = record.step } = checkpoint; // a script that trained on may have kept our record among the arguments
  const images = record.images + (step - record.step) * record.training.batchSize;
  const emaDecays = [decay ?? record.training.emaDecays[0]];
  return {
    record: { ...record, step, images, training: { ...record.training, emaDecays } },
    weights: weightsTold(checkpoint, decay),
  };
}

function foreignRecord(checkpoint: OfficialCheckpoint, hints: OfficialHints): RunRecord {
  const kind = recogniseModel(checkpoint, hints);
  const { inChannels, inputSize } = kind.model;
  const codec = settleCodec(inChannels, hints.codec ?? {}, checkpoint.source);
  return {
    step: 0,
    images: 0,
    version,
    ...kind,
    training: {
      ...trainingSettings(checkpoint, kind.model, hints),
      // The models of RAE, which alone have a wide head, and of RJF were trained and are sampled so.
      ...((kind.model.head || hints.path === 'geodesic') && { timeShift: shiftForSize(inChannels * inputSize ** 2) }),
    },
    latent: { shape: [inChannels, inputSize, inputSize], ...codec.scale },
    data: { latents: { rows: 0, metadata: codecMetadata(codec, inputSize) }, features: [], labelled: null },
    origin: null,
  };
}

/** The decay of the moving average: from the file, from its run, or the constant of the official code. */
function decayOf({ holds, decay, isOfficial }: OfficialCheckpoint, exported?: RunRecord): Average | undefined {
  if (decay !== undefined || holds === 'one') return decay;
  return exported?.training.emaDecays[0] ?? (isOfficial ? RECIPE.emaDecays[0] : undefined);
}

function weightsTold({ holds, only }: OfficialCheckpoint, decay: Average | undefined) {
  const ema = holds === 'one' ? only : decay === undefined ? 'ema' : `ema ${decay}`;
  return { model: holds === 'both' ? 'raw' : ema, ema };
}

/**
 * What the chosen weights of a file are called.
 * @throws UsageError for weights that it does not have apart, or an average that it does not tell of
 */
export function chosenWeights(
  { source, holds }: OfficialCheckpoint,
  { weights }: DescribedCheckpoint,
  { raw = false, ema }: WeightsChoice,
): string {
  if (raw && holds !== 'both' && weights.model !== 'raw') {
    throw new UsageError(`${source} holds one set of weights (${weights.ema}): drop --raw`);
  }
  if (ema !== undefined && weights.ema !== `ema ${ema}`) {
    throw new UsageError(`--ema ${ema}: ${source} does not tell of such an average, but of ${weights.ema}`, 'Drop it.');
  }
  return raw ? weights.model : weights.ema;
}

/** @throws UsageError for a path that is not that of the record */
function checkPath({ training }: RunRecord, { path }: OfficialHints, source: string): void {
  if (path === undefined || path === training.path) return;
  throw new UsageError(`--path ${path}: ${source} tells that it was trained on the ${training.path} one`, 'Drop it.');
}

/** @throws DataError when it is damaged */
function exportedRecord({ source, metadata, args }: OfficialCheckpoint): RunRecord | undefined {
  const text = metadata[RUN_KEY] ?? args[RUN_KEY];
  if (typeof text !== 'string') return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new DataError(`${source}: its ${RUN_KEY} cannot be read: ${(error as Error).message}`);
  }
  return readRecord(json, `${source}: ${RUN_KEY}`);
}

/** SiT or DiT: their state dicts have the same names, and only REPA's SiT is told apart by its output. */
function recogniseModel({ source, ema, args }: OfficialCheckpoint, hints: OfficialHints): Network {
  const name = hints.model ?? (typeof args.model === 'string' ? args.model : undefined);
  const family = /^(SiT|DiT)(?=-|$)/.exec(name ?? '')?.[1];
  if (hints.model !== undefined && family === undefined) {
    throw new UsageError(`--model ${hints.model}: it takes a name such as SiT-XL/2 or DiT-XL/2, or SiT or DiT`);
  }
  const alignDepth = typeof args.encoder_depth === 'number' ? args.encoder_depth : undefined;
  const known = { numHeads: hints.heads, alignDepth, ...knownClasses(ema, args, hints, source) };
  const sit = inferNetwork('SiT', ema, source, known);
  const predictsTwice = sit.model.outChannels === 2 * sit.model.inChannels;
  if (family === undefined && predictsTwice) {
    throw new UsageError(
      `${source}: the weights of a DiT or of the original SiT, which nothing in the file tells apart`,
      'Say which with --model, such as --model DiT-XL/2 or --model SiT-XL/2.',
    );
  }
  if (family === 'DiT' && !predictsTwice) {
    throw new DataError(
      `${source}: a DiT predicts noise and variance, but this has ${sit.model.outChannels} output channels`,
    );
  }
  checkSize(sit.model, hints, source);
  const network = family === 'DiT' ? inferNetwork('DiT', ema, source, known) : sit;
  return { ...network, methods: withLambda(network.methods, args) };
}

/**
 * The official code has no row for the null class where no label is ever dropped.
 * @throws DataError for a table of other rows than the classes that were named need
 */
function knownClasses(
  weights: StateDict,
  args: OfficialCheckpoint['args'],
  { numClasses }: OfficialHints,
  source: string,
): Pick<Partial<TransformerConfig>, 'numClasses' | 'nullClass'> {
  const rows = weights.get('y_embedder.embedding_table.weight')?.shape[0] ?? 0;
  if (numClasses !== undefined && rows !== numClasses && rows !== numClasses + 1) {
    throw new DataError(
      `${source}: the label table has ${rows} rows, which is neither ${numClasses} classes nor one more`,
    );
  }
  if (numClasses !== undefined || typeof args.num_classes === 'number') {
    return { numClasses: numClasses ?? (args.num_classes as number) };
  }
  return { nullClass: droppedLabels(args) !== 0 };
}

/** The chance of a dropped label, as REPA, SiT and DiT call it. */
function droppedLabels(args: OfficialCheckpoint['args']): number | undefined {
  return [args.cfg_prob, args.class_dropout_prob].find((value) => typeof value === 'number');
}

/** @throws DataError when the weights are not of the size that --model says. */
function checkSize(found: TransformerConfig, { model = '' }: OfficialHints, source: string): void {
  if (!model.includes('-')) return;
  const named = transformerConfig(model.startsWith('DiT') ? 'DiT' : 'SiT', model);
  const size = ({
    depth,
    hiddenSize,
    patchSize,
  }: Pick<TransformerConfig, 'depth' | 'hiddenSize' | 'patchSize'>): string =>
    `${depth} blocks of width ${hiddenSize} on patches of ${patchSize}`;
  if (size(named) === size(found)) return;
  throw new DataError(`${source}: holds ${size(found)}, but ${model} is ${size(named)}`);
}

/** The weight of REPA's loss is among the arguments. */
const withLambda = ({ repa, ...others }: Network['methods'], { proj_coeff: lambda }: OfficialCheckpoint['args']) =>
  repa ? { repa: { ...repa, ...(typeof lambda === 'number' && { lambda }) }, ...others } : others;

/** Paths by the names of REPA's and of the original SiT's command lines. */
const PATHS = new Map([
  ['linear', 'linear'],
  ['Linear', 'linear'],
  ['cosine', 'cosine'],
  ['GVP', 'cosine'],
] as const);

function trainingSettings(
  { source, args }: OfficialCheckpoint,
  { nullClass }: TransformerConfig,
  hints: OfficialHints,
): TrainingSettings {
  const numeric = (name: string, fallback: number): number =>
    typeof args[name] === 'number' ? (args[name] as number) : fallback;
  const named = (args.path_type ?? 'linear') as 'linear';
  const path = hints.path ?? PATHS.get(named);
  const objective = args.prediction ?? 'v';
  if (path === undefined || (objective !== 'v' && objective !== 'velocity')) {
    throw new DataError(
      `${source}: trained to predict ${showPlain(objective)} on the path ${showPlain(named)}, which is not supported`,
    );
  }
  const batchSize = numeric('batch_size', numeric('global_batch_size', RECIPE.batchSize));
  return {
    ...RECIPE,
    batchSize,
    microBatch: batchSize,
    seed: numeric('seed', numeric('global_seed', RECIPE.seed)),
    learningRate: numeric('learning_rate', RECIPE.learningRate),
    beta2: numeric('adam_beta2', RECIPE.beta2),
    weightDecay: numeric('adam_weight_decay', RECIPE.weightDecay),
    clip: numeric('max_grad_norm', RECIPE.clip),
    labelDropout: droppedLabels(args) ?? (nullClass ? RECIPE.labelDropout : 0),
    path,
    time: args.weighting === 'lognormal' ? 'lognormal' : 'uniform',
  };
}

/** The arguments of REPA's train.py that make such a run, as it saves them in a checkpoint. */
export function toOfficialArguments({ architecture, model, methods, training, data }: RunRecord) {
  const { lambda = 0 } = (methods.repa ?? {}) as { lambda?: number };
  const { size } = JSON.parse(data.latents.metadata['repa.preprocess'] ?? '{}') as { size?: number };
  return {
    model: publishedName(architecture, model) ?? architecture,
    num_classes: model.numClasses,
    encoder_depth: model.alignDepth,
    qk_norm: model.qkNorm,
    resolution: size ?? model.inputSize,
    batch_size: training.batchSize,
    seed: training.seed,
    learning_rate: training.learningRate,
    adam_beta1: ADAM.beta1,
    adam_beta2: training.beta2,
    adam_weight_decay: training.weightDecay,
    adam_epsilon: ADAM.epsilon,
    max_grad_norm: training.clip,
    path_type: training.path,
    prediction: 'v',
    cfg_prob: training.labelDropout,
    proj_coeff: lambda,
    weighting: training.time,
  };
}
