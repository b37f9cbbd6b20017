/**
 * The few components of an encoder's features that ReDi generates with the latents (arXiv 2504.16064): their principal
 * components, resized to the latents' grid. As in the published code the features' dimensions are standardised first; the
 * components are scaled to variance 1, as latents are, so that noise covers both alike.
 */

import { DataError } from '../errors.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { resamplePlanes } from '../images/resample.js';
import { type Matrix, matrixProduct } from '../linalg/matrix-product.js';
import { fillNormal, PURPOSE } from '../numbers/random.js';

/** The affine map from a token of `dim` features to its components. */
export interface FeatureComponents {
  dim: number;
  channels: number;
  weight: Float32Array; // [K, D]
  bias: Float32Array; // [K]
}

/** Sums over tokens, from which mean and covariance follow. */
export class FeatureMoments {
  readonly dim: number;
  #tokens = 0;
  readonly #sum: Float64Array; // [D]
  readonly #products: Float64Array; // [D, D]

  constructor(dim: number) {
    this.dim = dim;
    this.#sum = new Float64Array(dim);
    this.#products = new Float64Array(dim * dim);
  }

  /** Adds tokens [n, D]. */
  add(tokens: Float32Array): void {
    const { dim } = this;
    const matrix = { rows: tokens.length / dim, columns: dim, data: tokens };
    const { data } = matrixProduct(matrix, matrix, { transposeA: true }); // [D, D]
    for (let i = 0; i < data.length; i++) this.#products[i] += data[i];
    for (let i = 0; i < tokens.length; i++) this.#sum[i % dim] += tokens[i];
    this.#tokens += matrix.rows;
  }

  get mean(): Float64Array {
    return this.#sum.map((sum) => sum / this.#tokens);
  }

  /** [D, D] */
  get covariance(): Float64Array {
    const { dim, mean } = this;
    return this.#products.map((sum, i) => sum / this.#tokens - mean[Math.floor(i / dim)] * mean[i % dim]);
  }
}

/**
 * The first `channels` principal components of standardised features, each of variance 1 and with its largest weight
 * positive.
 * @throws DataError when the features do not vary in that many directions
 */
export function principalComponents(moments: FeatureMoments, channels: number, seed: number): FeatureComponents {
  const { dim, mean, covariance } = moments;
  const deviation = Float64Array.from({ length: dim }, (_, i) => Math.sqrt(Math.max(covariance[i * dim + i], 0)));
  // A dimension that never changes says nothing: its row and column are zero.
  const inverse = deviation.map((each) => (each > 1e-6 ? 1 / each : 0));
  const correlation = covariance.map((each, i) => each * inverse[Math.floor(i / dim)] * inverse[i % dim]);
  const { vectors, values } = leadingEigenvectors({ rows: dim, columns: dim, data: correlation }, channels, seed);
  const weight = new Float32Array(channels * dim);
  const bias = new Float32Array(channels);
  for (let k = 0; k < channels; k++) {
    if (!(values[k] > 1e-6)) throw new DataError(`the features vary in ${k} directions, not in ${channels}`);
    const vector = vectors.subarray(k * dim, (k + 1) * dim);
    const largest = vector.reduce((best, each) => (Math.abs(each) > Math.abs(best) ? each : best), 0);
    const scale = Math.sign(largest) / Math.sqrt(values[k]);
    let offset = 0;
    for (let i = 0; i < dim; i++) {
      weight[k * dim + i] = vector[i] * inverse[i] * scale;
      offset -= weight[k * dim + i] * mean[i];
    }
    bias[k] = offset;
  }
  return { dim, channels, weight, bias };
}

/** More vectors than are wanted make the wanted ones converge sooner. */
const SPARE_VECTORS = 8;
const MOST_ITERATIONS = 500;

/**
 * The eigenvectors of the `count` largest eigenvalues of a symmetric matrix without negative ones, by orthogonal iteration:
 * those rows [count, D], and the eigenvalues.
 */
function leadingEigenvectors(
  matrix: Matrix,
  count: number,
  seed: number,
): { vectors: Float64Array; values: Float64Array } {
  const dim = matrix.rows;
  const columns = Math.min(dim, count + SPARE_VECTORS);
  let vectors = new Float64Array(columns * dim); // [K, D]
  for (let k = 0; k < columns; k++) fillNormal(vectors.subarray(k * dim, (k + 1) * dim), seed, PURPOSE.components, k);
  let values: Float64Array = new Float64Array(columns);
  for (let iteration = 0; iteration < MOST_ITERATIONS; iteration++) {
    const { data } = matrixProduct({ rows: columns, columns: dim, data: vectors }, matrix); // symmetric: A v = v^T A
    const lengths = orthonormalise(data, dim);
    const moved = lengths.reduce((most, each, k) => (k < count ? Math.max(most, Math.abs(each - values[k])) : most), 0);
    vectors = data as Float64Array<ArrayBuffer>;
    values = lengths;
    if (moved <= 1e-12 * lengths[0]) break;
  }
  return { vectors, values };
}

/** Makes rows orthonormal in their order (Gram and Schmidt, twice, for precision); returns their lengths on the way. */
function orthonormalise(rows: Float64Array, dim: number): Float64Array {
  const count = rows.length / dim;
  const lengths = new Float64Array(count);
  const row = (k: number): Float64Array => rows.subarray(k * dim, (k + 1) * dim);
  const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, each, i) => sum + each * b[i], 0);
  for (let k = 0; k < count; k++) {
    const own = row(k);
    for (const _ of [1, 2]) {
      for (let j = 0; j < k; j++) {
        const share = dot(own, row(j));
        const other = row(j);
        for (let i = 0; i < dim; i++) own[i] -= share * other[i];
      }
    }
    lengths[k] = Math.sqrt(dot(own, own));
    if (lengths[k] > 0) for (let i = 0; i < dim; i++) own[i] /= lengths[k];
  }
  return lengths;
}

/**
 * The components of features as channels: `features` [B, T, D] to [B, K, side, side], resized bilinearly as the published
 * code does. T is a square. In plain loops, as it runs in the threads that load batches, which have no engine.
 */
export function componentChannels(
  { dim, channels, weight, bias }: FeatureComponents,
  features: Float32Array,
  tokens: number,
  side: number,
): Float32Array {
  const grid = Math.sqrt(tokens);
  const images = features.length / (tokens * dim);
  const size = channels * side * side;
  const out = new Float32Array(images * size);
  const planes = new Float32Array(channels * tokens); // [K, grid, grid]
  for (let image = 0; image < images; image++) {
    for (let i = 0; i < planes.length; i++) {
      const k = Math.floor(i / tokens);
      const start = (image * tokens + (i % tokens)) * dim;
      let sum = bias[k];
      for (let j = 0; j < dim; j++) sum += weight[k * dim + j] * features[start + j];
      planes[i] = sum;
    }
    const resized =
      grid === side
        ? planes
        : resamplePlanes(planes, { height: grid, width: grid }, { height: side, width: side }, 'bilinear');
    out.set(resized, image * size);
  }
  return out;
}

/** As a file of a checkpoint holds them. */
export const storedComponents = ({ dim, channels, weight, bias }: FeatureComponents): [string, HostTensor][] => [
  ['weight', { shape: [channels, dim], dtype: 'f32', data: weight }],
  ['bias', { shape: [channels], dtype: 'f32', data: bias }],
];

/** @throws DataError when the file holds something else */
export function restoreComponents(stored: Iterable<[string, HostTensor]>, source: string): FeatureComponents {
  const tensors = new Map(stored);
  const [weight, bias] = [tensors.get('weight'), tensors.get('bias')];
  const [channels, dim] = weight?.shape ?? [];
  if (!(weight?.data instanceof Float32Array && bias?.data instanceof Float32Array) || bias.shape[0] !== channels) {
    throw new DataError(`${source}: holds no components of features`);
  }
  return { dim, channels, weight: weight.data, bias: bias.data };
}
