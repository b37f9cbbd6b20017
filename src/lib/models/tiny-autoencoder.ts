/**
 * The tiny autoencoders of madebyollin/taesd: plain convolutions that stand in for a large autoencoder (TAESD for that
 * of Stable Diffusion, TAEF2 for that of FLUX.2). Each half is a sequence of layers, whose parameters are named by
 * their index: `encoder.0.weight`, `decoder.1.weight`.
 */
import { tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import { upsampleNearest2x } from '../nn/functional.js';
import { conv, groupNormed, type Parameters } from '../nn/layers.js';
import type { Entry, Shapes, Weights } from './parameters.js';
import { renamed } from './rename.js';

export interface TinyAutoencoderConfig {
  latentChannels: number;
  /** The halves that are there: they are published as two files. */
  encoder: boolean;
  decoder: boolean;
  /** Whether blocks at the latent's resolution also see the whole image, through a group norm. */
  pooled: boolean;
}

/** Pixels of the image along one side of a latent pixel. */
export const TINY_DOWNSAMPLING = 8;

const WIDTH = 64;
const POOL_WIDTH = 256;
const POOL_GROUPS = 4;
const EPSILON = 1e-5;

/** Latents are squashed into this range, smoothly, before they are decoded. */
const LATENT_RANGE = 3;

type Layer =
  | { kind: 'conv'; inputs: number; outputs: number; stride: number; bias: boolean }
  | { kind: 'block'; pooled: boolean }
  | { kind: 'upsample' | 'squash' | 'relu' };

const convolution = (inputs: number, outputs: number): Layer => ({
  kind: 'conv',
  inputs,
  outputs,
  stride: 1,
  bias: true,
});
const between = (stride: number): Layer => ({ kind: 'conv', inputs: WIDTH, outputs: WIDTH, stride, bias: false });
const blocks = (count: number, pooled = false): Layer[] => new Array(count).fill({ kind: 'block', pooled });

const encoderLayers = ({ latentChannels, pooled }: TinyAutoencoderConfig): Layer[] => [
  convolution(3, WIDTH),
  ...blocks(1),
  between(2),
  ...blocks(3),
  between(2),
  ...blocks(3),
  between(2),
  ...blocks(3, pooled),
  convolution(WIDTH, latentChannels),
];

const decoderLayers = ({ latentChannels, pooled }: TinyAutoencoderConfig): Layer[] => [
  { kind: 'squash' },
  convolution(latentChannels, WIDTH),
  { kind: 'relu' },
  ...blocks(3, pooled),
  { kind: 'upsample' },
  between(1),
  ...blocks(3),
  { kind: 'upsample' },
  between(1),
  ...blocks(3),
  { kind: 'upsample' },
  between(1),
  ...blocks(1),
  convolution(WIDTH, 3),
];

/** The convolutions whose widths are the latent's: the encoder's last, the decoder's first. */
const LATENT_LAYERS = { encoder: 'encoder.14.weight', decoder: 'decoder.1.weight' };

/** Whether a state dict holds a tiny autoencoder or one half of it. */
export const isTinyAutoencoder = (shapes: Shapes): boolean =>
  Object.values(LATENT_LAYERS).some((name) => shapes.has(name));

/**
 * The architecture that the shapes of a state dict tell.
 *
 * @throws DataError if the names are not those of such a network.
 */
export function inferTinyAutoencoderConfig(shapes: Shapes, source: string): TinyAutoencoderConfig {
  const encoded = shapes.get(LATENT_LAYERS.encoder)?.shape[0];
  const decoded = shapes.get(LATENT_LAYERS.decoder)?.shape[1];
  const latentChannels = encoded ?? decoded;
  if (latentChannels === undefined) throw new DataError(`${source}: not the weights of a tiny autoencoder`);
  return {
    latentChannels,
    encoder: encoded !== undefined,
    decoder: decoded !== undefined,
    pooled: shapes.has('decoder.3.pool.0.weight') || shapes.has('encoder.13.pool.0.weight'),
  };
}

function layerShapes(name: string, layer: Layer): Entry[] {
  const weight = (part: string, ...shape: number[]): Entry => [`${name}.${part}`, { shape }];
  if (layer.kind === 'conv') {
    const { inputs, outputs, bias } = layer;
    return [weight('weight', outputs, inputs, 3, 3), ...(bias ? [weight('bias', outputs)] : [])];
  }
  if (layer.kind !== 'block') return [];
  const inner = [0, 2, 4].flatMap((i) => [
    weight(`conv.${i}.weight`, WIDTH, WIDTH, 3, 3),
    weight(`conv.${i}.bias`, WIDTH),
  ]);
  if (!layer.pooled) return inner;
  return [
    ...inner,
    weight('pool.0.weight', POOL_WIDTH, WIDTH, 1, 1),
    weight('pool.1.weight', POOL_WIDTH),
    weight('pool.1.bias', POOL_WIDTH),
    weight('pool.3.weight', WIDTH, POOL_WIDTH, 1, 1),
  ];
}

/** Names and shapes of all parameters of the halves that are there. */
export function tinyAutoencoderShapes(config: TinyAutoencoderConfig): Shapes {
  const ofHalf = (name: string, layers: readonly Layer[]) =>
    layers.flatMap((layer, i) => layerShapes(`${name}.${i}`, layer));
  return new Map([
    ...(config.encoder ? ofHalf('encoder', encoderLayers(config)) : []),
    ...(config.decoder ? ofHalf('decoder', decoderLayers(config)) : []),
  ]);
}

/** What a pooled block adds to its input `x` [B, 64, h, w] first: the group norm mixes all pixels. */
function pool(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const wide = groupNormed(p, `${name}.1`, conv(p, `${name}.0`, x), POOL_GROUPS, EPSILON); // [B, 256, h, w]
  return conv(p, `${name}.3`, tf.relu(wide)); // [B, 64, h, w]
}

/** Residual block of three convolutions: `x` [B, 64, h, w] to the same shape. */
function block(p: Parameters, name: string, pooled: boolean, x: tf.Tensor): tf.Tensor {
  const input = pooled ? tf.add(x, pool(p, `${name}.pool`, x)) : x;
  const convolved = (y: tf.Tensor, i: number) => conv(p, `${name}.conv.${i}`, y, { padding: 1 });
  const inner = tf.relu(convolved(tf.relu(convolved(input, 0)), 2));
  return tf.relu(tf.add(convolved(inner, 4), input));
}

function apply(p: Parameters, name: string, layer: Layer, x: tf.Tensor): tf.Tensor {
  switch (layer.kind) {
    case 'conv':
      return conv(p, name, x, { stride: layer.stride, padding: 1 });
    case 'block':
      return block(p, name, layer.pooled, x);
    case 'upsample':
      return upsampleNearest2x(x);
    case 'squash':
      return tf.mul(tf.tanh(tf.div(x, LATENT_RANGE)), LATENT_RANGE);
    case 'relu':
      return tf.relu(x);
  }
}

const run = (p: Parameters, half: string, layers: readonly Layer[], x: tf.Tensor): tf.Tensor =>
  layers.reduce((y, layer, i) => apply(p, `${half}.${i}`, layer, y), x);

/** Latents [B, latentChannels, H / 8, W / 8] of `images` [B, 3, H, W] in [-1, 1]. */
export const encodeTiny = (p: Parameters, config: TinyAutoencoderConfig, images: tf.Tensor): tf.Tensor =>
  run(p, 'encoder', encoderLayers(config), tf.add(tf.mul(images, 0.5), 0.5)); // the network takes [0, 1]

/** Images [B, 3, H, W], about [-1, 1], of latents `z` [B, latentChannels, h, w]. */
export const decodeTiny = (p: Parameters, config: TinyAutoencoderConfig, z: tf.Tensor): tf.Tensor =>
  tf.sub(tf.mul(run(p, 'decoder', decoderLayers(config), z), 2), 1);

// ---------------------------------------------------------------------------------------------------- names elsewhere

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
