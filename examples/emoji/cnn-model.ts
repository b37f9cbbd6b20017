/**
 * A small residual network whose last map has 4 x 4 cells for a picture of 64 pixels (stride 16), its loss, and the
 * ONNX file that is made of it. Batch norms are statistics of the batch in training, and part of the convolutions
 * afterwards.
 */
import { tf } from '../../src/lib/engine/index.js';
import { encodeModel, type Initializer, type OnnxNode } from '../../src/lib/engine/onnx/model.js';
import type { Weights } from '../../src/lib/models/parameters.js';
import { conv2d, linear } from '../../src/lib/nn/functional.js';
import type { Parameters } from '../../src/lib/nn/layers.js';
import { halfFromFloat } from '../../src/lib/numbers/half.js';
import { fillNormal, PURPOSE } from '../../src/lib/numbers/random.js';
import { sizeOf } from '../../src/lib/numbers/typed-array.js';
import type { ParameterSpec } from '../../src/lib/optim/index.js';
import { SIDE } from './dataset.js';

/** Width of each map, finest first; each halves the one before, and the first the picture. */
const WIDTHS = [32, 64, 128, 192];
export const DIM = WIDTHS[WIDTHS.length - 1];
const PROJECTION = 64;
const EPSILON = 1e-5;

/** A convolution, its stride, and the batch norm after it. */
interface Layer {
  name: string;
  inputs: number;
  outputs: number;
  size: number;
  stride: number;
}

interface Block {
  first: Layer;
  second: Layer;
  shortcut: Layer;
}

const layer = (name: string, inputs: number, outputs: number, size: number, stride: number): Layer => ({
  name,
  inputs,
  outputs,
  size,
  stride,
});

const STEM = layer('stem', 3, WIDTHS[0], 3, 2);
const BLOCKS: readonly Block[] = WIDTHS.slice(1).map((outputs, i) => ({
  first: layer(`block.${i}.first`, WIDTHS[i], outputs, 3, 2),
  second: layer(`block.${i}.second`, outputs, outputs, 3, 1),
  shortcut: layer(`block.${i}.shortcut`, WIDTHS[i], outputs, 1, 2),
}));

/** All of them, in the order in which they run. */
export const LAYERS: readonly Layer[] = [
  STEM,
  ...BLOCKS.flatMap(({ first, second, shortcut }) => [first, second, shortcut]),
];

/** The network and the heads that only training needs, with their first values. */
export function initCnn(seed: number, heads: Readonly<Record<string, number>>): ParameterSpec[] {
  const network = LAYERS.flatMap(({ name, inputs, outputs, size }): [string, number[]][] => [
    [`${name}.weight`, [outputs, inputs, size, size]],
    [`${name}.norm.weight`, [outputs]],
    [`${name}.norm.bias`, [outputs]],
  ]);
  const projector: [string, number[]][] = [
    ['head.projector.0', [DIM, DIM]],
    ['head.projector.1', [PROJECTION, DIM]],
  ];
  const classifiers = Object.entries(heads).map(([name, outputs]): [string, number[]] => [
    `head.${name}`,
    [outputs, DIM],
  ]);
  return [...network, ...projector, ...classifiers].map(([name, shape], row) => {
    const data = new Float32Array(sizeOf(shape));
    if (name.endsWith('norm.weight')) data.fill(name.includes('second') ? 0.5 : 1);
    if (shape.length === 1) return { name, shape, data };
    fillNormal(data, seed, PURPOSE.init, row);
    const deviation = Math.sqrt(2 / sizeOf(shape.slice(1)));
    return { name, shape, data: data.map((value) => deviation * value) };
  });
}

/** Mean and variance of each channel [C]. */
export interface Statistics {
  mean: tf.Tensor;
  variance: tf.Tensor;
}

/** Map [B, 192, 4, 4] of normalised `images` [B, 3, 64, 64], and the statistics of the batch before each norm. */
export function cnn(p: Parameters, images: tf.Tensor): { map: tf.Tensor; statistics: Statistics[] } {
  const statistics: Statistics[] = [];
  const apply = ({ name, size, stride }: Layer, x: tf.Tensor): tf.Tensor => {
    const y = conv2d(x, p[`${name}.weight`], null, { stride, padding: (size - 1) / 2 }); // [B, C, h, w]
    const mean = tf.mean(y, [0, 2, 3], true);
    const centred = tf.sub(y, mean);
    const variance = tf.mean(tf.square(centred), [0, 2, 3], true);
    statistics.push({ mean: tf.reshape(mean, [-1]), variance: tf.reshape(variance, [-1]) });
    const perChannel = (parameter: tf.Tensor) => tf.reshape(parameter, [1, -1, 1, 1]);
    const scale = tf.mul(tf.rsqrt(tf.add(variance, EPSILON)), perChannel(p[`${name}.norm.weight`]));
    return tf.add(tf.mul(centred, scale), perChannel(p[`${name}.norm.bias`]));
  };
  let x = tf.relu(apply(STEM, images));
  for (const { first, second, shortcut } of BLOCKS) {
    const inner = apply(second, tf.relu(apply(first, x)));
    x = tf.relu(tf.add(inner, apply(shortcut, x)));
  }
  return { map: x, statistics };
}

/** One vector a picture: the mean of its map's cells [B, D]. */
export const pooled = (map: tf.Tensor): tf.Tensor => tf.mean(map, [2, 3]);

const TEMPERATURE = 0.1;
const UNREACHABLE = -1e9;

/**
 * NT-Xent (SimCLR, arXiv 2002.05709): each of two views of a picture finds the other among all views of the batch.
 * @param features [2B, D], the second views after all first ones
 */
export function contrast(p: Parameters, features: tf.Tensor): tf.Tensor {
  const [views] = features.shape;
  const projected = linear(tf.relu(linear(features, p['head.projector.0'])), p['head.projector.1']); // [2B, P]
  const unit = tf.div(projected, tf.sqrt(tf.add(tf.sum(tf.square(projected), -1, true), 1e-6)));
  const similarities = tf.div(tf.matMul(unit, unit, false, true), TEMPERATURE); // [2B, 2B]
  const others = tf.add(similarities, tf.mul(tf.eye(views), UNREACHABLE));
  const partners = tf.tensor(partnerMatrix(views), [views, views]);
  return tf.neg(tf.div(tf.sum(tf.mul(tf.logSoftmax(others), partners)), views));
}

/** 1 where the views are of one picture, but the same view. */
function partnerMatrix(views: number): Float32Array {
  const matrix = new Float32Array(views * views);
  for (let row = 0; row < views; row++) matrix[row * views + ((row + views / 2) % views)] = 1;
  return matrix;
}

/** The outputs of head `name` for features [B, D]. */
export const classify = (p: Parameters, name: string, features: tf.Tensor): tf.Tensor =>
  linear(features, p[`head.${name}`]);

/** What stands in for the batch's statistics once training is over, of each layer: [C]. */
export interface FixedStatistics {
  mean: Float32Array;
  variance: Float32Array;
}

/** The convolutions [weight, bias] that also do what the norms after them did. */
function foldNorms(weights: Weights, statistics: readonly FixedStatistics[]): Initializer[] {
  return LAYERS.flatMap(({ name, inputs, outputs, size }, i) => {
    const of = (part: string) => weights.get(`${name}.${part}`)!.data;
    const scale = of('norm.weight').map((gain, c) => gain / Math.sqrt(statistics[i].variance[c] + EPSILON));
    const area = inputs * size * size;
    const weight = of('weight').map((value, j) => value * scale[Math.floor(j / area)]);
    const bias = of('norm.bias').map((shift, c) => shift - statistics[i].mean[c] * scale[c]);
    return [
      { name: `${name}.weight`, dtype: 'float16', shape: [outputs, inputs, size, size], data: halfFromFloat(weight) },
      { name: `${name}.bias`, dtype: 'float16', shape: [outputs], data: halfFromFloat(bias) },
    ];
  });
}

const FLOAT = 1; // TensorProto.DataType
const OPEN = -1; // a size that is not fixed

/** The network as an ONNX file: normalised `image` [N, 3, 64, 64] to `map` [N, 192, 4, 4], weights in f16. */
export function cnnModel(weights: Weights, statistics: readonly FixedStatistics[]): Uint8Array {
  const initializers = foldNorms(weights, statistics);
  const nodes: OnnxNode[] = [];
  const add = (type: string, inputs: string[], output: string, attributes: OnnxNode['attributes'] = {}): string => {
    nodes.push({ type, domain: '', attributes, inputs, outputs: [output] });
    return output;
  };
  for (const { name } of initializers) add('Cast', [name], `${name}.f32`, { to: FLOAT });
  const convolve = ({ name, size, stride }: Layer, x: string): string => {
    const pad = (size - 1) / 2;
    const attributes = { strides: [stride, stride], pads: [pad, pad, pad, pad], kernel_shape: [size, size] };
    return add('Conv', [x, `${name}.weight.f32`, `${name}.bias.f32`], `${name}.out`, attributes);
  };
  const relu = (x: string, output = `${x}.relu`): string => add('Relu', [x], output);
  let x = relu(convolve(STEM, 'image'));
  for (const [i, { first, second, shortcut }] of BLOCKS.entries()) {
    const inner = convolve(second, relu(convolve(first, x)));
    const sum = add('Add', [inner, convolve(shortcut, x)], `block.${i}.sum`);
    x = relu(sum, i === BLOCKS.length - 1 ? 'map' : `block.${i}.out`);
  }
  const cells = SIDE / 2 ** WIDTHS.length;
  return encodeModel({
    nodes,
    initializers,
    inputs: [{ name: 'image', dtype: 'float32', shape: [OPEN, 3, SIDE, SIDE] }],
    outputs: [{ name: 'map', dtype: 'float32', shape: [OPEN, DIM, cells, cells] }],
  });
}
