/** The parameters of an AutoencoderKL: names and shapes that follow from its architecture. */
import type { AutoencoderKLConfig } from './autoencoder-kl.js';
import type { Shapes } from './parameters.js';

type Entry = [string, { shape: readonly number[] }];

const IMAGE_CHANNELS = 3;

const layer = (name: string, weight: readonly number[]): Entry[] => [
  [`${name}.weight`, { shape: weight }],
  [`${name}.bias`, { shape: [weight[0]] }],
];

const conv = (name: string, outputs: number, inputs: number, size = 3): Entry[] =>
  layer(name, [outputs, inputs, size, size]);

const norm = (name: string, channels: number): Entry[] => layer(name, [channels]);

const resnet = (name: string, outputs: number, inputs: number): Entry[] => [
  ...norm(`${name}.norm1`, inputs),
  ...conv(`${name}.conv1`, outputs, inputs),
  ...norm(`${name}.norm2`, outputs),
  ...conv(`${name}.conv2`, outputs, outputs),
  ...(inputs === outputs ? [] : conv(`${name}.conv_shortcut`, outputs, inputs, 1)),
];

const middle = (name: string, channels: number): Entry[] => [
  ...resnet(`${name}.resnets.0`, channels, channels),
  ...norm(`${name}.attentions.0.group_norm`, channels),
  ...['to_q', 'to_k', 'to_v', 'to_out.0'].flatMap((part) =>
    layer(`${name}.attentions.0.${part}`, [channels, channels]),
  ),
  ...resnet(`${name}.resnets.1`, channels, channels),
];

/** `count` residual blocks, the first of which changes the width. */
const resnets = (name: string, count: number, outputs: number, inputs: number): Entry[] =>
  Array.from({ length: count }, (_, j) => resnet(`${name}.resnets.${j}`, outputs, j === 0 ? inputs : outputs)).flat();

/** Names and shapes of all parameters. */
export function autoencoderKLShapes(config: AutoencoderKLConfig): Shapes {
  const { blockOutChannels: widths, layersPerBlock, latentChannels } = config;
  const last = widths.length - 1;
  const upward = widths.toReversed();
  return new Map([
    ...conv('encoder.conv_in', widths[0], IMAGE_CHANNELS),
    ...widths.flatMap((width, i) => [
      ...resnets(`encoder.down_blocks.${i}`, layersPerBlock, width, widths[Math.max(i - 1, 0)]),
      ...(i < last ? conv(`encoder.down_blocks.${i}.downsamplers.0.conv`, width, width) : []),
    ]),
    ...middle('encoder.mid_block', widths[last]),
    ...norm('encoder.conv_norm_out', widths[last]),
    ...conv('encoder.conv_out', 2 * latentChannels, widths[last]),
    ...(config.quantConv ? conv('quant_conv', 2 * latentChannels, 2 * latentChannels, 1) : []),
    ...(config.postQuantConv ? conv('post_quant_conv', latentChannels, latentChannels, 1) : []),
    ...conv('decoder.conv_in', widths[last], latentChannels),
    ...middle('decoder.mid_block', widths[last]),
    ...upward.flatMap((width, i) => [
      ...resnets(`decoder.up_blocks.${i}`, layersPerBlock + 1, width, upward[Math.max(i - 1, 0)]),
      ...(i < last ? conv(`decoder.up_blocks.${i}.upsamplers.0.conv`, width, width) : []),
    ]),
    ...norm('decoder.conv_norm_out', widths[0]),
    ...conv('decoder.conv_out', IMAGE_CHANNELS, widths[0]),
  ]);
}

/** Which half a parameter belongs to. */
export const halfOf = (name: string): 'encoder' | 'decoder' =>
  name.startsWith('encoder.') || name.startsWith('quant_conv.') ? 'encoder' : 'decoder';
