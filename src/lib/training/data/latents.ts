/**
 * Latents as a network takes them: cached ones or the pixels of pictures, sampled and scaled, in an order that depends
 * on the seed alone.
 */
import { fillNormal, PURPOSE, permutation } from '../../numbers/random.js';
import { type LatentScale, normaliseLatents, readLatentScale } from '../../pretrained/latent-scale.js';
import { type DataFacts, factsOf } from './facts.js';
import { isLatents, openLatentFile } from './latent-file.js';
import type { LatentFile } from './pictures.js';

export class Latents {
  readonly rows: number;
  readonly shape: readonly [channels: number, height: number, width: number];
  readonly scale: LatentScale;
  /** The label of each row; -1 where it has none. */
  readonly labels: Int32Array;
  /** One more than the highest label; 0 when nothing is labelled. */
  readonly classes: number;
  /** How many rows have a label. */
  readonly labelled: number;
  readonly file: LatentFile;
  /** `moments` hold mean and std, and a fresh sample is drawn at each step; `latent` is used as it is. */
  readonly #column: 'moments' | 'latent';
  #order: { epoch: number; seed: number; rows: Uint32Array } | undefined;

  /** @param file opened by `openLatentFile` */
  constructor(file: LatentFile, labels: Int32Array) {
    const { name, shape } = file.schema.columns.find(isLatents)!;
    const [planes, height, width] = shape;
    this.file = file;
    this.#column = name as 'moments' | 'latent';
    this.rows = file.rows;
    this.shape = [this.#column === 'moments' ? planes / 2 : planes, height, width];
    this.scale = readLatentScale(file.schema.metadata, this.shape[0], 'latents');
    this.labels = labels;
    this.labelled = labels.filter((label) => label >= 0).length;
    this.classes = labels.reduce((highest, label) => Math.max(highest, label), -1) + 1;
  }

  get facts(): DataFacts {
    return factsOf(this.file);
  }

  /** @throws as `openLatentFile` */
  static async open(path: string, pixels?: number): Promise<Latents> {
    const file = await openLatentFile(path, pixels);
    return new Latents(file, file.labels());
  }

  /**
   * The rows of the next `count` images after `seen` ones. Epochs follow each other without a gap: a batch may hold the
   * end of one and the start of the next, so that no row is left out, whatever the batch size, and the order depends on
   * the seed alone.
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
   * Scaled latents of rows, [B, C, h, w].
   * @param position of the first row within the global batch: with seed and step, it numbers the posterior's noise
   */
  async read(rows: Uint32Array, seed: number, step: number, position: number): Promise<Float32Array> {
    const [channels, height, width] = this.shape;
    const size = channels * height * width;
    const latents = new Float32Array(rows.length * size);
    if (this.#column === 'latent') {
      await this.file.read('latent', rows, latents);
    } else {
      const moments = new Float32Array(2 * latents.length); // [B, mean | std, C, h, w]
      await this.file.read('moments', rows, moments);
      samplePosterior(moments, latents, size, (row, noise) =>
        fillNormal(noise, seed, PURPOSE.posterior, position + row, step),
      );
    }
    normaliseLatents(latents, channels, height * width, this.scale);
    return latents;
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
