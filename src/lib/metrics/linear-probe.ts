/**
 * Linear probing: how well a linear classifier reads the class off frozen features. The protocol of REPA (arXiv
 * 2410.06940, appendix): batch normalisation without parameters, then a linear layer, trained for 90 epochs of batches
 * of 16,384 with Adam at 1e-3 and a cosine schedule.
 */
import { type Captured, linear, tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';
import { fillNormal, PURPOSE, permutation } from '../numbers/random.js';
import { captureGradients, ParameterStore } from '../optim/index.js';
import { type FeatureRows, rowRange, rowsAtATime } from './feature-rows.js';

export interface LabelledFeatures {
  readonly features: FeatureRows; // [N, D]
  readonly labels: Int32Array; // [N]
}

export interface ProbeOptions {
  epochs?: number;
  batchSize?: number;
  learningRate?: number;
  seed: number;
  /** Elements of features that are computed at a time; a batch of more is computed in blocks. */
  blockElements?: number;
  /** Called after each epoch with the part of the training done, in (0, 1], and its mean loss. */
  onEpoch?: (fraction: number, loss: number) => void;
}

export interface LinearProbe {
  readonly classes: number;
  /** Mean and variance of the features, as running averages over the batches. */
  readonly mean: Float64Array; // [D]
  readonly variance: Float64Array; // [D]
  readonly weight: Float32Array; // [classes, D]
  readonly bias: Float32Array; // [classes]
}

/** Elements of a block, 32 MiB; a step needs about five such blocks. */
const BLOCK_ELEMENTS = 2 ** 23;
const BLOCKS = 5;
/** Copies of the weights: themselves, gradients, their sum, Adam's moments, and the folded weights. */
const COPIES = 7;

/** Bytes that training and testing take at most, besides the features. */
export function linearProbeMemory(train: Pick<FeatureRows, 'rows' | 'columns'>, classes: number): number {
  const { columns } = train;
  return 4 * (BLOCKS * rowsAtATime(train, BLOCK_ELEMENTS) * columns + COPIES * classes * columns);
}

const VARIANCE_FLOOR = 1e-6;
/** The share of the newest batch in the running mean and variance. */
const MOMENTUM = 0.1;

/**
 * Trains a probe. With fewer samples than a batch, all of them are one batch; else the last samples of an epoch's
 * order, too few for a batch, are left out of that epoch.
 *
 * @throws DataError when there are not two samples, or a label is negative
 */
export function trainLinearProbe(train: LabelledFeatures, options: ProbeOptions): LinearProbe {
  const { epochs = 90, learningRate = 1e-3, seed, onEpoch } = options;
  const { features, labels } = train;
  const { rows, columns } = features;
  if (rows < 2) throw new DataError(`cannot train a probe on ${rows} samples`);
  const unlabelled = labels.findIndex((label) => label < 0);
  if (unlabelled >= 0) throw new DataError(`row ${unlabelled} of the training features has no label`);
  const classes = labels.reduce((largest, label) => Math.max(largest, label), 0) + 1;
  const batchSize = Math.min(options.batchSize ?? 16384, rows);
  const blockRows = rowsAtATime({ rows: batchSize, columns }, options.blockElements ?? BLOCK_ELEMENTS);
  const store = initialise(classes, columns, seed, blockRows < batchSize);
  const batch = new Batch(store, { batchSize, blockRows, columns, classes });
  const running = new RunningMoments(columns);
  const batches = Math.floor(rows / batchSize);
  for (let epoch = 0, step = 0; epoch < epochs; epoch++) {
    const order = permutation(rows, seed, PURPOSE.probe, epoch);
    let epochLoss = 0;
    for (let index = 0; index < batches; index++, step++) {
      const chosen = order.subarray(index * batchSize, (index + 1) * batchSize);
      const { loss, mean, variance } = batch.run(train, chosen);
      running.add(mean, variance, batchSize);
      epochLoss += loss / batches;
      store.step({
        step: step + 1,
        lr: 0.5 * learningRate * (1 + Math.cos((Math.PI * step) / (epochs * batches))),
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weightDecay: 0,
        clip: null,
        emaDecays: [],
      });
    }
    onEpoch?.((epoch + 1) / epochs, epochLoss);
  }
  batch.dispose();
  const [weight, bias] = store.parameters.map(({ value }) => value.slice());
  store.dispose();
  return { classes, mean: running.mean, variance: running.variance, weight, bias };
}

/**
 * The share of samples whose own class is among the `top` classes of largest logit.
 * @throws DataError when the features are not of the probe's dimension
 */
export function probeAccuracy(probe: LinearProbe, test: LabelledFeatures, top = 1): number {
  const { features, labels } = test;
  const { rows, columns } = features;
  if (columns !== probe.mean.length) {
    throw new DataError(`the probe reads ${probe.mean.length} features, the test rows have ${columns}`);
  }
  const { weight, bias } = foldNormalisation(probe);
  const height = rowsAtATime(features, BLOCK_ELEMENTS);
  let right = 0;
  for (let first = 0; first < rows; first += height) {
    const chosen = rowRange(features, first, height);
    const block = { rows: chosen.length, columns, data: new Float32Array(chosen.length * columns) };
    features.read(chosen, block.data);
    const logits = matrixProduct(block, weight, { transposeB: true }).data; // [n, classes]
    for (let row = 0; row < block.rows; row++) {
      const scores = logits.subarray(row * probe.classes, (row + 1) * probe.classes).map((logit, c) => logit + bias[c]);
      const own = scores[labels[first + row]];
      if (scores.reduce((ahead, score) => ahead + Number(score > own), 0) < top && own !== undefined) right++;
    }
  }
  return right / rows;
}

/** Starts with small weights, as the normalised features have unit variance. */
function initialise(classes: number, columns: number, seed: number, accumulation: boolean): ParameterStore {
  const weight = new Float32Array(classes * columns);
  fillNormal(weight, seed, PURPOSE.probe, 1);
  const parameters = [
    { name: 'weight', shape: [classes, columns], data: weight.map((value) => 0.01 * value) },
    { name: 'bias', shape: [classes], data: new Float32Array(classes) },
  ];
  return new ParameterStore(parameters, { accumulation });
}

interface BatchSizes {
  batchSize: number;
  /** Rows that are computed at a time. */
  blockRows: number;
  columns: number;
  classes: number;
}

interface BatchMoments {
  mean: Float64Array; // [D]
  variance: Float64Array; // [D], divided by the number of rows
}

/** The loss of a batch of rows, and its gradients in the store: the sums of those of its blocks. */
class Batch {
  readonly #store: ParameterStore;
  readonly #sizes: BatchSizes;
  readonly #gradients: Captured;
  readonly #features: Float32Array; // [block, D]
  readonly #labels: Int32Array; // [block]
  readonly #shares: Float32Array; // [block]

  constructor(store: ParameterStore, sizes: BatchSizes) {
    const { blockRows, columns, classes } = sizes;
    this.#store = store;
    this.#sizes = sizes;
    this.#gradients = captureLoss(store, blockRows, columns, classes);
    this.#features = new Float32Array(blockRows * columns);
    this.#labels = new Int32Array(blockRows);
    this.#shares = new Float32Array(blockRows);
  }

  run({ features, labels }: LabelledFeatures, rows: Uint32Array): BatchMoments & { loss: number } {
    const { blockRows } = this.#sizes;
    const { mean, variance } = this.#momentsOf(features, rows);
    const shift = Float32Array.from(mean);
    const scale = Float32Array.from(variance, (value) => 1 / Math.sqrt(value + VARIANCE_FLOOR));
    let loss = 0;
    for (let first = 0; first < rows.length; first += blockRows) {
      const block = rows.subarray(first, first + blockRows);
      this.#shares.fill(0).fill(1 / rows.length, 0, block.length); // what is left of an earlier block counts nothing
      features.read(block, this.#features);
      block.forEach((from, row) => {
        this.#labels[row] = labels[from];
      });
      if (first > 0) this.#store.accumulateGradients();
      const [part] = this.#gradients.run(this.#features, this.#labels, this.#shares, shift, scale) as Float32Array[];
      loss += part[0];
    }
    if (rows.length > blockRows) this.#store.averageGradients(1);
    return { loss, mean, variance };
  }

  /** Mean and variance of some rows, in two passes. */
  #momentsOf(features: FeatureRows, rows: Uint32Array): BatchMoments {
    const { columns } = features;
    const mean = new Float64Array(columns);
    this.#forBlocks(features, rows, (values) => {
      for (let i = 0, j = 0; i < values.length; i++, j = j + 1 === columns ? 0 : j + 1) mean[j] += values[i];
    });
    for (let j = 0; j < columns; j++) mean[j] /= rows.length;
    const variance = new Float64Array(columns);
    this.#forBlocks(features, rows, (values) => {
      for (let i = 0, j = 0; i < values.length; i++, j = j + 1 === columns ? 0 : j + 1) {
        variance[j] += (values[i] - mean[j]) ** 2;
      }
    });
    return { mean, variance: variance.map((sum) => sum / rows.length) };
  }

  /** The values of some rows, as many at a time as are computed. */
  #forBlocks(features: FeatureRows, rows: Uint32Array, take: (values: Float32Array) => void): void {
    const { blockRows, columns } = this.#sizes;
    for (let first = 0; first < rows.length; first += blockRows) {
      const block = rows.subarray(first, first + blockRows);
      features.read(block, this.#features);
      take(this.#features.subarray(0, block.length * columns));
    }
  }

  dispose(): void {
    this.#gradients.dispose();
  }
}

/**
 * The loss of features [B, D], labels [B], the share of each row in the mean [B], and the batch's shift and scale [D].
 */
function captureLoss(store: ParameterStore, rows: number, columns: number, classes: number): Captured {
  return captureGradients(
    store,
    (features, labels, shares, shift, scale) => {
      const normalised = tf.mul(tf.sub(features, shift), scale); // [B, D]
      const logits = linear(normalised, store.tensors.weight, store.tensors.bias); // [B, classes]
      const own = tf.sum(tf.mul(logits, tf.oneHot(labels as tf.Tensor1D, classes)), -1); // [B]
      return [tf.sum(tf.mul(tf.sub(tf.logSumExp(logits, -1), own), shares))];
    },
    [
      { shape: [rows, columns], dtype: 'float32' },
      { shape: [rows], dtype: 'int32' },
      { shape: [rows], dtype: 'float32' },
      { shape: [columns], dtype: 'float32' },
      { shape: [columns], dtype: 'float32' },
    ],
  );
}

/** The running mean and variance that batch normalisation uses after training. */
class RunningMoments {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
  #batches = 0;

  constructor(columns: number) {
    this.mean = new Float64Array(columns);
    this.variance = new Float64Array(columns);
  }

  /** `variance` is divided by the number of rows; the running one by one less. */
  add(mean: Float64Array, variance: Float64Array, rows: number): void {
    const share = this.#batches === 0 ? 1 : MOMENTUM;
    for (let i = 0; i < mean.length; i++) {
      this.mean[i] += share * (mean[i] - this.mean[i]);
      this.variance[i] += share * ((variance[i] * rows) / (rows - 1) - this.variance[i]);
    }
    this.#batches++;
  }
}

/** Folds the normalisation into the linear layer. */
function foldNormalisation({ classes, mean, variance, weight, bias }: LinearProbe) {
  const columns = mean.length;
  const scale = variance.map((value) => 1 / Math.sqrt(value + VARIANCE_FLOOR));
  const folded = weight.map((value, i) => value * scale[i % columns]);
  const shifted = Float64Array.from(bias, (value, c) => {
    return mean.reduce((sum, centre, j) => sum - folded[c * columns + j] * centre, value);
  });
  return { weight: { rows: classes, columns, data: folded } satisfies Matrix<Float32Array>, bias: shifted };
}
