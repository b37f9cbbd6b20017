/**
 * What changes from step to step: the data of a micro-batch, and the noise, times and labels drawn for it. All draws are
 * functions of seed, step and position in the global batch, so that neither micro-batches nor ranks nor a resumed run
 * change a number.
 */

import type { TrainingPath } from '../diffusion/interpolant.js';
import { drawTimes, drawTimesteps, shiftTime, type TimeDistribution } from '../diffusion/time.js';
import type { TensorSpec } from '../engine/index.js';
import { fillNormal, fillUniform, PURPOSE, permutation } from '../numbers/random.js';
import type { TypedArray } from '../numbers/typed-array.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { FeatureSource, TrainingBatch } from './dataset.js';

/** A micro-batch, and its place. */
export interface PlacedBatch extends TrainingBatch {
  rows: number;
  seed: number;
  /** Steps taken before. */
  step: number;
  /** Of the first row within the global batch. */
  position: number;
}

/** One tensor that the loss reads, and how it comes about on the host. */
export interface BatchInput {
  /** Of one row. */
  shape: readonly number[];
  dtype: TensorSpec['dtype'];
  values(batch: PlacedBatch): TypedArray;
}

/** Scaled latents [B, C, h, w]. */
export const latents = (shape: readonly number[]): BatchInput => ({
  shape,
  dtype: 'float32',
  values: (batch) => batch.latents,
});

/** Standard normals. */
export const normals = (shape: readonly number[], purpose: number): BatchInput => ({
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

/** Times in (0, 1), moved towards the noise by `shift`: [B]. */
export const times = (distribution: TimeDistribution, path: TrainingPath, shift: number): BatchInput => ({
  shape: [],
  dtype: 'float32',
  values(batch) {
    const drawn = drawTimes(distribution, path, { ...batch, firstRow: batch.position });
    return shift === 1 ? drawn : drawn.map((t) => shiftTime(t, shift));
  },
});

/** The times of a teacher that sees less noise: earlier than `times` by up to `maxShift`, but not before 0. [B] */
export const earlierTimes = ({ values, ...spec }: BatchInput, maxShift: number): BatchInput => ({
  ...spec,
  values(batch) {
    const share = new Float32Array(1);
    return Float32Array.from(values(batch) as Float32Array, (t, row) => {
      fillUniform(share, batch.seed, PURPOSE.teacherTime, batch.position + row, batch.step);
      return Math.max(0, t - maxShift * share[0]);
    });
  },
});

/** The encoder's class tokens [B, Z]. */
export const classTokens = (dim: number): BatchInput => ({
  shape: [dim],
  dtype: 'float32',
  values: (batch) => batch.classTokens!,
});

/** Tokens of an image in a random order, then the place of each in that order: [B, 2, T]. */
export const tokenOrder = (tokens: number): BatchInput => ({
  shape: [2, tokens],
  dtype: 'int32',
  values({ rows, seed, step, position }) {
    const out = new Int32Array(rows * 2 * tokens);
    for (let row = 0; row < rows; row++) {
      const order = out.subarray(2 * row * tokens, (2 * row + 1) * tokens);
      const places = out.subarray((2 * row + 1) * tokens, (2 * row + 2) * tokens);
      order.set(permutation(tokens, seed, PURPOSE.route, step, position + row));
      order.forEach((token, place) => {
        places[token] = place;
      });
    }
    return out;
  },
});

/** 0 for images whose middle blocks are left out, with chance `dropout`, 1 for the others: [B]. */
export const pathKept = (dropout: number): BatchInput => ({
  shape: [],
  dtype: 'float32',
  values({ rows, seed, step, position }) {
    const chance = new Float32Array(1);
    return Float32Array.from({ length: rows }, (_, row) => {
      fillUniform(chance, seed, PURPOSE.pathDrop, position + row, step);
      return chance[0] < dropout ? 0 : 1;
    });
  },
});

/** Steps of DDPM: [B]. */
export const timesteps: BatchInput = {
  shape: [],
  dtype: 'int32',
  values: (batch) => drawTimesteps({ ...batch, firstRow: batch.position }),
};

/** Labels [B]; those that are missing, or dropped with chance `dropout`, are the null class. */
export const labels = (dropout: number, nullClass: number): BatchInput => ({
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
export const features = ({ tokens, dim }: FeatureSource, index: number): BatchInput => ({
  shape: [tokens, dim],
  dtype: 'float32',
  values: (batch) => batch.features[index],
});
