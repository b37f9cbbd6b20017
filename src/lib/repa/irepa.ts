/**
 * iREPA (arXiv 2512.10794): what counts of features is how they differ within an image. The projector is a 3 x 3
 * convolution of the grid of tokens, and features lose their mean over the image. Checked against the published code:
 * losses, gradients and normalised features (fixture published/irepa).
 *
 * The paper says a strength of 1 and a kernel of 3, which the preset has; the command that is published with it leaves
 * the trainer's defaults, a strength of 0.6 and a kernel of 1.
 */
import { tf } from '../engine/index.js';
import { count, fields, later, numeric, oneOf, orNull, type ShapeOf } from '../formats/json-shape.js';
import type { Parameters } from '../models/parameters.js';
import { conv } from '../nn/layers.js';
import { choice, number } from '../options/option.js';
import { options } from '../options/table.js';
import { method, type Projector } from './method.js';

const EPSILON = 1e-6;

/**
 * (y - gamma mean(y)) / (deviation(y) + 1e-6), with mean and deviation over the tokens of an image, channel by channel.
 * The deviation is torch's, over T - 1.
 *
 * @param y features [B, T, D].
 */
export function spatialNorm(y: tf.Tensor, gamma: number): tf.Tensor {
  const tokens = y.shape[1]!;
  const mean = tf.mean(y, 1, true); // [B, 1, D]
  const variance = tf.div(tf.sum(tf.squaredDifference(y, mean), 1, true), tokens - 1); // [B, 1, D]
  return tf.div(tf.sub(y, tf.mul(mean, gamma)), tf.add(tf.sqrt(variance), EPSILON)); // [B, T, D]
}

/** A convolution of `kernel` x `kernel` over the grid of the patches; tokens before them are left out. */
export const convolution = (kernel: number): Projector => ({
  patchesAlone: true,
  parameters: (name, hiddenSize, dim) => [
    [`${name}.projection_layer.weight`, { shape: [dim, hiddenSize, kernel, kernel], start: 'kaiming' }],
    [`${name}.projection_layer.bias`, { shape: [dim], start: 'zeros' }],
  ],
  project(p: Parameters, name: string, all: tf.Tensor): tf.Tensor {
    const [batch, count, width] = all.shape;
    const tokens = Math.floor(Math.sqrt(count)) ** 2;
    const x = tf.slice(all, [0, count - tokens, 0], [-1, -1, -1]); // [B, T, D]
    const side = Math.sqrt(tokens);
    const grid = tf.reshape(tf.transpose(x, [0, 2, 1]), [batch, width, side, side]); // [B, D, side, side]
    const projected = conv(p, `${name}.projection_layer`, grid, { padding: (kernel - 1) / 2 }); // [B, dim, side, side]
    return tf.transpose(tf.reshape(projected, [batch, projected.shape[1]!, tokens]), [0, 2, 1]); // [B, T, dim]
  },
});

const SETTINGS = fields({
  projector: oneOf('mlp', 'conv'),
  /** Side of the convolution. */
  kernel: later(count, 3),
  /** How much of their mean over the image features lose before they are divided by their deviation; null: neither. */
  spatialNorm: orNull(numeric),
});

export const irepa = method({
  name: 'irepa',
  options: options({
    projector: choice(
      '--projector <name>',
      'a perceptron on each token, or a 3 x 3 convolution of their grid (iREPA)',
      ['mlp', 'conv'],
      { default: 'mlp', needs: '--lambda' },
    ),
    projectorKernel: choice('--projector-kernel <side>', 'side of the convolution', ['1', '3', '5', '7'], {
      default: '3',
      needs: { words: '--projector conv', holds: ({ projector }) => projector === 'conv' },
    }),
    spatialNorm: number(
      '--spatial-norm <gamma>',
      'features lose gamma of their mean over the image, then are divided by their deviation (iREPA: 1; its released command: 0.6)',
      { min: 0, needs: '--lambda' },
    ),
  }),
  presets: { irepa: { lambda: 1, projector: 'conv', 'spatial-norm': 1 } },
  settings: SETTINGS,
  isOn: ({ projector, spatialNorm }) => projector === 'conv' || spatialNorm !== undefined,
  settle: ({ projector, projectorKernel, spatialNorm = null }): ShapeOf<typeof SETTINGS> => ({
    ...{ projector, kernel: Number(projectorKernel), spatialNorm },
  }),
  recognise(shapes): ShapeOf<typeof SETTINGS> | undefined {
    const kernel = shapes.get('projectors.0.projection_layer.weight')?.shape[2];
    return kernel === undefined ? undefined : { projector: 'conv', kernel, spatialNorm: null };
  },
  whole: ({ projector }, { alignDepth }) => ({
    option: '--projector conv',
    blocks: projector === 'conv' ? [alignDepth] : [],
  }),
  variant: ({ projector, kernel, spatialNorm: gamma }) => ({
    ...(projector === 'conv' && { projector: convolution(kernel) }),
    ...(gamma !== null && { target: (features: tf.Tensor) => spatialNorm(features, gamma) }),
  }),
});
