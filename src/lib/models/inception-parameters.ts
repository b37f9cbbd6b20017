/**
 * The parameters of Inception 2015-12-05, the network of the Frechet Inception distance, under the names of pytorch-fid
 * and torchvision.
 */
import type { Shapes, Weights } from './parameters.js';

/** [outputs, inputs, height, width] of a kernel. */
type Kernel = readonly [number, number, number, number];

export const POOL_DIM = 2048;

/** Of a map of 17 x 17, the first channels: what sFID (Nash et al., arXiv 2103.03841) is of in ADM's evaluator. */
export const SPATIAL_CHANNELS = 7;
export const SPATIAL_DIM = 17 * 17 * SPATIAL_CHANNELS;

export const CLASSES = 1008;

const STEM: Record<string, Kernel> = {
  Conv2d_1a_3x3: [32, 3, 3, 3],
  Conv2d_2a_3x3: [32, 32, 3, 3],
  Conv2d_2b_3x3: [64, 32, 3, 3],
  Conv2d_3b_1x1: [80, 64, 1, 1],
  Conv2d_4a_3x3: [192, 80, 3, 3],
};

const blockA = (inputs: number, pooled: number): Record<string, Kernel> => ({
  branch1x1: [64, inputs, 1, 1],
  branch5x5_1: [48, inputs, 1, 1],
  branch5x5_2: [64, 48, 5, 5],
  branch3x3dbl_1: [64, inputs, 1, 1],
  branch3x3dbl_2: [96, 64, 3, 3],
  branch3x3dbl_3: [96, 96, 3, 3],
  branch_pool: [pooled, inputs, 1, 1],
});

const blockB: Record<string, Kernel> = {
  branch3x3: [384, 288, 3, 3],
  branch3x3dbl_1: [64, 288, 1, 1],
  branch3x3dbl_2: [96, 64, 3, 3],
  branch3x3dbl_3: [96, 96, 3, 3],
};

const blockC = (inner: number): Record<string, Kernel> => ({
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

const blockD: Record<string, Kernel> = {
  branch3x3_1: [192, 768, 1, 1],
  branch3x3_2: [320, 192, 3, 3],
  branch7x7x3_1: [192, 768, 1, 1],
  branch7x7x3_2: [192, 192, 1, 7],
  branch7x7x3_3: [192, 192, 7, 1],
  branch7x7x3_4: [192, 192, 3, 3],
};

const blockE = (inputs: number): Record<string, Kernel> => ({
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

const MIXED: Record<string, Record<string, Kernel>> = {
  Mixed_5b: blockA(192, 32),
  Mixed_5c: blockA(256, 64),
  Mixed_5d: blockA(288, 64),
  Mixed_6a: blockB,
  Mixed_6b: blockC(128),
  Mixed_6c: blockC(160),
  Mixed_6d: blockC(160),
  Mixed_6e: blockC(192),
  Mixed_7a: blockD,
  Mixed_7b: blockE(1280),
  Mixed_7c: blockE(2048),
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
