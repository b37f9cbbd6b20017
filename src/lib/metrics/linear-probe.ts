/**
 * Linear probing: how well a linear classifier reads the class off frozen features. The protocol of REPA (arXiv
 * 2410.06940, appendix): batch normalisation without parameters, then a linear layer, trained for 90 epochs of batches of
 * 16,384 with Adam at 1e-3 and a cosine schedule.
 */
import { linear, tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';
import { fillNormal, PURPOSE, permutation } from '../numbers/random.js';
import { captureGradients, ParameterStore } from '../optim/index.js';

export interface LabelledFeatures {
  readonly features: Matrix<Float32Array>; // [N, D]
  readonly labels: Int32Array; // [N]
}

export interface ProbeOptions {
  epochs?: number;
  batchSize?: number;
  learningRate?: number;
  seed: number;
  /** Called after each epoch with the part of the training done, in (0, 1], and its mean loss. */
  onEpoch?: (fraction: number, loss: number) => void;
}

export interface LinearProbe {
  readonly classes: number;
  /** Of the features, as running averages over the batches. */
  readonly mean: Float64Array; // [D]
  readonly variance: Float64Array; // [D]
  readonly weight: Float32Array; // [classes, D]
  readonly bias: Float32Array; // [classes]
}

const VARIANCE_FLOOR = 1e-6;
/** Of the running mean and variance: the share of the newest batch. */
const MOMENTUM = 0.1;

/**
 * Trains a probe. With fewer samples than a batch, all of them are one batch; else the last samples of an epoch's order,
 * too few for a batch, are left out of that epoch.
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
  const store = initialise(classes, columns, seed);
  const gradients = captureLoss(store, batchSize, columns, classes);
  const running = new RunningMoments(columns);

  const batch = new Float32Array(batchSize * columns);
  const batchLabels = new Int32Array(batchSize);
  const batches = Math.floor(rows / batchSize);
  for (let epoch = 0, step = 0; epoch < epochs; epoch++) {
    const order = permutation(rows, seed, PURPOSE.probe, epoch);
    let epochLoss = 0;
    for (let index = 0; index < batches; index++, step++) {
      for (let row = 0; row < batchSize; row++) {
        const from = order[index * batchSize + row];
        batch.set(features.data.subarray(from * columns, (from + 1) * columns), row * columns);
        batchLabels[row] = labels[from];
      }
      const [loss, mean, variance] = gradients.run(batch, batchLabels) as Float32Array[];
      running.add(mean, variance, batchSize);
      epochLoss += loss[0] / batches;
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
  gradients.dispose();
  const [weight, bias] = store.parameters.map(({ value }) => value.slice());
  store.dispose();
  return { classes, mean: running.mean, variance: running.variance, weight, bias };
}

/**
 * The share of samples whose own class is among the `top` classes of largest logit.
 * @throws DataError when the features are not of the probe's dimension
 */
export function probeAccuracy(probe: LinearProbe, test: LabelledFeatures, top = 1): number {
  const { rows, columns } = test.features;
  if (columns !== probe.mean.length) {
    throw new DataError(`the probe reads ${probe.mean.length} features, the test rows have ${columns}`);
  }
  const { weight, bias } = foldNormalisation(probe);
  const logits = matrixProduct(test.features, weight, { transposeB: true }).data; // [N, classes]
  let right = 0;
  for (let row = 0; row < rows; row++) {
    const scores = logits.subarray(row * probe.classes, (row + 1) * probe.classes).map((logit, c) => logit + bias[c]);
    const own = scores[test.labels[row]];
    if (scores.reduce((ahead, score) => ahead + Number(score > own), 0) < top && own !== undefined) right++;
  }
  return right / rows;
}

/** Weights small, as the normalised features are of unit variance. */
function initialise(classes: number, columns: number, seed: number): ParameterStore {
  const weight = new Float32Array(classes * columns);
  fillNormal(weight, seed, PURPOSE.probe, 1);
  return new ParameterStore([
    { name: 'weight', shape: [classes, columns], data: weight.map((value) => 0.01 * value) },
    { name: 'bias', shape: [classes], data: new Float32Array(classes) },
  ]);
}

/** Runs on features [B, D] and labels [B]; gives the loss, and the mean and variance [D] of the batch. */
function captureLoss(store: ParameterStore, batchSize: number, columns: number, classes: number) {
  return captureGradients(
    store,
    (features, labels) => {
      const mean = tf.mean(features, 0); // [D]
      const centred = tf.sub(features, mean); // [B, D]
      const variance = tf.mean(tf.square(centred), 0); // [D]
      const normalised = tf.mul(centred, tf.rsqrt(tf.add(variance, VARIANCE_FLOOR))); // [B, D]
      const logits = linear(normalised, store.tensors.weight, store.tensors.bias); // [B, classes]
      const own = tf.sum(tf.mul(logits, tf.oneHot(labels as tf.Tensor1D, classes)), -1); // [B]
      return [tf.mean(tf.sub(tf.logSumExp(logits, -1), own)), mean, variance];
    },
    [
      { shape: [batchSize, columns], dtype: 'float32' },
      { shape: [batchSize], dtype: 'int32' },
    ],
  );
}

/** What batch normalisation keeps for use after training. */
class RunningMoments {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
  #batches = 0;

  constructor(columns: number) {
    this.mean = new Float64Array(columns);
    this.variance = new Float64Array(columns);
  }

  /** `variance` is divided by the number of rows; the running one by one less. */
  add(mean: Float32Array, variance: Float32Array, rows: number): void {
    const share = this.#batches === 0 ? 1 : MOMENTUM;
    for (let i = 0; i < mean.length; i++) {
      this.mean[i] += share * (mean[i] - this.mean[i]);
      this.variance[i] += share * ((variance[i] * rows) / (rows - 1) - this.variance[i]);
    }
    this.#batches++;
  }
}

/** The linear layer that normalisation and linear layer are together. */
function foldNormalisation({ classes, mean, variance, weight, bias }: LinearProbe) {
  const columns = mean.length;
  const scale = variance.map((value) => 1 / Math.sqrt(value + VARIANCE_FLOOR));
  const folded = weight.map((value, i) => value * scale[i % columns]);
  const shifted = Float64Array.from(bias, (value, c) => {
    return mean.reduce((sum, centre, j) => sum - folded[c * columns + j] * centre, value);
  });
  return { weight: { rows: classes, columns, data: folded } satisfies Matrix<Float32Array>, bias: shifted };
}
