/**
 * Inception 2015-12-05: the variant of Inception v3 (arXiv 1512.00567) that the Frechet Inception distance is defined
 * with. It differs from torchvision's in its pools: those of 5b to 7b leave the padding out of the mean, that of 7c is
 * a maximum. Parameters carry the names of pytorch-fid and torchvision.
 */
import { avgPool2d, maxPool2d, tf } from '../engine/index.js';
import { mapChannels } from '../images/normalise.js';
import { type Resampling, resamplePlanes } from '../images/resample.js';
import type { RgbImage } from '../images/rgb-image.js';
import { conv2d, linear } from '../nn/functional.js';
import { type Parameters, parameter } from '../nn/layers.js';
import type { Shapes, Weights } from './parameters.js';

// ---------------------------------------------------------------------------------------------------------- pictures

export const INCEPTION_SIDE = 299;

/**
 * - `adm`: TensorFlow 1's bilinear of the original graph, which ADM's evaluator runs;
 * - `pytorch-fid`: PyTorch's bilinear;
 * - `clean`: antialiased bicubic in floating point (clean-fid, arXiv 2104.11222).
 * The three give different distances for the same pictures.
 */
export type InceptionResize = 'adm' | 'pytorch-fid' | 'clean';

const METHOD: Record<InceptionResize, Resampling> = {
  adm: 'bilinear-tf1',
  'pytorch-fid': 'bilinear',
  clean: 'bicubic-antialias',
};

/** The original graph's (x - 128) / 128; pytorch-fid maps 255 to 1 instead. */
const scaled: Record<InceptionResize, (value: number) => number> = {
  adm: (value) => (value - 128) / 128,
  'pytorch-fid': (value) => (2 * value) / 255 - 1,
  clean: (value) => (Math.min(Math.max(value, 0), 255) - 128) / 128,
};

/**
 * @param image of any size and shape.
 * @param out [3, 299, 299]
 */
export function inceptionInput(image: RgbImage, resize: InceptionResize, out: Float32Array): void {
  const planes = mapChannels(image, () => (value) => value); // [3, H, W]
  const resized = resamplePlanes(planes, image, { height: INCEPTION_SIDE, width: INCEPTION_SIDE }, METHOD[resize]);
  const scale = scaled[resize];
  for (let i = 0; i < resized.length; i++) out[i] = scale(resized[i]);
}

// ----------------------------------------------------------------------------------- the parts, each with its kernels

/** [outputs, inputs, height, width] of a kernel. */
type Kernel = readonly [number, number, number, number];

export const POOL_DIM = 2048;

/** How many of the first channels of a 17 x 17 map sFID (Nash et al., arXiv 2103.03841) takes in ADM's evaluator. */
export const SPATIAL_CHANNELS = 7;
export const SPATIAL_DIM = 17 * 17 * SPATIAL_CHANNELS;

export const CLASSES = 1008;

/** Convolution and ReLU; zeros around keep the size of the image, unless `valid`. Batch norms are in the weights. */
function unit(p: Parameters, name: string, x: tf.Tensor, { stride = 1, valid = false } = {}): tf.Tensor {
  const weight = parameter(p, `${name}.weight`);
  const [, , height, width] = weight.shape;
  const [rows, columns] = valid ? [0, 0] : [(height - 1) / 2, (width - 1) / 2];
  const padding = [rows, columns, rows, columns] as const;
  return tf.relu(conv2d(x, weight, parameter(p, `${name}.bias`), { stride, padding }));
}

/** Units one after another, all of the block `name`. */
const chain = (p: Parameters, name: string, x: tf.Tensor, ...branches: string[]): tf.Tensor =>
  branches.reduce((y, branch) => unit(p, `${name}.${branch}`, y), x);

const HALVING = { stride: 2, valid: true };
const halved = (x: tf.Tensor): tf.Tensor => maxPool2d(x, 3, { stride: 2, padding: [0, 0, 0, 0] });

const SAME = { stride: 1, padding: [1, 1, 1, 1] } as const;
const meanOfNeighbours = (x: tf.Tensor): tf.Tensor => avgPool2d(x, 3, SAME, false);
const largestOfNeighbours = (x: tf.Tensor): tf.Tensor => maxPool2d(x, 3, SAME);

const STEM: Record<string, Kernel> = {
  Conv2d_1a_3x3: [32, 3, 3, 3],
  Conv2d_2a_3x3: [32, 32, 3, 3],
  Conv2d_2b_3x3: [64, 32, 3, 3],
  Conv2d_3b_1x1: [80, 64, 1, 1],
  Conv2d_4a_3x3: [192, 80, 3, 3],
};

function stem(p: Parameters, images: tf.Tensor): tf.Tensor {
  const first = unit(p, 'Conv2d_1a_3x3', images, HALVING); // [B, 32, 149, 149]
  const second = unit(p, 'Conv2d_2a_3x3', first, { valid: true }); // [B, 32, 147, 147]
  const third = unit(p, 'Conv2d_3b_1x1', halved(unit(p, 'Conv2d_2b_3x3', second))); // [B, 80, 73, 73]
  return halved(unit(p, 'Conv2d_4a_3x3', third, { valid: true })); // [B, 192, 35, 35]
}

const kernelsA = (inputs: number, pooled: number): Record<string, Kernel> => ({
  branch1x1: [64, inputs, 1, 1],
  branch5x5_1: [48, inputs, 1, 1],
  branch5x5_2: [64, 48, 5, 5],
  branch3x3dbl_1: [64, inputs, 1, 1],
  branch3x3dbl_2: [96, 64, 3, 3],
  branch3x3dbl_3: [96, 96, 3, 3],
  branch_pool: [pooled, inputs, 1, 1],
});

const blockA = (p: Parameters, name: string, x: tf.Tensor): tf.Tensor =>
  tf.concat(
    [
      chain(p, name, x, 'branch1x1'),
      chain(p, name, x, 'branch5x5_1', 'branch5x5_2'),
      chain(p, name, x, 'branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3'),
      chain(p, name, meanOfNeighbours(x), 'branch_pool'),
    ],
    1,
  );

const kernelsB: Record<string, Kernel> = {
  branch3x3: [384, 288, 3, 3],
  branch3x3dbl_1: [64, 288, 1, 1],
  branch3x3dbl_2: [96, 64, 3, 3],
  branch3x3dbl_3: [96, 96, 3, 3],
};

/** Halves the image: [B, 288, 35, 35] to [B, 768, 17, 17]. */
function blockB(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const double = chain(p, name, x, 'branch3x3dbl_1', 'branch3x3dbl_2');
  return tf.concat(
    [unit(p, `${name}.branch3x3`, x, HALVING), unit(p, `${name}.branch3x3dbl_3`, double, HALVING), halved(x)],
    1,
  );
}

const kernelsC = (inner: number): Record<string, Kernel> => ({
  branch1x1: [192, 768, 1, 1],
  branch7x7_1: [inner, 768, 1, 1],
  branch7x7_2: [inner, inner, 1, 7],
  branch7x7_3: [192, inner, 7, 1],
  branch7x7dbl_1: [inner, 768, 1, 1],
  branch7x7dbl_2: [inner, inner, 7, 1],
  branch7x7dbl_3: [inner, inner, 1, 7],
  branch7x7dbl_4: [inner, inner, 7, 1],
  branch7x7dbl_5: [192, inner, 1, 7],
  branch_pool: [192, 768, 1, 1],
});

const blockC = (p: Parameters, name: string, x: tf.Tensor): tf.Tensor =>
  tf.concat(
    [
      chain(p, name, x, 'branch1x1'),
      chain(p, name, x, 'branch7x7_1', 'branch7x7_2', 'branch7x7_3'),
      chain(p, name, x, ...[1, 2, 3, 4, 5].map((i) => `branch7x7dbl_${i}`)),
      chain(p, name, meanOfNeighbours(x), 'branch_pool'),
    ],
    1,
  );

const kernelsD: Record<string, Kernel> = {
  branch3x3_1: [192, 768, 1, 1],
  branch3x3_2: [320, 192, 3, 3],
  branch7x7x3_1: [192, 768, 1, 1],
  branch7x7x3_2: [192, 192, 1, 7],
  branch7x7x3_3: [192, 192, 7, 1],
  branch7x7x3_4: [192, 192, 3, 3],
};

/** Halves the image: [B, 768, 17, 17] to [B, 1280, 8, 8]. */
function blockD(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const narrow = chain(p, name, x, 'branch3x3_1');
  const wide = chain(p, name, x, 'branch7x7x3_1', 'branch7x7x3_2', 'branch7x7x3_3');
  return tf.concat(
    [unit(p, `${name}.branch3x3_2`, narrow, HALVING), unit(p, `${name}.branch7x7x3_4`, wide, HALVING), halved(x)],
    1,
  );
}

const kernelsE = (inputs: number): Record<string, Kernel> => ({
  branch1x1: [320, inputs, 1, 1],
  branch3x3_1: [384, inputs, 1, 1],
  branch3x3_2a: [384, 384, 1, 3],
  branch3x3_2b: [384, 384, 3, 1],
  branch3x3dbl_1: [448, inputs, 1, 1],
  branch3x3dbl_2: [384, 448, 3, 3],
  branch3x3dbl_3a: [384, 384, 1, 3],
  branch3x3dbl_3b: [384, 384, 3, 1],
  branch_pool: [192, inputs, 1, 1],
});

function blockE(p: Parameters, name: string, x: tf.Tensor, pool: (x: tf.Tensor) => tf.Tensor): tf.Tensor {
  const single = chain(p, name, x, 'branch3x3_1');
  const double = chain(p, name, x, 'branch3x3dbl_1', 'branch3x3dbl_2');
  return tf.concat(
    [
      chain(p, name, x, 'branch1x1'),
      chain(p, name, single, 'branch3x3_2a'),
      chain(p, name, single, 'branch3x3_2b'),
      chain(p, name, double, 'branch3x3dbl_3a'),
      chain(p, name, double, 'branch3x3dbl_3b'),
      chain(p, name, pool(x), 'branch_pool'),
    ],
    1,
  );
}

// -------------------------------------------------------------------------------------------------------- the network

const MIXED: Record<string, Record<string, Kernel>> = {
  Mixed_5b: kernelsA(192, 32),
  Mixed_5c: kernelsA(256, 64),
  Mixed_5d: kernelsA(288, 64),
  Mixed_6a: kernelsB,
  Mixed_6b: kernelsC(128),
  Mixed_6c: kernelsC(160),
  Mixed_6d: kernelsC(160),
  Mixed_6e: kernelsC(192),
  Mixed_7a: kernelsD,
  Mixed_7b: kernelsE(1280),
  Mixed_7c: kernelsE(2048),
};

/** Names and kernels of all convolutions. */
const convolutions = (): [string, Kernel][] => [
  ...Object.entries(STEM),
  ...Object.entries(MIXED).flatMap(([block, branches]) =>
    Object.entries(branches).map(([branch, kernel]): [string, Kernel] => [`${block}.${branch}`, kernel]),
  ),
];

const STATISTICS = ['weight', 'bias', 'running_mean', 'running_var'] as const;

/** Names and shapes of the parameters that a file has to hold. */
export const inceptionShapes = (): Shapes =>
  new Map([
    ...convolutions().flatMap(([name, kernel]): [string, { shape: readonly number[] }][] => [
      [`${name}.conv.weight`, { shape: kernel }],
      ...STATISTICS.map((each): [string, { shape: number[] }] => [`${name}.bn.${each}`, { shape: [kernel[0]] }]),
    ]),
    ['fc.weight', { shape: [CLASSES, POOL_DIM] }],
  ]);

/** Tensors that a file may hold unused: the inception score takes the logits without their bias. */
export const isUnusedByInception = (name: string): boolean =>
  name === 'fc.bias' || name.endsWith('.num_batches_tracked');

const EPSILON = 1e-3;

/** The weights with each batch norm folded into its convolution, which gets a bias: half of the work on activations. */
export function foldBatchNorms(weights: Weights): Weights {
  const folded: Weights = new Map();
  for (const [name, [outputs, ...rest]] of convolutions()) {
    const statistic = (each: (typeof STATISTICS)[number]) => weights.get(`${name}.bn.${each}`)!.data;
    const [scale, shift, mean, variance] = STATISTICS.map(statistic);
    const gain = Float64Array.from(scale, (value, o) => value / Math.sqrt(variance[o] + EPSILON));
    const kernel = weights.get(`${name}.conv.weight`)!.data;
    const size = kernel.length / outputs;
    folded.set(`${name}.weight`, {
      shape: [outputs, ...rest],
      data: kernel.map((value, i) => value * gain[Math.floor(i / size)]),
    });
    const bias = Float32Array.from(gain, (value, o) => shift[o] - mean[o] * value);
    folded.set(`${name}.bias`, { shape: [outputs], data: bias });
  }
  return folded.set('fc.weight', weights.get('fc.weight')!);
}

/** The first channels of Mixed_6d's first branch, flattened channels last. */
function spatialFeatures(p: Parameters, x: tf.Tensor): tf.Tensor {
  const branch = chain(p, 'Mixed_6d', x, 'branch1x1'); // [B, 192, 17, 17]
  const channels = tf.slice(branch, [0, 0, 0, 0], [-1, SPATIAL_CHANNELS, -1, -1]);
  return tf.reshape(tf.transpose(channels, [0, 2, 3, 1]), [x.shape[0], -1]);
}

export interface InceptionOutput {
  /** What the Frechet Inception distance compares: [B, 2048]. */
  pool: tf.Tensor;
  /** What sFID compares: 17 x 17 x 7, [B, 2023]. */
  spatial: tf.Tensor;
  /** Logits of 1008 classes, without the bias, as the Inception Score takes them: [B, 1008]. */
  logits: tf.Tensor;
}

/**
 * Features of `images` [B, 3, 299, 299], about [-1, 1] (see `inceptionInput`).
 *
 * @param p the weights after `foldBatchNorms`.
 */
export function inception(p: Parameters, images: tf.Tensor): InceptionOutput {
  const at35 = ['Mixed_5b', 'Mixed_5c', 'Mixed_5d'].reduce((x, name) => blockA(p, name, x), stem(p, images));
  const of6c = ['Mixed_6b', 'Mixed_6c'].reduce((x, name) => blockC(p, name, x), blockB(p, 'Mixed_6a', at35));
  const at17 = ['Mixed_6d', 'Mixed_6e'].reduce((x, name) => blockC(p, name, x), of6c); // [B, 768, 17, 17]
  const of7b = blockE(p, 'Mixed_7b', blockD(p, 'Mixed_7a', at17), meanOfNeighbours);
  const at8 = blockE(p, 'Mixed_7c', of7b, largestOfNeighbours); // [B, 2048, 8, 8]
  const pool = tf.mean(at8, [2, 3]); // [B, 2048]
  return { pool, spatial: spatialFeatures(p, of6c), logits: linear(pool, parameter(p, 'fc.weight')) };
}
