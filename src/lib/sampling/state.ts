/**
 * What a sampler moves of one image, as one row of numbers: the latent with all channels that the network generates, then
 * what is generated beside it.
 */
import { tf } from '../engine/index.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import { fillNormal, PURPOSE } from '../numbers/random.js';
import { companionSize, type Network } from '../repa/network.js';

const latentSize = ({ inChannels, inputSize }: TransformerConfig): number => inChannels * inputSize ** 2;

export const stateSize = (network: Network): number => latentSize(network.model) + companionSize(network);

/** States [N, S] as the network takes them: latents [N, C, h, w] and what is generated beside them, if anything, [N, Z]. */
export function unpackStates(network: Network, states: tf.Tensor): { x: tf.Tensor; companion?: tf.Tensor } {
  const { inChannels, inputSize } = network.model;
  const beside = companionSize(network);
  const shape = [states.shape[0], inChannels, inputSize, inputSize];
  if (beside === 0) return { x: tf.reshape(states, shape) };
  const [latents, companion] = tf.split(states, [latentSize(network.model), beside], 1);
  return { x: tf.reshape(latents, shape), companion };
}

/** A prediction [N, C', h, w], and one of what is beside [N, Z], in the layout of states. */
export function packStates(prediction: tf.Tensor, companion?: tf.Tensor): tf.Tensor {
  const rows = tf.reshape(prediction, [prediction.shape[0], -1]); // [N, C' * h * w]
  return companion ? tf.concat([rows, companion], 1) : rows;
}

/**
 * The states that sampling starts from, [N, size]: normals that depend on the seed and an image's number alone.
 * @param given initial latents [N, C, h, w] in place of the first of them
 */
export function initialStates(
  indices: readonly number[],
  size: number,
  seed: number,
  given?: Float32Array,
): Float32Array {
  const states = new Float32Array(indices.length * size);
  const givenSize = (given?.length ?? 0) / indices.length;
  indices.forEach((index, row) => {
    const state = states.subarray(row * size, (row + 1) * size);
    if (givenSize < size) fillNormal(state, seed, PURPOSE.sampleNoise, index);
    if (given) state.set(given.subarray(row * givenSize, (row + 1) * givenSize));
  });
  return states;
}

/** The first `size` numbers of each of `rows` states: the latents, without what was generated with them. */
export function latentsOf(states: ArrayLike<number>, rows: number, size: number): Float32Array {
  const latents = new Float32Array(rows * size);
  const stride = states.length / rows;
  for (let i = 0; i < latents.length; i++) latents[i] = states[Math.floor(i / size) * stride + (i % size)];
  return latents;
}
