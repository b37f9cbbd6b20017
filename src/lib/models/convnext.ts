/**
 * ConvNeXt V2 (arXiv 2301.00808) as a frozen encoder: stages of blocks, each a convolution channel by channel and a
 * perceptron with a global response norm. Parameters carry timm's names. Checked against timm (fixture fdr6).
 */
import { tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import { depthwiseConv2d, gelu } from '../nn/functional.js';
import { conv, dense, norm, type Parameters, parameter } from '../nn/layers.js';
import { countLayers, type Entry, linearShapes, normShapes, type Shapes } from './parameters.js';

export interface ConvNextConfig {
  /** Blocks of each stage, and their widths. */
  depths: readonly number[];
  widths: readonly number[];
  /** Side of a patch, with which the first stage begins. */
  patchSize: number;
  /** Side of the kernels of blocks. */
  kernel: number;
}

const EPSILON = 1e-6;

/** @throws DataError if the names are not those of such a network */
export function inferConvNext(shapes: Shapes, source: string): ConvNextConfig {
  const stem = shapes.get('stem.0.weight')?.shape;
  const stages = countLayers(shapes, 'stages.', 'blocks.0.conv_dw.weight');
  if (!stem || stages === 0 || !shapes.has('stages.0.blocks.0.mlp.grn.weight')) {
    throw new DataError(`${source}: not the weights of a ConvNeXt V2`, 'Expected are the names of timm: stem.0 ...');
  }
  const each = Array.from({ length: stages }, (_, i) => `stages.${i}.blocks.`);
  return {
    depths: each.map((blocks) => countLayers(shapes, blocks, 'conv_dw.weight')),
    widths: each.map((blocks) => shapes.get(`${blocks}0.conv_dw.weight`)!.shape[0]),
    patchSize: stem[2],
    kernel: shapes.get(`${each[0]}0.conv_dw.weight`)!.shape[2],
  };
}

const convShapes = (name: string, outputs: number, inputs: number, side: number): Entry[] => [
  [`${name}.weight`, { shape: [outputs, inputs, side, side] }],
  [`${name}.bias`, { shape: [outputs] }],
];

function blockShapes(name: string, width: number, kernel: number): Entry[] {
  return [
    ...convShapes(`${name}.conv_dw`, width, 1, kernel),
    ...normShapes(`${name}.norm`, width),
    ...linearShapes(`${name}.mlp.fc1`, 4 * width, width),
    ...normShapes(`${name}.mlp.grn`, 4 * width),
    ...linearShapes(`${name}.mlp.fc2`, width, 4 * width),
  ];
}

/** Names and shapes of all parameters that the forward pass uses; images have 3 channels. */
export function convNextShapes({ depths, widths, patchSize, kernel }: ConvNextConfig): Shapes {
  const between = (i: number): Entry[] => [
    ...normShapes(`stages.${i}.downsample.0`, widths[i - 1]),
    ...convShapes(`stages.${i}.downsample.1`, widths[i], widths[i - 1], 2),
  ];
  return new Map([
    ...convShapes('stem.0', widths[0], 3, patchSize),
    ...normShapes('stem.1', widths[0]),
    ...widths.flatMap((width, i) => [
      ...(i > 0 ? between(i) : []),
      ...Array.from({ length: depths[i] }, (_, j) => blockShapes(`stages.${i}.blocks.${j}`, width, kernel)).flat(),
    ]),
  ]);
}

/** Tensors of a classifier after the last stage. */
export const isUnusedByConvNext = (name: string): boolean => /^(head|norm)\./.test(name);

const channelsLast = (x: tf.Tensor): tf.Tensor => tf.transpose(x, [0, 2, 3, 1]);
const channelsFirst = (x: tf.Tensor): tf.Tensor => tf.transpose(x, [0, 3, 1, 2]);

/** The layer norm `name` over the channels of each pixel: `x` [B, C, H, W]. */
const normed = (p: Parameters, name: string, x: tf.Tensor): tf.Tensor =>
  channelsFirst(norm(p, name, channelsLast(x), EPSILON));

/**
 * Scales each channel by its norm over the image, relative to the mean of all channels (section 3): `x` [B, H, W, C].
 */
function responseNorm(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const length = tf.sqrt(tf.sum(tf.square(x), [1, 2], true)); // [B, 1, 1, C]
  const share = tf.div(length, tf.add(tf.mean(length, 3, true), EPSILON));
  const scaled = tf.mul(tf.mul(x, share), parameter(p, `${name}.weight`));
  return tf.add(x, tf.add(scaled, parameter(p, `${name}.bias`)));
}

/** One block: `x` [B, C, H, W] to [B, C, H, W]. */
function block(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const seen = depthwiseConv2d(x, parameter(p, `${name}.conv_dw.weight`), parameter(p, `${name}.conv_dw.bias`));
  const places = norm(p, `${name}.norm`, channelsLast(seen), EPSILON); // [B, H, W, C]
  const units = responseNorm(p, `${name}.mlp.grn`, gelu(dense(p, `${name}.mlp.fc1`, places))); // [B, H, W, 4C]
  return tf.add(x, channelsFirst(dense(p, `${name}.mlp.fc2`, units)));
}

/** The mean over the pixels of the last stage, before any classifier: `images` [B, 3, H, W] to [B, C]. */
export function convNext(p: Parameters, { depths, patchSize }: ConvNextConfig, images: tf.Tensor): tf.Tensor {
  let x = normed(p, 'stem.1', conv(p, 'stem.0', images, { stride: patchSize })); // [B, C, h, w]
  for (const [i, depth] of depths.entries()) {
    const before = `stages.${i}.downsample`;
    if (i > 0) x = conv(p, `${before}.1`, normed(p, `${before}.0`, x), { stride: 2 });
    for (let j = 0; j < depth; j++) x = block(p, `stages.${i}.blocks.${j}`, x);
  }
  return tf.mean(x, [2, 3]);
}
