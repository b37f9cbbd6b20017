/**
 * The convolutional autoencoder of latent diffusion (Rombach et al., 2022; SD-VAE), parameters under the names of
 * diffusers' AutoencoderKL. CompVis' names and diffusers' older ones are understood.
 */
import { tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import { attention, silu, upsampleNearest2x } from '../nn/functional.js';
import { conv, dense, groupNormed, type Parameters } from '../nn/layers.js';
import { countLayers, type Entry, type Shapes, type Weights } from './parameters.js';
import { type Rule, renamed, reshaped, unwrapped } from './rename.js';

// ---------------------------------------------------------------------------------------------------------- sizes

export interface AutoencoderKLConfig {
  /** Width of each resolution, finest first; each but the last halves the image. */
  blockOutChannels: readonly number[];
  /** Residual blocks of each resolution of the encoder; the decoder has one more. */
  layersPerBlock: number;
  /**
   * For each resolution, finest first, whether attention follows its residual blocks, as at the coarsest of f16;
   * default none.
   */
  attention?: readonly boolean[];
  latentChannels: number;
  /** Groups of the group norms (norm_num_groups of diffusers), which no weight tells. */
  groups: number;
  /** Whether a 1x1 convolution follows the encoder, and one precedes the decoder. */
  quantConv: boolean;
  postQuantConv: boolean;
}

/** Groups of published autoencoders. */
export const USUAL_GROUPS = 32;
const EPSILON = 1e-6;
const LOG_VARIANCE_RANGE = [-30, 20] as const;

/** Pixels of the image along one side of a latent pixel. */
export const downsampling = ({ blockOutChannels }: AutoencoderKLConfig): number => 2 ** (blockOutChannels.length - 1);

/**
 * The architecture that the shapes of a state dict tell.
 *
 * @throws DataError if the names are not those of such a network.
 */
export function inferAutoencoderKLConfig(
  shapes: Shapes,
  source: string,
  groups: number = USUAL_GROUPS,
): AutoencoderKLConfig {
  const levels = countLayers(shapes, 'encoder.down_blocks.', 'resnets.0.conv1.weight');
  const latent = shapes.get('decoder.conv_in.weight')?.shape;
  if (levels === 0 || !latent) {
    throw new DataError(
      `${source}: not the weights of an AutoencoderKL`,
      'Expected are the names of diffusers or of CompVis, such as encoder.down_blocks.0.resnets.0.conv1.weight.',
    );
  }
  const attention = Array.from({ length: levels }, (_, i) =>
    shapes.has(`encoder.down_blocks.${i}.attentions.0.group_norm.weight`),
  );
  return {
    ...(attention.includes(true) && { attention }),
    blockOutChannels: Array.from(
      { length: levels },
      (_, i) => shapes.get(`encoder.down_blocks.${i}.resnets.0.conv1.weight`)!.shape[0],
    ),
    layersPerBlock: countLayers(shapes, 'encoder.down_blocks.0.resnets.', 'conv1.weight'),
    latentChannels: latent[1],
    groups,
    quantConv: shapes.has('quant_conv.weight'),
    postQuantConv: shapes.has('post_quant_conv.weight'),
  };
}

// -------------------------------------------------------------------------------- the parts, each with its parameters

const IMAGE_CHANNELS = 3;

const layerShapes = (name: string, weight: readonly number[]): Entry[] => [
  [`${name}.weight`, { shape: weight }],
  [`${name}.bias`, { shape: [weight[0]] }],
];

const convShapes = (name: string, outputs: number, inputs: number, size = 3): Entry[] =>
  layerShapes(name, [outputs, inputs, size, size]);

const normShapes = (name: string, channels: number): Entry[] => layerShapes(name, [channels]);

const conv3x3 = (p: Parameters, name: string, x: tf.Tensor): tf.Tensor => conv(p, name, x, { padding: 1 });

const activated = (p: Parameters, name: string, groups: number, x: tf.Tensor): tf.Tensor =>
  silu(groupNormed(p, name, x, groups, EPSILON));

const resnetShapes = (name: string, outputs: number, inputs: number): Entry[] => [
  ...normShapes(`${name}.norm1`, inputs),
  ...convShapes(`${name}.conv1`, outputs, inputs),
  ...normShapes(`${name}.norm2`, outputs),
  ...convShapes(`${name}.conv2`, outputs, outputs),
  ...(inputs === outputs ? [] : convShapes(`${name}.conv_shortcut`, outputs, inputs, 1)),
];

/** Residual block: `x` [B, C, H, W] to [B, C', H, W]. */
function resnet(p: Parameters, name: string, groups: number, x: tf.Tensor): tf.Tensor {
  const inner = conv3x3(p, `${name}.conv1`, activated(p, `${name}.norm1`, groups, x)); // [B, C', H, W]
  const residual = conv3x3(p, `${name}.conv2`, activated(p, `${name}.norm2`, groups, inner));
  const shortcut = p[`${name}.conv_shortcut.weight`] ? conv(p, `${name}.conv_shortcut`, x) : x;
  return tf.add(shortcut, residual);
}

/** Residual self-attention with one head over all pixels of `x` [B, C, H, W]. */
function pixelAttention(p: Parameters, name: string, groups: number, x: tf.Tensor): tf.Tensor {
  const [batch, channels, height, width] = x.shape;
  const normed = groupNormed(p, `${name}.group_norm`, x, groups, EPSILON);
  const flat = tf.reshape(normed, [batch, channels, height * width]);
  const pixels = tf.transpose(flat, [0, 2, 1]); // [B, H * W, C]
  const [q, k, v] = ['to_q', 'to_k', 'to_v'].map((part) => tf.expandDims(dense(p, `${name}.${part}`, pixels), 2));
  const mixed = tf.squeeze(attention(q, k, v), [2]); // [B, H * W, C]
  const out = tf.transpose(dense(p, `${name}.to_out.0`, mixed), [0, 2, 1]); // [B, C, H * W]
  return tf.add(x, tf.reshape(out, [batch, channels, height, width]));
}

const attentionShapes = (name: string, channels: number): Entry[] => [
  ...normShapes(`${name}.group_norm`, channels),
  ...['to_q', 'to_k', 'to_v', 'to_out.0'].flatMap((part) => layerShapes(`${name}.${part}`, [channels, channels])),
];

const middleShapes = (name: string, channels: number): Entry[] => [
  ...resnetShapes(`${name}.resnets.0`, channels, channels),
  ...attentionShapes(`${name}.attentions.0`, channels),
  ...resnetShapes(`${name}.resnets.1`, channels, channels),
];

function middle(p: Parameters, name: string, groups: number, x: tf.Tensor): tf.Tensor {
  const before = resnet(p, `${name}.resnets.0`, groups, x);
  return resnet(p, `${name}.resnets.1`, groups, pixelAttention(p, `${name}.attentions.0`, groups, before));
}

// -------------------------------------------------------------------------------------------------------- the network

/** `count` residual blocks, the first of which changes the width; attention follows each, or none. */
const levelShapes = (name: string, count: number, outputs: number, inputs: number, attention = false): Entry[] =>
  Array.from({ length: count }, (_, j) => [
    ...resnetShapes(`${name}.resnets.${j}`, outputs, j === 0 ? inputs : outputs),
    ...(attention ? attentionShapes(`${name}.attentions.${j}`, outputs) : []),
  ]).flat();

/** One resolution: `x` [B, C, H, W] to [B, C', H, W]. */
function level(p: Parameters, name: string, count: number, groups: number, x: tf.Tensor): tf.Tensor {
  let y = x;
  for (let j = 0; j < count; j++) {
    y = resnet(p, `${name}.resnets.${j}`, groups, y); // [B, C', H, W]
    const attends = p[`${name}.attentions.${j}.group_norm.weight`] !== undefined;
    if (attends) y = pixelAttention(p, `${name}.attentions.${j}`, groups, y);
  }
  return y;
}

/** Names and shapes of all parameters. */
export function autoencoderKLShapes(config: AutoencoderKLConfig): Shapes {
  const { blockOutChannels: widths, layersPerBlock, latentChannels, attention = [] } = config;
  const last = widths.length - 1;
  const upward = widths.toReversed();
  return new Map([
    ...convShapes('encoder.conv_in', widths[0], IMAGE_CHANNELS),
    ...widths.flatMap((width, i) => [
      ...levelShapes(`encoder.down_blocks.${i}`, layersPerBlock, width, widths[Math.max(i - 1, 0)], attention[i]),
      ...(i < last ? convShapes(`encoder.down_blocks.${i}.downsamplers.0.conv`, width, width) : []),
    ]),
    ...middleShapes('encoder.mid_block', widths[last]),
    ...normShapes('encoder.conv_norm_out', widths[last]),
    ...convShapes('encoder.conv_out', 2 * latentChannels, widths[last]),
    ...(config.quantConv ? convShapes('quant_conv', 2 * latentChannels, 2 * latentChannels, 1) : []),
    ...(config.postQuantConv ? convShapes('post_quant_conv', latentChannels, latentChannels, 1) : []),
    ...convShapes('decoder.conv_in', widths[last], latentChannels),
    ...middleShapes('decoder.mid_block', widths[last]),
    ...upward.flatMap((width, i) => [
      ...levelShapes(
        `decoder.up_blocks.${i}`,
        layersPerBlock + 1,
        width,
        upward[Math.max(i - 1, 0)],
        attention[last - i],
      ),
      ...(i < last ? convShapes(`decoder.up_blocks.${i}.upsamplers.0.conv`, width, width) : []),
    ]),
    ...normShapes('decoder.conv_norm_out', widths[0]),
    ...convShapes('decoder.conv_out', IMAGE_CHANNELS, widths[0]),
  ]);
}

/** The half that a parameter belongs to. */
export const halfOf = (name: string): 'encoder' | 'decoder' =>
  name.startsWith('encoder.') || name.startsWith('quant_conv.') ? 'encoder' : 'decoder';

/** The posterior of the latents of `images` [B, 3, H, W] in [-1, 1]: `mean` and `std` [B, latentChannels, h, w]. */
export function encode(
  p: Parameters,
  config: AutoencoderKLConfig,
  images: tf.Tensor,
): { mean: tf.Tensor; std: tf.Tensor } {
  const { groups, blockOutChannels } = config;
  const levels = blockOutChannels.length;
  let x = conv3x3(p, 'encoder.conv_in', images);
  for (let i = 0; i < levels; i++) {
    const name = `encoder.down_blocks.${i}`;
    x = level(p, name, config.layersPerBlock, groups, x);
    // Padded on the right and below only, as the network was trained.
    if (i < levels - 1) x = conv(p, `${name}.downsamplers.0.conv`, x, { stride: 2, padding: [0, 0, 1, 1] });
  }
  x = middle(p, 'encoder.mid_block', groups, x);
  x = conv3x3(p, 'encoder.conv_out', activated(p, 'encoder.conv_norm_out', groups, x));
  const moments = config.quantConv ? conv(p, 'quant_conv', x) : x; // [B, 2 * latentChannels, h, w]
  const [mean, logVariance] = tf.split(moments, 2, 1);
  return { mean, std: tf.exp(tf.mul(tf.clipByValue(logVariance, ...LOG_VARIANCE_RANGE), 0.5)) };
}

/** Images [B, 3, H, W], about [-1, 1], of unscaled latents `z` [B, latentChannels, h, w]. */
export function decode(p: Parameters, config: AutoencoderKLConfig, z: tf.Tensor): tf.Tensor {
  const { groups, blockOutChannels } = config;
  const levels = blockOutChannels.length;
  let x = conv3x3(p, 'decoder.conv_in', config.postQuantConv ? conv(p, 'post_quant_conv', z) : z);
  x = middle(p, 'decoder.mid_block', groups, x);
  for (let i = 0; i < levels; i++) {
    const name = `decoder.up_blocks.${i}`;
    x = level(p, name, config.layersPerBlock + 1, groups, x);
    if (i < levels - 1) x = conv3x3(p, `${name}.upsamplers.0.conv`, upsampleNearest2x(x));
  }
  return conv3x3(p, 'decoder.conv_out', activated(p, 'decoder.conv_norm_out', groups, x));
}

// ---------------------------------------------------------------------------------------------------- names elsewhere

const LANDMARKS = ['encoder.conv_in.weight'];

/** The attention of diffusers before 0.17, in which the published SD-VAE files are written. */
const OLD_ATTENTION: readonly Rule[] = [
  [/(attentions\.0)\.query\./, '$1.to_q.'],
  [/(attentions\.0)\.key\./, '$1.to_k.'],
  [/(attentions\.0)\.value\./, '$1.to_v.'],
  [/(attentions\.0)\.proj_attn\./, '$1.to_out.0.'],
];

const COMPVIS: readonly Rule[] = [
  [/^encoder\.down\.(\d+)\.block\.(\d+)\./, 'encoder.down_blocks.$1.resnets.$2.'],
  [/^encoder\.down\.(\d+)\.downsample\./, 'encoder.down_blocks.$1.downsamplers.0.'],
  [/^decoder\.up\.(\d+)\.block\.(\d+)\./, 'decoder.up_blocks.$1.resnets.$2.'],
  [/^decoder\.up\.(\d+)\.upsample\./, 'decoder.up_blocks.$1.upsamplers.0.'],
  [/\.nin_shortcut\./, '.conv_shortcut.'],
  [/\.mid\.block_1\./, '.mid_block.resnets.0.'],
  [/\.mid\.block_2\./, '.mid_block.resnets.1.'],
  [/\.mid\.attn_1\./, '.mid_block.attentions.0.'],
  [/^encoder\.down\.(\d+)\.attn\.(\d+)\./, 'encoder.down_blocks.$1.attentions.$2.'],
  [/^decoder\.up\.(\d+)\.attn\.(\d+)\./, 'decoder.up_blocks.$1.attentions.$2.'],
  [/(\.attentions\.\d+)\.norm\./, '$1.group_norm.'],
  [/(\.attentions\.\d+)\.([qkv])\./, '$1.to_$2.'],
  [/(\.attentions\.\d+)\.proj_out\./, '$1.to_out.0.'],
  [/\.norm_out\./, '.conv_norm_out.'],
];

/** CompVis counts the decoder's levels from the finest, diffusers in the order of the computation. */
function reverseLevels(weights: Weights): Weights {
  const pattern = /^decoder\.up_blocks\.(\d+)\./;
  const levels = [...weights.keys()].map((name) => Number(pattern.exec(name)?.[1] ?? -1));
  const last = Math.max(...levels);
  return new Map(
    [...weights].map(([name, weight]) => [
      name.replace(pattern, (_, level) => `decoder.up_blocks.${last - Number(level)}.`),
      weight,
    ]),
  );
}

/** CompVis keeps the projections of attention as 1x1 convolutions [out, in, 1, 1]. */
function flattenProjections(weights: Weights): Weights {
  const isProjection = (name: string) => /attentions\.\d+\.to_\w+(\.0)?\.weight$/.test(name);
  return new Map(
    [...weights].map(([name, weight]) => [
      name,
      isProjection(name) ? reshaped(weight, weight.shape.slice(0, 2)) : weight,
    ]),
  );
}

/** The state dict of an AutoencoderKL, of whatever origin, under the names of diffusers today. */
export function toDiffusersNames(weights: Weights): Weights {
  const own = unwrapped(weights, LANDMARKS);
  if (!own.has('encoder.mid.attn_1.q.weight')) return renamed(own, OLD_ATTENTION);
  return reverseLevels(flattenProjections(renamed(own, COMPVIS)));
}
