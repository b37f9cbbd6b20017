/**
 * What training reads: cached latents, joined by key with cached encoder features or with images to compute them of, in a
 * reproducible order.
 */
import type { FeatureSource, TrainingBatch } from '../../diffusion/draws.js';
import { DataError } from '../../errors.js';
import type { ImagePlace } from '../../images/image-store.js';
import { fillNormal, PURPOSE, permutation } from '../../numbers/random.js';
import { joinRows } from '../../numbers/typed-array.js';
import { type LatentScale, normaliseLatents, readLatentScale } from '../../pretrained/latent-scale.js';
import { featureChannels } from '../../repa/feature-channels.js';
import type { Besides } from '../../repa/method.js';
import { type OpenedFile, openTensorFile, reopenTensorFile, type TensorFile } from '../../stream/file.js';
import type { TensorColumn } from '../../stream/schema.js';
import {
  type ComputedFeatures,
  checkGenerated,
  type JoinedFeatures,
  joinFeatures,
  type OpenedFeatures,
  openedFeatures,
  readJoined,
  reopenFeatures,
} from './features.js';

/** A set as plain data, by which another thread opens it without joining keys again. */
export interface OpenedSet {
  latents: OpenedFile;
  labels: Int32Array;
  features: OpenedFeatures[];
  besides: Besides;
}

export class TrainingSet {
  readonly rows: number;
  readonly latentShape: readonly [channels: number, height: number, width: number];
  readonly scale: LatentScale;
  /** One more than the highest label; 0 when nothing is labelled. */
  readonly classes: number;
  /** How many rows have a label. */
  readonly labelled: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #latents: TensorFile;
  readonly #labels: Int32Array;
  /** `moments` hold mean and std, and a fresh sample is drawn at each step; `latent` is used as it is. */
  readonly #column: 'moments' | 'latent';
  readonly #features: JoinedFeatures[];
  #computed: ComputedFeatures | undefined;
  #besides: Besides = {};
  #order: { epoch: number; seed: number; rows: Uint32Array } | undefined;

  private constructor(latents: TensorFile, labels: Int32Array, features: JoinedFeatures[]) {
    const { name, shape } = latents.schema.columns.find(isLatents)!;
    const column = name as 'moments' | 'latent';
    this.#latents = latents;
    this.#features = features;
    this.#column = column;
    this.#labels = labels;
    this.rows = latents.rows;
    this.metadata = latents.schema.metadata;
    const [planes, height, width] = shape;
    this.latentShape = [column === 'moments' ? planes / 2 : planes, height, width];
    this.scale = readLatentScale(this.metadata, this.latentShape[0], 'latents');
    this.labelled = this.#labels.filter((label) => label >= 0).length;
    this.classes = this.#labels.reduce((highest, label) => Math.max(highest, label), -1) + 1;
  }

  /**
   * Opens latents and the features that belong to them.
   * @throws DataError when a latent has no feature row of its key, or a stream holds something else.
   */
  static async open(latentsPath: string, featurePaths: readonly string[]): Promise<TrainingSet> {
    const latents = await openTensorFile(latentsPath);
    const column = latents.schema.columns.find(isLatents);
    if (column?.shape.length !== 3) {
      const found = latents.schema.columns.map(({ name }) => name).join(', ');
      throw new DataError(`${latentsPath}: has no latents, but ${found}`, 'Make latents with repa encode-vae.');
    }
    if (latents.rows === 0) throw new DataError(`${latentsPath}: holds no rows`);
    const features = await Promise.all(featurePaths.map((path) => joinFeatures(path, latents)));
    const labels = latents.labels();
    for (const file of [latents, ...features.map((joined) => joined.file)]) file.forget();
    return new TrainingSet(latents, labels, features);
  }

  /** Opens what another thread has opened and joined. */
  static reopen({ latents, labels, features, besides }: OpenedSet): TrainingSet {
    const set = new TrainingSet(reopenTensorFile(latents), labels, features.map(reopenFeatures));
    set.include(besides);
    return set;
  }

  get opened(): OpenedSet {
    const features = this.#features.map(openedFeatures);
    return { latents: this.#latents.opened, labels: this.#labels, features, besides: this.#besides };
  }

  /** Has features computed of the images of the rows, in place of stored ones. */
  computeFeatures(computed: ComputedFeatures): void {
    this.#computed = computed;
  }

  /**
   * Adds to every batch what is made of the first encoder's features.
   * @throws UsageError when there are none; DataError when they have no class token, or another width
   */
  include(besides: Besides): void {
    const { classToken = false, channels } = besides;
    if (!classToken && !channels) return;
    checkGenerated(this.#features, { classToken, dim: channels?.dim });
    this.#besides = besides;
  }

  get features(): readonly FeatureSource[] {
    return this.#computed ? [this.#computed] : this.#features;
  }

  /** The header of each features stream, or what it would be. */
  get featureMetadata(): Readonly<Record<string, string>>[] {
    if (this.#computed) return [this.#computed.metadata];
    return this.#features.map(({ file }) => file.schema.metadata);
  }

  /** How features are computed, where they are. */
  get computed(): ComputedFeatures | undefined {
    return this.#computed;
  }

  /** Where the images of rows lie; empty where features are stored. */
  imagesOf(rows: Uint32Array): ImagePlace[] {
    const computed = this.#computed;
    return computed ? Array.from(rows, (row) => computed.place(this.keyOf(row))) : [];
  }

  /** The key of each row, which stay in memory from then on. */
  keys(): readonly string[] {
    return this.#latents.keys();
  }

  /** The key of a row. */
  keyOf(row: number): string {
    return this.#latents.keyOf(row);
  }

  /**
   * The rows of the next `count` images after `seen` ones. Epochs follow each other without a gap: a batch may hold the end
   * of one and the start of the next, so that no row is left out, whatever the sizes of batches, and the order depends on
   * nothing but the seed.
   */
  rowsAfter(seen: number, count: number, seed: number): Uint32Array {
    return Uint32Array.from({ length: count }, (_, b) => {
      const position = seen + b;
      const epoch = Math.floor(position / this.rows);
      if (this.#order?.epoch !== epoch || this.#order.seed !== seed) {
        this.#order = { epoch, seed, rows: permutation(this.rows, seed, PURPOSE.shuffle, epoch) };
      }
      return this.#order.rows[position % this.rows];
    });
  }

  /**
   * Reads rows as a batch.
   * @param position of the first row within the global batch: with seed and step, it numbers the posterior's noise
   * @param withFeatures false leaves the features empty
   */
  async read(rows: Uint32Array, seed: number, step: number, position = 0, withFeatures = true): Promise<TrainingBatch> {
    const [channels, height, width] = this.latentShape;
    const size = channels * height * width;
    const latents = new Float32Array(rows.length * size);
    if (this.#column === 'latent') {
      await this.#latents.read('latent', rows, latents);
    } else {
      const moments = new Float32Array(2 * latents.length); // [B, mean | std, C, h, w]
      await this.#latents.read('moments', rows, moments);
      samplePosterior(moments, latents, size, (row, noise) =>
        fillNormal(noise, seed, PURPOSE.posterior, position + row, step),
      );
    }
    normaliseLatents(latents, channels, height * width, this.scale);
    const { classToken, channels: added } = this.#besides;
    const needed = withFeatures ? this.#features : added ? this.#features.slice(0, 1) : [];
    const features = await Promise.all(needed.map((source) => readJoined(source, 'feature', rows)));
    return {
      latents: added
        ? joinRows(latents, featureChannels(added, features[0], this.#features[0].tokens, height), rows.length)
        : latents, // [B, C + K, h, w]
      labels: Int32Array.from(rows, (row) => this.#labels[row]),
      classTokens: classToken ? await readJoined(this.#features[0], 'cls', rows) : undefined,
      features: withFeatures ? features : [],
    };
  }

  /** The features of rows, [n, T, D], of encoder number `index`. */
  readFeatures(rows: Uint32Array, index: number): Promise<Float32Array> {
    return readJoined(this.#features[index], 'feature', rows);
  }

  async close(): Promise<void> {
    this.#computed?.dispose();
    await this.#latents.close();
    await Promise.all(this.#features.map(({ file }) => file.close()));
  }
}

/** z = mean + std * e with e ~ N(0, 1), row by row: the VAE's posterior, sampled afresh at every step. */
function samplePosterior(
  moments: Float32Array, // [B, 2, size]
  latents: Float32Array, // [B, size]
  size: number,
  fillNoise: (row: number, noise: Float32Array) => void,
): void {
  const noise = new Float32Array(size);
  for (let row = 0; row * size < latents.length; row++) {
    fillNoise(row, noise);
    const mean = 2 * row * size;
    for (let j = 0; j < size; j++) latents[row * size + j] = moments[mean + j] + moments[mean + size + j] * noise[j];
  }
}

const isLatents = ({ name }: TensorColumn): boolean => name === 'moments' || name === 'latent';
