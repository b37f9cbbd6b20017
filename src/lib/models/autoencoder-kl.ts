/**
 * The convolutional autoencoder of latent diffusion (Rombach et al., 2022; SD-VAE), parameters under the names of
 * diffusers' AutoencoderKL.
 */
import { tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import { attention, silu, upsampleNearest2x } from '../nn/functional.js';
import { conv, dense, groupNormed, type Parameters } from '../nn/layers.js';
import { countLayers, type Shapes } from './parameters.js';

export interface AutoencoderKLConfig {
  /** Width of each resolution, finest first; each but the last halves the image. */
  blockOutChannels: readonly number[];
  /** Residual blocks of each resolution of the encoder; the decoder has one more. */
  layersPerBlock: number;
  latentChannels: number;
  /** Of the group norms (norm_num_groups of diffusers), which no weight tells. */
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
  return {
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

const conv3x3 = (p: Parameters, name: string, x: tf.Tensor): tf.Tensor => conv(p, name, x, { padding: 1 });

const activated = (p: Parameters, name: string, groups: number, x: tf.Tensor): tf.Tensor =>
  silu(groupNormed(p, name, x, groups, EPSILON));

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

function middle(p: Parameters, name: string, groups: number, x: tf.Tensor): tf.Tensor {
  const before = resnet(p, `${name}.resnets.0`, groups, x);
  return resnet(p, `${name}.resnets.1`, groups, pixelAttention(p, `${name}.attentions.0`, groups, before));
}

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
    for (let j = 0; j < config.layersPerBlock; j++) x = resnet(p, `${name}.resnets.${j}`, groups, x);
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
    for (let j = 0; j <= config.layersPerBlock; j++) x = resnet(p, `${name}.resnets.${j}`, groups, x);
    if (i < levels - 1) x = conv3x3(p, `${name}.upsamplers.0.conv`, upsampleNearest2x(x));
  }
  return conv3x3(p, 'decoder.conv_out', activated(p, 'decoder.conv_norm_out', groups, x));
}
