/**
 * Statistics of latents at every position, which representation autoencoders are normalised by (RAE, arXiv 2510.11690,
 * section 4): mean and variance [C, h, w] over the images of a set, in a file as the published code keeps them.
 */
import { DataError } from '../errors.js';
import { sha256Of } from '../files/sha256.js';
import { type HostTensor, toFloat32 } from '../formats/host-tensor.js';
import { writeSafetensors } from '../formats/safetensors.js';
import { openWeights } from '../formats/weights-file.js';
import { firstNonFinite } from '../numbers/finite.js';
import { sameShape, showShape, sizeOf } from '../numbers/typed-array.js';

/** Added to the variance, as in the published code. */
const EPSILON = 1e-5;

/** The statistics of latents of shape [C, h, w]. */
export interface LatentStatistics {
  mean: Float32Array;
  deviation: Float32Array;
  shape: readonly number[];
  /** Hash of the file. */
  sha256: string;
}

const without = (shape: readonly number[]): readonly number[] =>
  shape.length === 4 && shape[0] === 1 ? shape.slice(1) : shape;

/**
 * Reads `mean` and `var` of a file, safetensors or PyTorch's.
 * @throws DataError when they are not there, are of two shapes, or are no statistics
 */
export async function readStatistics(file: string): Promise<LatentStatistics> {
  const stored = openWeights(file);
  try {
    for (const name of ['mean', 'var']) {
      if (!stored.names.includes(name)) {
        const hint = 'Make them with repa encode-vae --fit-statistics.';
        throw new DataError(`${file}: holds no statistics of latents: '${name}' is missing`, hint);
      }
    }
    const shape = without(stored.info('mean').shape);
    const other = without(stored.info('var').shape);
    if (!sameShape(shape, other)) {
      throw new DataError(`${file}: its mean is ${showShape(shape)}, but its variance ${showShape(other)}`);
    }
    const [mean, variance] = ['mean', 'var'].map((name) => toFloat32(stored.read(name)));
    if (firstNonFinite(mean) >= 0 || firstNonFinite(variance) >= 0 || variance.some((each) => each < 0)) {
      throw new DataError(`${file}: its statistics are no finite means and variances`);
    }
    return { mean, deviation: variance.map((each) => Math.sqrt(each + EPSILON)), shape, sha256: await sha256Of(file) };
  } finally {
    stored.close();
  }
}

/** @throws DataError when statistics are not of latents of this shape */
export function checkStatistics({ shape }: LatentStatistics, of: readonly number[], where: string): void {
  if (sameShape(shape, of)) return;
  throw new DataError(
    `${where}: statistics of latents ${showShape(shape)}, but the latents are ${showShape(of)}`,
    'Both follow from --size: take the statistics that were made at the same.',
  );
}

/** (z - mean) / deviation, in place; `z` [N, C, h, w]. */
export function standardise(z: Float32Array, { mean, deviation }: LatentStatistics): void {
  for (let i = 0; i < z.length; i++) z[i] = (z[i] - mean[i % mean.length]) / deviation[i % mean.length];
}

/** The inverse of `standardise`: a copy. */
export const destandardised = (z: Float32Array, { mean, deviation }: LatentStatistics): Float32Array =>
  z.map((value, i) => value * deviation[i % mean.length] + mean[i % mean.length]);

/** Gathers statistics row by row, each element by Welford's update in double precision. */
export class StatisticsFit {
  readonly #shape: readonly number[];
  readonly #mean: Float64Array;
  readonly #squares: Float64Array;
  #rows = 0;

  /** @param shape of one latent, [C, h, w] */
  constructor(shape: readonly number[]) {
    this.#shape = shape;
    this.#mean = new Float64Array(sizeOf(shape));
    this.#squares = new Float64Array(sizeOf(shape));
  }

  /** Adds one latent. */
  add(latent: Float32Array): void {
    this.#rows++;
    for (let i = 0; i < latent.length; i++) {
      const before = latent[i] - this.#mean[i];
      this.#mean[i] += before / this.#rows;
      this.#squares[i] += before * (latent[i] - this.#mean[i]);
    }
  }

  get rows(): number {
    return this.#rows;
  }

  /**
   * Writes mean and variance (over n, as the published code) of what was added.
   * @throws DataError for fewer than two rows
   */
  write(file: string, metadata: Readonly<Record<string, string>>): void {
    if (this.#rows < 2) throw new DataError(`statistics of ${this.#rows} images: two are needed at least`);
    const variance = Float32Array.from(this.#squares, (sum) => sum / this.#rows);
    const tensors = Object.entries({ mean: Float32Array.from(this.#mean), var: variance }).map(
      ([name, data]): [string, HostTensor] => [name, { shape: [...this.#shape], dtype: 'f32', data }],
    );
    writeSafetensors(file, tensors, { ...metadata, images: String(this.#rows) });
  }
}
