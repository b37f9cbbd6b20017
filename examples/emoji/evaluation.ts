/** How well frozen features tell held-out emoji apart: k nearest neighbours by DINO's protocol (20-NN by cosine). */
import { capture } from '../../src/lib/engine/index.js';
import type { Matrix } from '../../src/lib/linalg/matrix-product.js';
import { rowsOf } from '../../src/lib/metrics/feature-rows.js';
import { unitRows } from '../../src/lib/metrics/features.js';
import { knnAccuracy } from '../../src/lib/metrics/knn.js';
import { vit } from '../../src/lib/models/vit.js';
import type { Parameters } from '../../src/lib/nn/layers.js';
import { type Emoji, isHeldOut } from './dataset.js';
import { CONFIG } from './encoder-model.js';
import { VIEW_SHAPE, VIEW_SIZE, writeWhole } from './views.js';

const BATCH = 64;

/** One picture of an emoji, and the picture's bytes. */
export interface Picture {
  emoji: Emoji;
  pixels: Uint8Array;
}

/** Feature rows [N, D] of pictures. */
export type Features = (pictures: readonly Picture[]) => Float32Array;

export function pixelFeatures(pictures: readonly Picture[]): Float32Array {
  const out = new Float32Array(pictures.length * VIEW_SIZE);
  for (const [row, { pixels }] of pictures.entries()) {
    writeWhole(pixels, out.subarray(row * VIEW_SIZE, (row + 1) * VIEW_SIZE));
  }
  return out;
}

/** The class token. */
export function encoderFeatures(p: Parameters): Features {
  const program = capture(
    (images) => [vit(p, CONFIG, images).cls!],
    [{ shape: [BATCH, ...VIEW_SHAPE], dtype: 'float32' }],
  );
  return (pictures) => {
    const out = new Float32Array(pictures.length * CONFIG.width);
    const input = new Float32Array(BATCH * VIEW_SIZE);
    for (let start = 0; start < pictures.length; start += BATCH) {
      const batch = pictures.slice(start, start + BATCH);
      input.set(pixelFeatures(batch));
      const [features] = program.run(input) as Float32Array[];
      out.set(features.subarray(0, batch.length * CONFIG.width), start * CONFIG.width);
    }
    return out;
  };
}

/** Unit rows of both sets after the mean of the training rows was taken away from all. */
function centred(train: Float32Array, test: Float32Array, dim: number): [Matrix, Matrix] {
  const mean = new Float64Array(dim);
  for (let i = 0; i < train.length; i++) mean[i % dim] += (train[i] * dim) / train.length;
  const shift = (rows: Float32Array) =>
    unitRows(
      rows.map((value, i) => value - mean[i % dim]),
      dim,
    );
  return [shift(train), shift(test)];
}

/** Accuracy in percent, by category and by subcategory, of held-out pictures among the others. */
export function judge(pictures: readonly Picture[], features: Features): { category: number; subcategory: number } {
  const train = pictures.filter(({ emoji }) => !isHeldOut(emoji));
  const test = pictures.filter(({ emoji }) => isHeldOut(emoji));
  const trainRows = features(train);
  const [reference, queries] = centred(trainRows, features(test), trainRows.length / train.length);
  const accuracy = (key: 'category' | 'subcategory'): number => {
    const names = [...new Set(pictures.map(({ emoji }) => emoji[key]))];
    const labels = (part: readonly Picture[]) => Int32Array.from(part, ({ emoji }) => names.indexOf(emoji[key]));
    return 100 * knnAccuracy(rowsOf(reference), labels(train), rowsOf(queries), labels(test));
  };
  return { category: accuracy('category'), subcategory: accuracy('subcategory') };
}
