/** Names of tiny autoencoders: the two published files, and diffusers' AutoencoderTiny, into `encoder.` and `decoder.`. */
import type { Weights } from '../models/parameters.js';
import { renamed } from '../models/rename.js';

/** diffusers leaves the first layer of the decoder, which has no parameters, out of the count. */
const fromDiffusers = (weights: Weights): Weights =>
  new Map(
    [...weights].map(([name, weight]) => [
      name
        .replace(/^encoder\.layers\./, 'encoder.')
        .replace(/^decoder\.layers\.(\d+)\./, (_, index) => `decoder.${Number(index) + 1}.`),
      weight,
    ]),
  );

/** The state dict of a tiny autoencoder or one half of it, under one scheme of names. */
export function toTinyNames(weights: Weights): Weights {
  if (weights.has('encoder.layers.0.weight') || weights.has('decoder.layers.0.weight')) return fromDiffusers(weights);
  // A file of one half has bare indices. Layer 0 has parameters in the encoder only.
  if (weights.has('0.weight')) return renamed(weights, [[/^/, 'encoder.']]);
  return weights.has('1.weight') ? renamed(weights, [[/^/, 'decoder.']]) : weights;
}
