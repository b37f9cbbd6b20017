/** What a run is, as config.json of its checkpoints holds it. */
import { TRAINING_PATHS } from '../diffusion/interpolant.js';
import { DataError } from '../errors.js';
import {
  checked,
  count,
  countUpTo,
  dictionaryOf,
  fields,
  fieldsWith,
  later,
  listOf,
  numeric,
  oneOf,
  orNull,
  readShape,
  type ShapeOf,
  truth,
  words,
} from '../formats/json-shape.js';
import { type Average, isAverage } from '../optim/average.js';
import { methodSettings } from '../repa/methods.js';
import { fromFormat1 } from './record-format-1.js';
import { fromFormat2 } from './record-format-2.js';
import { TERM_SCHEDULE } from './term-schedule.js';

/** The format of records that are written; records of older formats are read. */
export const RECORD_FORMAT = 3;

/** Settings of Adam that are the same in every run. */
export const ADAM = { beta1: 0.9, epsilon: 1e-8 } as const;

/** A bound that no network reaches: blocks are gone through one by one before their weights are looked at. */
const blocks = countUpTo(4096);

/** Parts that only some networks have: their fields may be absent. */
const DESIGN = {
  qkNormKind: oneOf('layer', 'rms'),
  positions: oneOf('none'),
  valueResidual: truth,
  prediction: oneOf('data'),
  bottleneck: count,
  context: fields({ tokens: count, block: count }),
  conditionTokens: fields({ time: count, label: count }),
  timeEmbedding: oneOf('fourier'),
  head: fields({ depth: blocks, hiddenSize: count, numHeads: count }),
  text: fields({ tokens: count, dim: count }),
  lead: fields({ by: numeric, channels: count }),
};

const SIZES = {
  inputSize: count,
  patchSize: count,
  inChannels: count,
  outChannels: count,
  depth: blocks,
  hiddenSize: count,
  numHeads: count,
  mlpRatio: numeric,
  numClasses: count,
  nullClass: truth,
  qkNorm: truth,
  norm: oneOf('layer', 'rms', 'rms-plain'),
  feedForward: oneOf('gelu', 'swiglu'),
  rotary: truth,
  alignDepth: count,
  reversedTime: truth,
};

const MODEL = fieldsWith(SIZES, DESIGN);

/** The defaults of the official code are the defaults of `repa train`. */
const TRAINING = fields({
  /** The global batch: rows of one optimiser step. */
  batchSize: count,
  /** Rows of one forward and backward pass; a step accumulates batchSize / microBatch of them. */
  microBatch: count,
  seed: count,
  /** Muon steps the matrices of blocks and projectors, AdamW the rest. */
  optimizer: oneOf('adamw', 'muon'),
  /** The highest rate of the schedule. */
  learningRate: numeric,
  /** Steps over which it grows linearly from 0. */
  warmup: count,
  schedule: oneOf('constant', 'cosine', 'linear'),
  /** The step at which the cosine reaches 0, or the line the final rate; null for a constant rate. */
  scheduleSteps: orNull(count),
  /** The step after which the line begins, and the rate at which it ends. */
  scheduleFrom: later(count, 0),
  finalRate: later(numeric, 0),
  beta2: numeric,
  weightDecay: numeric,
  /** Gradients with a larger norm are scaled down to it. */
  clip: numeric,
  /** How the weights of terms change over the steps. */
  termSchedules: later(listOf(TERM_SCHEDULE), []),
  /** The moving averages of the weights, each with a decay or along a power of the time; samples use the first. */
  emaDecays: listOf(checked<Average>('the decay of an average, or its width', isAverage)),
  /** Chance that a label is replaced by the null class. */
  labelDropout: numeric,
  path: oneOf(...TRAINING_PATHS),
  time: oneOf('uniform', 'lognormal'),
  /** By how much times are moved towards the noise; 1 for not at all. */
  timeShift: numeric,
  /** Mean and deviation of the logarithm of noise to signal, of lognormal times. */
  timeMean: later(numeric, 0),
  timeDeviation: later(numeric, 1),
  /** Of the operands of products; weights, sums and everything else are f32. */
  precision: oneOf('f32', 'f32x2', 'bf16', 'f16'),
});

/** A stream of the data: its rows, and its header, which tells how they were made. */
const DATA = fieldsWith(
  { rows: count, metadata: dictionaryOf(words) },
  {
    /** Hash of what the rows hold; absent where features are computed on the way. */
    content: words,
  },
);

/** Where weights come from that a run did not draw itself: an imported file, or another run. */
const ORIGIN = fields({
  by: oneOf('import', 'init'),
  source: words,
  /** Of the weights that were taken; null where they were not looked at as one. */
  sha256: orNull(words),
  /** Steps that they had been trained for; null where nothing told. */
  step: orNull(count),
  /** Which weights of the source became the weights and the average of this run. */
  weights: fields({ model: words, ema: words }),
  /** The step of this run at which they came in. */
  at: count,
  /** How many tensors were taken as they were. */
  taken: count,
  /**
   * Names of tensors taken in part or recomputed, of those that started afresh, and of those of the source left out.
   */
  adapted: listOf(words),
  fresh: listOf(words),
  left: listOf(words),
});

const RECORD = fields({
  step: count,
  /** Images seen up to here: where in the data the next step begins. */
  images: count,
  /** Version of repa. */
  version: words,
  architecture: oneOf('SiT', 'DiT'),
  model: MODEL,
  methods: methodSettings,
  training: TRAINING,
  latent: fields({ shape: listOf(count), scale: listOf(numeric), shift: listOf(numeric) }),
  /** `labelled` is how many rows have a label; null where that was not told. */
  data: fieldsWith({ latents: DATA, features: listOf(DATA), labelled: orNull(count) }, { text: DATA }),
  origin: orNull(ORIGIN),
});

export type TrainingSettings = ShapeOf<typeof TRAINING>;

export type WeightsOrigin = ShapeOf<typeof ORIGIN>;

/** config.json of a checkpoint, besides its format. */
export type RunRecord = ShapeOf<typeof RECORD>;

/** Images that a run has seen before step number `step`, counted from 0. */
export const imagesBefore = (record: Pick<RunRecord, 'images' | 'step' | 'training'>, step: number): number =>
  record.images + (step - record.step) * record.training.batchSize;

/**
 * The record that JSON of any format holds.
 * @throws DataError for a format that this version does not know, and naming a field that is missing, unknown or wrong
 */
export function readRecord(json: unknown, source: string): RunRecord {
  if (typeof json !== 'object' || json === null) throw new DataError(`${source}: is not the record of a run`);
  const { format = 1, ...record } = json as Record<string, unknown>;
  if (format === 1) return readShape(RECORD, fromFormat2(fromFormat1(record, source), source), source);
  if (format === 2) return readShape(RECORD, fromFormat2(record, source), source);
  if (format === RECORD_FORMAT) return readShape(RECORD, record, source);
  throw new DataError(
    `${source}: is of format ${JSON.stringify(format)}, but this version reads up to ${RECORD_FORMAT}`,
    'A newer version of repa wrote it: update this one.',
  );
}

/** The record as JSON that `readRecord` reads. */
export const writtenRecord = (record: RunRecord): Record<string, unknown> => ({ format: RECORD_FORMAT, ...record });
