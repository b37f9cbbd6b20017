/** The autoencoder that is trained, its loss, and the scale of its latents. */
import { tf } from '../../src/lib/engine/index.js';
import {
  type AutoencoderKLConfig,
  autoencoderKLShapes,
  decode,
  downsampling,
  encode,
} from '../../src/lib/models/autoencoder-kl.js';
import type { Weights } from '../../src/lib/models/parameters.js';
import type { Parameters } from '../../src/lib/nn/layers.js';
import { fillNormal, PURPOSE } from '../../src/lib/numbers/random.js';
import { sizeOf } from '../../src/lib/numbers/typed-array.js';
import type { ParameterSpec } from '../../src/lib/optim/index.js';
import { SD_VAE_SCALE } from '../../src/lib/pretrained/latent-codec.js';
import { SIDE } from './dataset.js';
import { VIEW_SIZE } from './views.js';

export const CODEC: AutoencoderKLConfig = {
  blockOutChannels: [16, 32, 64, 64],
  layersPerBlock: 1,
  latentChannels: 8,
  groups: 8,
  quantConv: true,
  postQuantConv: true,
};

const LATENT_SIDE = SIDE / downsampling(CODEC);
export const LATENT_SHAPE = [CODEC.latentChannels, LATENT_SIDE, LATENT_SIDE];
export const LATENT_SIZE = sizeOf(LATENT_SHAPE);

/** Of the absolute error, which keeps edges sharp, beside the squared one. */
const ABSOLUTE_WEIGHT = 0.2;
/** Twice the variance of a picture's values that the decoder is taken to have (beta of arXiv 1312.6114's bound). */
const DIVERGENCE_WEIGHT = 0.01;
/** Logarithm of the posterior's variance at the start. */
const LOG_VARIANCE = -4;
/** Residual branches start small. */
const BRANCH_SCALE = 0.3;

function start(name: string, shape: readonly number[], seed: number, row: number): Float32Array {
  const values = new Float32Array(sizeOf(shape));
  if (name === 'quant_conv.bias') return values.fill(LOG_VARIANCE, CODEC.latentChannels);
  if (/norm\w*\.weight$/.test(name)) return values.fill(1);
  if (shape.length === 1) return values;
  fillNormal(values, seed, PURPOSE.init, row);
  const scale = /conv2|to_out/.test(name) ? BRANCH_SCALE : 1;
  return values.map((value) => (scale * value) / Math.sqrt(sizeOf(shape.slice(1))));
}

/** The autoencoder with its first values. */
export const initCodec = (seed: number): ParameterSpec[] =>
  [...autoencoderKLShapes(CODEC)].map(([name, { shape }], row) => ({
    name,
    shape,
    data: start(name, shape, seed, row),
  }));

/**
 * The loss and its parts, of images [B, 3, S, S] in [-1, 1] and the noise of their posteriors [B, C, h, w]: the error
 * of what is decoded, and the divergence from a standard normal, both per value of the picture.
 */
export function codecLoss(p: Parameters, images: tf.Tensor, noise: tf.Tensor): tf.Tensor[] {
  const { mean, std } = encode(p, CODEC, images); // [B, C, h, w]
  const error = tf.sub(decode(p, CODEC, tf.add(mean, tf.mul(std, noise))), images); // [B, 3, S, S]
  const squared = tf.mean(tf.square(error)) as tf.Tensor;
  const absolute = tf.mean(tf.abs(error)) as tf.Tensor;
  const variance = tf.square(std);
  const terms = tf.sub(tf.add(tf.square(mean), variance), tf.add(tf.log(variance), 1)); // [B, C, h, w]
  const divergence = tf.div(tf.sum(terms), 2 * images.shape[0] * VIEW_SIZE) as tf.Tensor;
  const total = tf.addN([squared, tf.mul(absolute, ABSOLUTE_WEIGHT), tf.mul(divergence, DIVERGENCE_WEIGHT)]);
  return [total, squared, absolute, divergence];
}

/**
 * The same autoencoder whose latents have, times the scale of Stable Diffusion's, mean 0 and deviation 1 in each
 * channel.
 * @param statistics of each channel now
 */
export function foldScale(weights: Weights, statistics: readonly { mean: number; deviation: number }[]): Weights {
  const folded: Weights = new Map([...weights].map(([name, { shape, data }]) => [name, { shape, data: data.slice() }]));
  const of = (name: string): Float32Array => folded.get(name)!.data;
  const channels = CODEC.latentChannels;
  statistics.forEach(({ mean, deviation }, channel) => {
    const unit = deviation * SD_VAE_SCALE;
    const [row, spread] = [of('quant_conv.weight'), of('quant_conv.bias')];
    for (let i = channel * 2 * channels; i < (channel + 1) * 2 * channels; i++) row[i] /= unit;
    spread[channel] = (spread[channel] - mean) / unit;
    spread[channels + channel] -= 2 * Math.log(unit);
    const [columns, offset] = [of('post_quant_conv.weight'), of('post_quant_conv.bias')];
    for (let out = 0; out < channels; out++) {
      offset[out] += columns[out * channels + channel] * mean;
      columns[out * channels + channel] *= unit;
    }
  });
  return folded;
}
