/**
 * What changes from step to step: the data of a micro-batch, and the noise, times and labels drawn for it. All draws
 * are functions of seed, step and position in the global batch, so that neither micro-batches nor ranks nor a resumed
 * run change a number.
 */
import type { TensorSpec } from '../engine/index.js';
import { fillNormal, fillUniform, PURPOSE } from '../numbers/random.js';
import { sizeOf, type TypedArray } from '../numbers/typed-array.js';
import type { TrainingPath } from './interpolant.js';
import { drawTimes, drawTimesteps, shiftTime, type TimeDistribution } from './time.js';

/** Data of a batch on the host, before noise is added. */
export interface TrainingBatch {
  /** Scaled latents, with the channels that are generated besides. */
  latents: Float32Array; // [B, C, h, w]
  labels: Int32Array; // [B]
  /** A caption of each image, for networks that draw from text. */
  texts?: Float32Array; // [B, L, D]
  /** The class tokens of the first encoder, where they are asked for. */
  classTokens?: Float32Array; // [B, Z]
  /** An array for each encoder; none where features are not followed, or not computed yet. */
  features: Float32Array[]; // [B, T, D]
}

/** Features of one encoder: [tokens, dim] for each image. */
export interface FeatureSource {
  name: string;
  tokens: number;
  dim: number;
}

/** A micro-batch, and its place in the run. */
export interface PlacedBatch extends TrainingBatch {
  rows: number;
  seed: number;
  /** Steps taken before this one. */
  step: number;
  /** The position of the first row within the global batch. */
  position: number;
}

/** One tensor that a loss reads, and how its values are made on the host. */
export interface Draw {
  /** The shape of one row. */
  shape: readonly number[];
  dtype: TensorSpec['dtype'];
  values(batch: PlacedBatch): TypedArray;
}

/** Scaled latents [B, C, h, w]. */
export const latents = (shape: readonly number[]): Draw => ({
  shape,
  dtype: 'float32',
  values: (batch) => batch.latents,
});

/** Standard normals. */
export const normals = (shape: readonly number[], purpose: number): Draw => ({
  shape,
  dtype: 'float32',
  values({ rows, seed, step, position }) {
    const size = sizeOf(shape);
    const noise = new Float32Array(rows * size);
    for (let row = 0; row < rows; row++) {
      fillNormal(noise.subarray(row * size, (row + 1) * size), seed, purpose, position + row, step);
    }
    return noise;
  },
});

/** A number for each image, made from a uniform one in [0, 1): [B]. */
export const uniforms = (purpose: number, make: (u: number, row: number, batch: PlacedBatch) => number): Draw => ({
  shape: [],
  dtype: 'float32',
  values(batch) {
    const uniform = new Float32Array(1);
    return Float32Array.from({ length: batch.rows }, (_, row) => {
      fillUniform(uniform, batch.seed, purpose, batch.position + row, batch.step);
      return make(uniform[0], row, batch);
    });
  },
});

/** How times are drawn. */
export interface TimeSettings {
  time: TimeDistribution;
  timeMean?: number;
  timeDeviation?: number;
}

/** Times in (0, 1), moved towards the noise by `shift`: [B]. */
export const times = ({ time, timeMean, timeDeviation }: TimeSettings, path: TrainingPath, shift: number): Draw => ({
  shape: [],
  dtype: 'float32',
  values(batch) {
    const drawn = drawTimes(
      time,
      path,
      { ...batch, firstRow: batch.position },
      { mean: timeMean, deviation: timeDeviation },
    );
    return shift === 1 ? drawn : drawn.map((t) => shiftTime(t, shift));
  },
});

/** Steps of DDPM: [B]. */
export const timesteps: Draw = {
  shape: [],
  dtype: 'int32',
  values: (batch) => drawTimesteps({ ...batch, firstRow: batch.position }),
};

/** Labels [B]; those that are missing, or dropped with chance `dropout`, are the null class. */
export const labels = (dropout: number, nullClass: number): Draw => ({
  shape: [],
  dtype: 'int32',
  values({ labels, seed, step, position }) {
    const chance = new Float32Array(1);
    return labels.map((label, row) => {
      fillUniform(chance, seed, PURPOSE.labelDropout, position + row, step);
      return label < 0 || chance[0] < dropout ? nullClass : label;
    });
  },
});

/** Features [B, T, D] of encoder number `index`. */
export const features = ({ tokens, dim }: FeatureSource, index: number): Draw => ({
  shape: [tokens, dim],
  dtype: 'float32',
  values: (batch) => batch.features[index],
});
