/** Held-out images: the losses of the moving average, and what its aligned block tells of them. */
import { isDeepStrictEqual } from 'node:util';
import { UsageError } from '../../errors.js';
import type { Matrix } from '../../linalg/matrix-product.js';
import { cknna } from '../../metrics/cknna.js';
import { rowsOf } from '../../metrics/feature-rows.js';
import { unitRows } from '../../metrics/features.js';
import { type Neighbours, nearestNeighbours } from '../../metrics/neighbours.js';
import { patchCount } from '../../models/dit-sizes.js';
import { repeated, sameShape, showShape } from '../../numbers/typed-array.js';
import { tokenMeans } from '../../pretrained/token-means.js';
import { activeMethods, areFollowing, checkFeatures, withoutFollowing } from '../../repa/methods.js';
import { HiddenStateExtractor } from '../../sampling/hidden-states.js';
import { compileValidation } from '../../training/compiled-loss.js';
import { TrainingSet } from '../../training/data/set.js';
import type { Measure, MonitoredRun } from '../../training/monitor.js';
import type { FeatureColumn } from '../feature-columns.js';
import { probeColumn } from '../probe.js';
import type { MonitorOptions } from './options.js';

/** Noise and times of validation are the same at every step and in every run, and differ from those of training. */
const VALIDATION_SEED = 0;
const VALIDATION_STEP = 2 ** 32 - 1;
/** Hidden states are taken halfway between data and noise, of images without a label, as in figure 2 of REPA. */
const HIDDEN_TIME = 0.5;
const NEIGHBOURS = 10;
const PROBE = { train: '--val-latents', metric: ['linear', 'knn'], epochs: 90, seed: VALIDATION_SEED };
const PROBE_NEIGHBOURS = 20;

interface Reference {
  name: string;
  neighbours: Neighbours;
}

export class HeldOut {
  readonly measures: Measure[];
  readonly #run: MonitoredRun;
  readonly #set: TrainingSet;
  /** The rows that are used, spread over the set, which may be sorted by class. */
  readonly #rows: Uint32Array;
  readonly #batch: number;
  /** Neighbours within the features of each encoder, which never change. */
  #references: Reference[] | undefined;

  private constructor(run: MonitoredRun, set: TrainingSet, options: MonitorOptions) {
    const { valNum, evalBatchSize } = options;
    this.#run = run;
    this.#set = set;
    const wanted = Math.min(valNum, set.rows);
    // Batches of one size, so that the mean over them is the mean over their images; few images are left out by it.
    const batches = Math.ceil(wanted / evalBatchSize);
    this.#batch = Math.floor(wanted / batches);
    const count = batches * this.#batch;
    this.#rows = Uint32Array.from({ length: count }, (_, i) => Math.floor((i * set.rows) / count));
    const onFirstRank = (name: string, measure: () => Promise<Record<string, unknown> | undefined>): Measure => ({
      name,
      run: async () => (run.group.rank === 0 ? measure() : {}),
    });
    const looksInside = set.features.length > 0 || set.latents.classes > 0;
    this.measures = [
      onFirstRank('validation', () => this.#validation()),
      ...(looksInside ? [onFirstRank('representation', () => this.#representation())] : []),
    ];
  }

  /** @throws UsageError when the held-out images are not prepared as those of the run; DataError as TrainingSet.open */
  static async open(options: MonitorOptions, run: MonitoredRun): Promise<HeldOut> {
    const set = await TrainingSet.open(options.valLatents!, options.valFeats ?? [], {
      pixels: run.record.latent.shape[1],
      ...(options.valText !== undefined && { text: options.valText }),
    });
    if (run.record.model.text && !set.captions) {
      throw new UsageError('--val-latents of an MM-DiT need captions', 'Name them by --val-text, made by encode-text.');
    }
    checkFit(set, run);
    set.include(run.besides);
    return new HeldOut(run, set, options);
  }

  /** Mean losses, weighted as in training; terms of features count where there are features that are still followed. */
  async #validation(): Promise<Record<string, unknown> | undefined> {
    const { store, record } = this.#run;
    const active = activeMethods(record.methods);
    const methods = this.#set.features.length > 0 ? active : withoutFollowing(active);
    const { latents, features } = this.#set;
    const run = {
      ...{ network: record, training: record.training, latentShape: latents.shape, features },
      emptyText: this.#set.captions?.empty,
    };
    const objective = compileValidation(store, run, { rows: this.#batch, methods });
    const sums: Record<string, number> = {};
    try {
      for (let position = 0; position < this.#rows.length; position += this.#batch) {
        if (this.#run.shouldStop()) return undefined;
        const rows = this.#rows.subarray(position, position + this.#batch);
        const batch = await this.#set.read(rows, VALIDATION_SEED, VALIDATION_STEP, position, areFollowing(methods));
        const place = { rows: rows.length, seed: VALIDATION_SEED, step: VALIDATION_STEP, position };
        const losses = await objective.run(objective.prepare({ ...batch, ...place }));
        for (const [name, loss] of Object.entries(losses)) sums[name] = (sums[name] ?? 0) + loss * rows.length;
      }
    } finally {
      objective.dispose();
    }
    const { total, ...terms } = Object.fromEntries(
      Object.entries(sums).map(([name, sum]) => [name, sum / this.#rows.length]),
    );
    const named = Object.entries(terms).map(([name, loss]) => [`val_${name}_loss`, loss]);
    return { val_loss: total, ...Object.fromEntries(named), ...this.#protocol() };
  }

  /** CKNNA with the features, and the accuracy of probes where there are classes. */
  async #representation(): Promise<Record<string, unknown> | undefined> {
    const column = await this.#hiddenColumn();
    if (!column) return undefined;
    const scores: Record<string, number> = {};
    if (this.#set.features.length > 0) {
      this.#references ??= await this.#featureNeighbours();
      const own = neighboursOf(unitRows(column.values, column.dim));
      for (const { name, neighbours } of this.#references) {
        scores[this.#references.length === 1 ? 'cknna' : `cknna(${name})`] = cknna(own, neighbours);
      }
    }
    if (column.labels!.every((label) => label >= 0)) {
      const settings = { ...PROBE, neighbours: this.#probeNeighbours };
      const { rows, dim: columns, values: data } = column;
      const stored = { ...column, features: rowsOf({ rows, columns, data }) };
      for (const { metric, accuracy } of probeColumn(stored, undefined, settings))
        scores[`${metric}_accuracy`] = accuracy;
    }
    return {
      ...scores,
      ...this.#protocol(),
      features: this.#set.features.map(({ name }) => name),
      block: this.#run.record.model.alignDepth,
      time: HIDDEN_TIME,
      k: NEIGHBOURS,
      probe_k: this.#probeNeighbours,
    };
  }

  /** The aligned block's tokens, averaged for each image, as extract-hidden --null-label gives them. */
  async #hiddenColumn(): Promise<FeatureColumn | undefined> {
    const { store, record, out } = this.#run;
    const { alignDepth, numClasses, hiddenSize: dim } = record.model;
    const model = { source: out, record, parameters: store.emaTensors };
    const request = { blocks: [alignDepth], times: [HIDDEN_TIME], batchSize: this.#batch, seed: VALIDATION_SEED };
    const extractor = new HiddenStateExtractor(model, request);
    const count = this.#rows.length;
    const values = new Float32Array(count * dim); // [N, D]
    const labels = new Int32Array(count);
    try {
      for (let position = 0; position < count; position += this.#batch) {
        if (this.#run.shouldStop()) return undefined;
        const rows = this.#rows.subarray(position, position + this.#batch);
        const batch = await this.#set.read(rows, VALIDATION_SEED, 0, position, false);
        const nothing = this.#set.captions
          ? repeated(this.#set.captions.empty, rows.length)
          : new Int32Array(rows.length).fill(numClasses);
        for (const { tokens } of extractor.states(batch, nothing, position)) {
          values.set(tokenMeans(tokens, patchCount(record.model), dim), position * dim);
        }
        labels.set(batch.labels, position);
      }
    } finally {
      extractor.dispose();
    }
    const keys = Array.from(this.#rows, (row) => this.#set.keyOf(row));
    return { name: 'hidden', keys, labels, rows: count, dim, values };
  }

  async #featureNeighbours(): Promise<Reference[]> {
    const pooled = this.#set.features.map(({ dim }) => new Float32Array(this.#rows.length * dim)); // [N, D] each
    for (let position = 0; position < this.#rows.length; position += this.#batch) {
      const rows = this.#rows.subarray(position, position + this.#batch);
      const { features } = await this.#set.read(rows, VALIDATION_SEED, 0, position);
      for (const [i, { tokens, dim }] of this.#set.features.entries()) {
        pooled[i].set(tokenMeans(features[i], tokens, dim), position * dim);
      }
    }
    return this.#set.features.map(({ name, dim }, i) => {
      return { name, neighbours: neighboursOf(unitRows(pooled[i], dim)) };
    });
  }

  /** Neighbours of the probe; fewer if there are few images, of which a fifth is held out. */
  get #probeNeighbours(): number {
    return Math.min(PROBE_NEIGHBOURS, Math.floor(this.#rows.length / 4));
  }

  /** The facts that make the numbers of two runs comparable. */
  #protocol(): Record<string, unknown> {
    return {
      rows: this.#rows.length,
      images: this.#set.latents.file.schema.metadata['repa.reference'],
      weights: `ema ${this.#run.record.training.emaDecays[0]}`,
    };
  }

  close(): Promise<void> {
    return this.#set.close();
  }
}

/** The fewest images that the two measures need: CKNNA divides by n - 3, and a probe holds out a fifth. */
const FEWEST = 20;

const neighboursOf = (matrix: Matrix): Neighbours => nearestNeighbours(matrix, matrix, NEIGHBOURS);

function checkFit(set: TrainingSet, { record }: MonitoredRun): void {
  const { shape, scale, shift } = record.latent;
  if (!sameShape(set.latents.shape, shape)) {
    throw new UsageError(`--val-latents are ${showShape(set.latents.shape)}, the model's are ${showShape(shape)}`);
  }
  if (!isDeepStrictEqual(set.latents.scale, { scale, shift })) {
    throw new UsageError('--val-latents have another scale than --latents', 'Encode both with the same VAE.');
  }
  if (set.rows < FEWEST)
    throw new UsageError(`--val-latents hold ${set.rows} images: fewer than ${FEWEST} tell little`);
  const { numClasses } = record.model;
  if (!set.captions && set.latents.classes > numClasses) {
    throw new UsageError(
      `the labels of --val-latents go up to ${set.latents.classes - 1}, the model has ${numClasses} classes`,
    );
  }
  if (set.features.length > 0) checkFeatures(activeMethods(record.methods), set.features, '--val-feats');
}
