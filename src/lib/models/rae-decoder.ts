/**
 * The decoder of representation autoencoders (RAE, arXiv 2510.11690, section 3): a vision transformer from the tokens
 * of a frozen encoder to patches of pixels. Checked against the published code (fixture published/rae).
 */
import { tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import { dense, norm, type Parameters, parameter, unpatchify } from '../nn/layers.js';
import { countLayers, linearShapes, normShapes, requiredShape, type Shapes, type Weights } from './parameters.js';
import { renamed, unwrapped } from './rename.js';
import { block, blockShapes, headsOf, type ViTBlock } from './vit.js';
import { toHubNames } from './vit-names.js';

export interface RaeDecoderConfig extends ViTBlock {
  /** Width of the encoder's tokens. */
  latentDim: number;
  depth: number;
  /** Tokens along one side of an image. */
  side: number;
  /** Pixels along one side of a token's patch. */
  patchSize: number;
}

/** Whether a state dict holds such a decoder. */
export const isRaeDecoder = (shapes: Shapes): boolean =>
  shapes.has('decoder_embed.weight') && shapes.has('decoder_pred.weight');

/**
 * The architecture that the shapes of a state dict tell; the number of heads is that of published models of this width.
 * @throws DataError if the names are not those of such a network
 */
export function inferRaeDecoder(shapes: Shapes, source: string): RaeDecoderConfig {
  const shapeOf = (name: string): readonly number[] =>
    requiredShape(shapes, name, source, 'a decoder of encoder tokens');
  const [width, latentDim] = shapeOf('decoder_embed.weight');
  const side = Math.sqrt(shapeOf('pos_embed')[1] - 1); // the class token has a position too
  const patchSize = Math.sqrt(shapeOf('decoder_pred.weight')[0] / 3);
  if (!Number.isInteger(side) || !Number.isInteger(patchSize)) {
    throw new DataError(`${source}: its tokens are no square grid of square patches of RGB`);
  }
  return {
    latentDim,
    width,
    depth: countLayers(shapes, 'blocks.', 'attn.qkv.weight'),
    side,
    patchSize,
    inner: shapeOf('blocks.0.mlp.fc1.weight')[0],
    heads: headsOf(width),
    feedForward: 'mlp',
    activation: 'erf',
    qkvBias: true,
    layerScale: false,
    epsilon: 1e-12,
  };
}

/** Names and shapes of all parameters. */
export function raeDecoderShapes(config: RaeDecoderConfig): Shapes {
  const { latentDim, width, depth, side, patchSize } = config;
  return new Map([
    ['pos_embed', { shape: [1, 1 + side * side, width] }],
    ['cls_token', { shape: [1, 1, width] }],
    ...linearShapes('decoder_embed', width, latentDim),
    ...Array.from({ length: depth }, (_, i) => blockShapes(`blocks.${i}`, config)).flat(),
    ...normShapes('norm', width),
    ...linearShapes('decoder_pred', 3 * patchSize ** 2, width),
  ]);
}

/** Decodes tokens, given as latents [B, C, h, w], into images [B, 3, H, W], normalised as the encoder takes them. */
export function decodeTokens(p: Parameters, config: RaeDecoderConfig, latents: tf.Tensor): tf.Tensor {
  const [batch, channels, height, width] = latents.shape as [number, number, number, number];
  const tokens = tf.transpose(tf.reshape(latents, [batch, channels, height * width]), [0, 2, 1]); // [B, T, C]
  const first = tf.tile(parameter(p, 'cls_token'), [batch, 1, 1]); // [B, 1, D]
  const all = tf.concat([first, dense(p, 'decoder_embed', tokens)], 1); // [B, 1 + T, D]
  let x = tf.add(all, parameter(p, 'pos_embed')); // [B, 1 + T, D]
  for (let i = 0; i < config.depth; i++) x = block(p, `blocks.${i}`, config, x);
  const pixels = dense(p, 'decoder_pred', norm(p, 'norm', x, config.epsilon)); // [B, 1 + T, patch * patch * 3]
  return unpatchify(tf.slice(pixels, [0, 1, 0], [-1, -1, -1]), config.patchSize, 3); // [B, 3, H, W]
}

/** A state dict of the published code, under the names of vision transformers here. */
export function toRaeDecoderNames(weights: Weights): Weights {
  const own = unwrapped(weights, ['decoder_embed.weight']);
  if (!isRaeDecoder(own)) return weights;
  const named = renamed(own, [
    [/^decoder_layers\./, 'blocks.'],
    [/^decoder_norm\./, 'norm.'],
    [/^decoder_pos_embed$/, 'pos_embed'],
    [/^trainable_cls_token$/, 'cls_token'],
  ]);
  return toHubNames(named);
}
