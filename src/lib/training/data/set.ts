/** What training reads: latents, joined by key with features of encoders, or with images to compute them from. */
import type { FeatureSource, TrainingBatch } from '../../diffusion/draws.js';
import type { ImagePlace } from '../../images/image-store.js';
import { joinRows } from '../../numbers/typed-array.js';
import { featureChannels } from '../../repa/feature-channels.js';
import type { Besides } from '../../repa/method.js';
import { type OpenedFile, reopenTensorFile } from '../../stream/file.js';
import { Captions, type OpenedCaptions } from './captions.js';
import { type DataFacts, factsOf } from './facts.js';
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
import { Latents } from './latents.js';
import { isOpenedPictures, type OpenedPictures, PictureFile } from './pictures.js';

/** A set as plain data, by which another thread opens it without joining keys again. */
export interface OpenedSet {
  latents: OpenedFile | OpenedPictures;
  labels: Int32Array;
  features: OpenedFeatures[];
  captions?: OpenedCaptions | undefined;
  besides: Besides;
}

export interface SetChoice {
  /** The side that pictures are cropped to, where they take the place of latents. */
  pixels?: number;
  /** The stream of captions. */
  text?: string;
}

export class TrainingSet {
  readonly latents: Latents;
  readonly #features: JoinedFeatures[];
  /** Captions of the images; undefined where there are none. */
  readonly captions: Captions | undefined;
  #computed: ComputedFeatures | undefined;
  #besides: Besides = {};

  private constructor(latents: Latents, features: JoinedFeatures[], captions?: Captions) {
    this.latents = latents;
    this.#features = features;
    this.captions = captions;
  }

  /**
   * Opens latents, and the features and captions that belong to them.
   * @throws DataError when a latent has no feature row of its key, or no caption, or a stream holds something else.
   */
  static async open(
    latentsPath: string,
    featurePaths: readonly string[],
    { pixels, text }: SetChoice = {},
  ): Promise<TrainingSet> {
    const latents = await Latents.open(latentsPath, pixels);
    const features = await Promise.all(featurePaths.map((path) => joinFeatures(path, latents.file)));
    const captions = text === undefined ? undefined : await Captions.open(text, latents.file);
    for (const file of [latents.file, ...features.map((joined) => joined.file)]) file.forget();
    return new TrainingSet(latents, features, captions);
  }

  /** Opens what another thread has opened and joined. */
  static reopen({ latents, labels, features, captions, besides }: OpenedSet): TrainingSet {
    const file = isOpenedPictures(latents) ? new PictureFile(latents) : reopenTensorFile(latents);
    const set = new TrainingSet(
      new Latents(file, labels),
      features.map(reopenFeatures),
      captions && Captions.reopen(captions),
    );
    set.include(besides);
    return set;
  }

  get opened(): OpenedSet {
    const { file, labels } = this.latents;
    const features = this.#features.map(openedFeatures);
    return { latents: file.opened, labels, features, captions: this.captions?.opened, besides: this.#besides };
  }

  get rows(): number {
    return this.latents.rows;
  }

  /** Has features computed from the images of the rows, in place of stored ones. */
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

  /** The facts of each stream of features; of computed ones, as if they were stored. */
  get featureFacts(): DataFacts[] {
    if (this.#computed) return [{ metadata: this.#computed.metadata }];
    return this.#features.map(({ file }) => factsOf(file));
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

  /** The key of a row. */
  keyOf(row: number): string {
    return this.latents.file.keyOf(row);
  }

  /**
   * Reads rows as a batch.
   * @param position of the first row within the global batch
   * @param withFeatures false leaves the features empty
   */
  async read(rows: Uint32Array, seed: number, step: number, position = 0, withFeatures = true): Promise<TrainingBatch> {
    const latents = await this.latents.read(rows, seed, step, position); // [B, C, h, w]
    const { classToken, channels: added } = this.#besides;
    const needed = withFeatures ? this.#features : added ? this.#features.slice(0, 1) : [];
    const features = await Promise.all(needed.map((source) => readJoined(source, 'feature', rows)));
    const [, height] = this.latents.shape;
    return {
      latents: added
        ? joinRows(latents, featureChannels(added, features[0], this.#features[0].tokens, height), rows.length)
        : latents, // [B, C + K, h, w]
      labels: Int32Array.from(rows, (row) => this.latents.labels[row]),
      texts: this.captions?.read(rows, seed, step, position),
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
    await this.latents.file.close();
    await Promise.all(this.#features.map(({ file }) => file.close()));
  }
}
