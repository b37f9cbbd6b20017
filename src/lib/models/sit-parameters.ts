/** The parameters of SiT and DiT: names, shapes, and the distributions that the official code draws them from. */
import { sinCosPositions } from '../nn/embeddings.js';
import type { NormKind } from '../nn/layers.js';
import { fillNormal, fillUniform, PURPOSE } from '../numbers/random.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { AlignedConfig } from './alignment.js';
import { TIME_EMBEDDING_DIM, tokenCount } from './diffusion-transformer.js';
import type { Weight } from './parameters.js';

/** How a parameter starts; `positions` are computed and never trained. */
type Start = 'xavier' | 'kaiming' | 'normal' | 'zeros' | 'ones' | 'positions';

export interface ParameterPlan {
  shape: readonly number[];
  start: Start;
}

/** Parameters that are stored with a model but not trained. */
export const FROZEN: ReadonlySet<string> = new Set(['pos_embed']);

const linear = (name: string, outputs: number, inputs: number, start: Start): [string, ParameterPlan][] => [
  [`${name}.weight`, { shape: [outputs, inputs], start }],
  [`${name}.bias`, { shape: [outputs], start: 'zeros' }],
];

/** An affine norm; that of the root mean square has no shift. */
const affineNorm = (name: string, dim: number, kind: NormKind): [string, ParameterPlan][] => [
  [`${name}.weight`, { shape: [dim], start: 'ones' }],
  ...(kind === 'rms' ? [] : [[`${name}.bias`, { shape: [dim], start: 'zeros' }] as [string, ParameterPlan]]),
];

/** The norm before a modulation, which has a scale only if it is of the root mean square. */
const plainNorm = (name: string, { norm, hiddenSize }: AlignedConfig): [string, ParameterPlan][] =>
  norm === 'rms' ? affineNorm(name, hiddenSize, norm) : [];

function feedForwardPlan(
  name: string,
  { hiddenSize, mlpRatio, feedForward }: AlignedConfig,
): [string, ParameterPlan][] {
  const inner = Math.trunc(hiddenSize * mlpRatio);
  if (feedForward !== 'swiglu') {
    return [
      ...linear(`${name}.fc1`, inner, hiddenSize, 'xavier'),
      ...linear(`${name}.fc2`, hiddenSize, inner, 'xavier'),
    ];
  }
  const gated = Math.trunc((2 / 3) * inner); // as many parameters as without the gate
  return [
    ...linear(`${name}.w12`, 2 * gated, hiddenSize, 'xavier'),
    ...linear(`${name}.w3`, hiddenSize, gated, 'xavier'),
  ];
}

function blockPlan(name: string, config: AlignedConfig): [string, ParameterPlan][] {
  const { hiddenSize, numHeads, qkNorm, norm } = config;
  const headNorms = qkNorm ? ['q_norm', 'k_norm'] : [];
  return [
    ...plainNorm(`${name}.norm1`, config),
    ...linear(`${name}.attn.qkv`, 3 * hiddenSize, hiddenSize, 'xavier'),
    ...headNorms.flatMap((each) => affineNorm(`${name}.attn.${each}`, hiddenSize / numHeads, norm)),
    ...linear(`${name}.attn.proj`, hiddenSize, hiddenSize, 'xavier'),
    ...plainNorm(`${name}.norm2`, config),
    ...feedForwardPlan(`${name}.mlp`, config),
    ...linear(`${name}.adaLN_modulation.1`, 6 * hiddenSize, hiddenSize, 'zeros'),
  ];
}

/** What a class token comes in by, and out. */
const classTokenPlan = ({ classTokenDim, hiddenSize, norm }: AlignedConfig): [string, ParameterPlan][] =>
  classTokenDim
    ? [...linear('cls_projectors2', hiddenSize, classTokenDim, 'xavier'), ...affineNorm('wg_norm', hiddenSize, norm)]
    : [];

const fusionPlan = ({ fusion, hiddenSize }: AlignedConfig): [string, ParameterPlan][] =>
  fusion
    ? [
        ['mask_token', { shape: [1, 1, hiddenSize], start: 'zeros' }],
        ...linear('fusion_proj', hiddenSize, 2 * hiddenSize, 'xavier'),
      ]
    : [];

function projectorPlan(
  name: string,
  { hiddenSize, projector, projectorDim }: AlignedConfig,
  zDim: number,
): [string, ParameterPlan][] {
  if (projector === 'conv') {
    return [
      [`${name}.projection_layer.weight`, { shape: [zDim, hiddenSize, 3, 3], start: 'kaiming' }],
      [`${name}.projection_layer.bias`, { shape: [zDim], start: 'zeros' }],
    ];
  }
  return [
    ...linear(`${name}.0`, projectorDim, hiddenSize, 'xavier'),
    ...linear(`${name}.2`, projectorDim, projectorDim, 'xavier'),
    ...linear(`${name}.4`, zDim, projectorDim, 'xavier'),
  ];
}

/** Every parameter of the model, in the order of the official state dict. */
export function sitParameters(config: AlignedConfig): Map<string, ParameterPlan> {
  const { patchSize, inChannels, outChannels, hiddenSize, depth, numClasses, zDims, selfAlignment } = config;
  const blocks = Array.from({ length: depth }, (_, i) => blockPlan(`blocks.${i}`, config));
  return new Map([
    ['pos_embed', { shape: [1, tokenCount(config), hiddenSize], start: 'positions' }],
    ['x_embedder.proj.weight', { shape: [hiddenSize, inChannels, patchSize, patchSize], start: 'xavier' }],
    ['x_embedder.proj.bias', { shape: [hiddenSize], start: 'zeros' }],
    ...linear('t_embedder.mlp.0', hiddenSize, TIME_EMBEDDING_DIM, 'normal'),
    ...linear('t_embedder.mlp.2', hiddenSize, hiddenSize, 'normal'),
    ['y_embedder.embedding_table.weight', { shape: [numClasses + 1, hiddenSize], start: 'normal' }],
    ...blocks.flat(),
    ...zDims.flatMap((zDim, i) => projectorPlan(`projectors.${i}`, config, zDim)),
    ...classTokenPlan(config),
    ...fusionPlan(config),
    ...(selfAlignment ? linear('ap_head.linear1', 2 * hiddenSize, hiddenSize, 'xavier') : []),
    ...(selfAlignment ? linear('ap_head.linear2', hiddenSize, 2 * hiddenSize, 'xavier') : []),
    ...plainNorm('final_layer.norm_final', config),
    ...linear('final_layer.linear', patchSize * patchSize * outChannels, hiddenSize, 'zeros'),
    ...(config.classTokenDim ? linear('final_layer.linear_cls', config.classTokenDim, hiddenSize, 'zeros') : []),
    ...linear('final_layer.adaLN_modulation.1', 2 * hiddenSize, hiddenSize, 'zeros'),
  ]);
}

/** The starts that draw random numbers. */
const DRAWN: ReadonlySet<Start> = new Set(['xavier', 'kaiming', 'normal']);

const NORMAL_STD = 0.02;

/** Glorot's uniform bound for a weight seen as a matrix [out, in * receptive field]. */
const xavierBound = ([outputs, ...inputs]: readonly number[]): number => Math.sqrt(6 / (outputs + sizeOf(inputs)));

/** The first values of one parameter; `row` numbers the parameters that are drawn. */
function start(plan: ParameterPlan, seed: number, row: number): Float32Array {
  const values = new Float32Array(sizeOf(plan.shape));
  switch (plan.start) {
    case 'xavier': {
      const bound = xavierBound(plan.shape);
      fillUniform(values, seed, PURPOSE.init, row);
      return values.map((u) => (2 * u - 1) * bound);
    }
    case 'kaiming': {
      const bound = 1 / Math.sqrt(sizeOf(plan.shape.slice(1)));
      fillUniform(values, seed, PURPOSE.init, row);
      return values.map((u) => (2 * u - 1) * bound);
    }
    case 'normal':
      fillNormal(values, seed, PURPOSE.init, row);
      return values.map((e) => NORMAL_STD * e);
    case 'ones':
      return values.fill(1);
    case 'positions': {
      const [, tokens, dim] = plan.shape;
      const side = Math.floor(Math.sqrt(tokens));
      values.set(sinCosPositions(side, dim), (tokens - side * side) * dim); // those of a class token are zero
      return values;
    }
    case 'zeros':
      return values;
  }
}

/**
 * Fresh weights, one by one, in the distributions of the official `initialize_weights`: linear layers, the patch embedding
 * and the projectors Xavier-uniform with zero biases (a projector that is a convolution: uniform as PyTorch's
 * convolutions), label table and time perceptron N(0, 0.02), modulations and the output zero. A seed gives the same trunk whatever the number of projectors, and with or without qk-norm.
 */
export function* initSiT(config: AlignedConfig, seed: number): Generator<[name: string, Weight]> {
  let row = 0;
  for (const [name, plan] of sitParameters(config)) {
    yield [name, { shape: plan.shape, data: start(plan, seed, row) }];
    if (DRAWN.has(plan.start)) row++;
  }
}
