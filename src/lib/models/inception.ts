/**
 * Inception 2015-12-05: the variant of Inception v3 (arXiv 1512.00567) that the Frechet Inception distance is defined
 * with. It differs from torchvision's in its pools: those of 5b to 7b leave the padding out of the mean, that of 7c is a
 * maximum.
 */
import { avgPool2d, maxPool2d, tf } from '../engine/index.js';
import { conv2d, linear } from '../nn/functional.js';
import { type Parameters, parameter } from '../nn/layers.js';
import { SPATIAL_CHANNELS } from './inception-parameters.js';

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

function stem(p: Parameters, images: tf.Tensor): tf.Tensor {
  const first = unit(p, 'Conv2d_1a_3x3', images, HALVING); // [B, 32, 149, 149]
  const second = unit(p, 'Conv2d_2a_3x3', first, { valid: true }); // [B, 32, 147, 147]
  const third = unit(p, 'Conv2d_3b_1x1', halved(unit(p, 'Conv2d_2b_3x3', second))); // [B, 80, 73, 73]
  return halved(unit(p, 'Conv2d_4a_3x3', third, { valid: true })); // [B, 192, 35, 35]
}

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

/** Halves the image: [B, 288, 35, 35] to [B, 768, 17, 17]. */
function blockB(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const double = chain(p, name, x, 'branch3x3dbl_1', 'branch3x3dbl_2');
  return tf.concat(
    [unit(p, `${name}.branch3x3`, x, HALVING), unit(p, `${name}.branch3x3dbl_3`, double, HALVING), halved(x)],
    1,
  );
}

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

/** Halves the image: [B, 768, 17, 17] to [B, 1280, 8, 8]. */
function blockD(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const narrow = chain(p, name, x, 'branch3x3_1');
  const wide = chain(p, name, x, 'branch7x7x3_1', 'branch7x7x3_2', 'branch7x7x3_3');
  return tf.concat(
    [unit(p, `${name}.branch3x3_2`, narrow, HALVING), unit(p, `${name}.branch7x7x3_4`, wide, HALVING), halved(x)],
    1,
  );
}

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
  /** Of 1008 classes, without the bias, as the inception score takes them: [B, 1008]. */
  logits: tf.Tensor;
}

/**
 * Features of `images` [B, 3, 299, 299], about [-1, 1] (see inception-input).
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
