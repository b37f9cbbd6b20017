/** Components of features as channels of their own beside those of the latents (ReDi). */

import { DataError } from '../errors.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { resamplePlanes } from '../images/resample.js';
import type { FeatureChannels } from './method.js';

/**
 * The components of features as channels: `features` [B, T, D] to [B, K, side, side], resized bilinearly as the
 * published code does. T is a square. In plain loops, because it runs in the threads that load batches, which have no
 * engine.
 */
export function featureChannels(
  { dim, channels, weight, bias }: FeatureChannels,
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

/** The map as the tensors of a file of a checkpoint. */
export const storedChannels = ({ dim, channels, weight, bias }: FeatureChannels): [string, HostTensor][] => [
  ['weight', { shape: [channels, dim], dtype: 'f32', data: weight }],
  ['bias', { shape: [channels], dtype: 'f32', data: bias }],
];

/** The map that such a file holds. @throws DataError when it holds something else */
export function restoreChannels(stored: Iterable<[string, HostTensor]>, source: string): FeatureChannels {
  const tensors = new Map(stored);
  const [weight, bias] = [tensors.get('weight'), tensors.get('bias')];
  const [channels, dim] = weight?.shape ?? [];
  if (!(weight?.data instanceof Float32Array && bias?.data instanceof Float32Array) || bias.shape[0] !== channels) {
    throw new DataError(`${source}: holds no components of features`);
  }
  return { dim, channels, weight: weight.data, bias: bias.data };
}
