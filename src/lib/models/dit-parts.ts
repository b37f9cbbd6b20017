/**
 * The parts of a diffusion transformer, each with its parameters: the condition of time and class, patches, blocks, the final
 * layer. Parameters carry the names of the official code. Shapes: B images of T tokens of width D.
 */
import { rmsNorm, tf } from '../engine/index.js';
import { fourierFeatures, timestepEmbedding } from '../nn/embeddings.js';
import { embedding, layerNorm, linear, modulate, silu } from '../nn/functional.js';
import {
  dense,
  mlp,
  type NormKind,
  type Parameters,
  parameter,
  patchEmbed,
  rmsNormed,
  selfAttention,
  swiglu,
} from '../nn/layers.js';
import type { RotaryAngles } from '../nn/rotary.js';
import { leadEmbedding, leadPlan } from './channel-times.js';
import { affineNorm, gatedUnits, type TransformerConfig } from './dit-sizes.js';
import { hiddenMaps, linearPlan, normPlan, type PlannedParameter } from './start.js';

/** The tokens on their way through the blocks. */
export interface Stream {
  tokens: tf.Tensor; // [B, T, D]
  /** By how much the queries and keys of each turn. */
  angles?: RotaryAngles;
}

/** Width of the sinusoidal embedding of time, before its perceptron. */
const TIME_EMBEDDING_DIM = 256;

const EPSILON = 1e-6;

/** Frequencies of random Fourier features, of which each gives a sine and a cosine. */
const FOURIER_FREQUENCIES = 256;

function timePlan({ timeEmbedding }: TransformerConfig): { features: number; own: PlannedParameter[] } {
  if (timeEmbedding === undefined) return { features: TIME_EMBEDDING_DIM, own: [] };
  const frequencies: PlannedParameter = ['t_embedder.W', { shape: [FOURIER_FREQUENCIES], start: 'frequencies' }];
  return { features: 2 * FOURIER_FREQUENCIES, own: [frequencies] };
}

export function conditionPlan(config: TransformerConfig): PlannedParameter[] {
  const { hiddenSize, numClasses, nullClass, lead } = config;
  const { features, own } = timePlan(config);
  const time = [
    ...own,
    ...linearPlan('t_embedder.mlp.0', hiddenSize, features, 'normal'),
    ...linearPlan('t_embedder.mlp.2', hiddenSize, hiddenSize, 'normal'),
  ];
  return [
    ...(lead ? leadPlan(hiddenSize, features) : time),
    ['y_embedder.embedding_table.weight', { shape: [numClasses + Number(nullClass), hiddenSize], start: 'normal' }],
  ];
}

/** What time and class say to the network. */
interface Condition {
  /** The embeddings of time and of the class, [B, D] each. */
  time: tf.Tensor;
  label: tf.Tensor;
  /** Their sum, past the SiLU that every modulation starts with: [B, D]. */
  modulating: tf.Tensor;
}

/** The embedding of times `t` [B] or [B, T]: [B, D] or [B, T, D]. */
function timeCondition(p: Parameters, { timeEmbedding }: TransformerConfig, t: tf.Tensor): tf.Tensor {
  const features =
    timeEmbedding === 'fourier'
      ? fourierFeatures(t, parameter(p, 't_embedder.W'))
      : timestepEmbedding(t, TIME_EMBEDDING_DIM); // [B, F]
  const embedded = dense(p, 't_embedder.mlp.2', dense(p, 't_embedder.mlp.0', features), 'silu'); // [B, D] or [B T, D]
  return t.rank === 1 ? embedded : tf.reshape(embedded, [...t.shape, embedded.shape[1]!]);
}

/** Of times `t` [B], or [B, T] of each token, in which case all that has to do with time is [B, T, D], and classes `y` [B]. */
export function condition(p: Parameters, config: TransformerConfig, t: tf.Tensor, y: tf.Tensor): Condition {
  const { head, lead } = config;
  const time = lead ? leadEmbedding(p, config, t, TIME_EMBEDDING_DIM) : timeCondition(p, config, t); // [B, D] or [B, T, D]
  const label = embedding(parameter(p, 'y_embedder.embedding_table.weight'), y); // [B, D]
  const sum = silu(tf.add(time, t.rank === 1 ? label : tf.expandDims(label, 1))); // [B, D] or [B, T, D]
  return { time, label, modulating: head ? silu(sum) : sum }; // DDT's code takes SiLU of the sum, and each block once more
}

/** The map of patches to tokens, straight or through a bottleneck. */
export function patchesPlan(
  name: string,
  { inChannels, patchSize, hiddenSize, bottleneck }: TransformerConfig,
): PlannedParameter[] {
  const map = (layer: string, outputs: number): PlannedParameter => [
    `${name}.${layer}.weight`,
    { shape: [outputs, inChannels, patchSize, patchSize], start: 'xavier' },
  ];
  const bias = (layer: string): PlannedParameter => [`${name}.${layer}.bias`, { shape: [hiddenSize], start: 'zeros' }];
  if (bottleneck === undefined) return [map('proj', hiddenSize), bias('proj')];
  const wider: PlannedParameter = [`${name}.proj2.weight`, { shape: [hiddenSize, bottleneck, 1, 1], start: 'xavier' }];
  return [map('proj1', bottleneck), wider, bias('proj2')];
}

/** Patches of `x` [B, C, H, W] as tokens [B, T, D]. */
export function patchTokens(p: Parameters, name: string, { bottleneck }: TransformerConfig, x: tf.Tensor): tf.Tensor {
  if (bottleneck === undefined) return patchEmbed(p, `${name}.proj`, x);
  const narrow = patchEmbed(p, `${name}.proj1`, x); // [B, T, bottleneck]
  const weight = parameter(p, `${name}.proj2.weight`); // [D, bottleneck, 1, 1]
  return linear(narrow, tf.reshape(weight, weight.shape.slice(0, 2)), parameter(p, `${name}.proj2.bias`)); // [B, T, D]
}

const modulationPlan = (name: string, hiddenSize: number, vectors: number): PlannedParameter[] =>
  linearPlan(`${name}.adaLN_modulation.1`, vectors * hiddenSize, hiddenSize, 'zeros');

/** The `count` modulation vectors that layer `name` draws from `c`: [B, 1, D] each of [B, D], [B, T, D] of one a token. */
function modulation(p: Parameters, name: string, c: tf.Tensor, count: number): tf.Tensor[] {
  const vectors = dense(p, `${name}.adaLN_modulation.1`, c); // [B, count * D] or [B, T, count * D]
  return tf.split(c.rank === 2 ? tf.expandDims(vectors, 1) : vectors, count, 2);
}

/** The kind of the norm of queries and keys; null for none. */
const headNorm = (config: TransformerConfig): NormKind | null =>
  config.qkNorm ? (config.qkNormKind ?? affineNorm(config)) : null;

/** The norm before a modulation has a scale only if it is of the root mean square, and not plain. */
const plainNormPlan = (name: string, { norm, hiddenSize }: TransformerConfig): PlannedParameter[] =>
  norm === 'rms' ? normPlan(name, hiddenSize, norm) : [];

/** The norm `name` before a modulation: `x` [B, T, D] to [B, T, D]. */
function normalised(p: Parameters, name: string, { norm }: TransformerConfig, x: tf.Tensor): tf.Tensor {
  if (norm === 'rms') return rmsNormed(p, name, x, EPSILON);
  return norm === 'layer' ? layerNorm(x, { epsilon: EPSILON }) : rmsNorm(x, EPSILON);
}

function feedForwardPlan(name: string, { hiddenSize, mlpRatio, feedForward }: TransformerConfig): PlannedParameter[] {
  if (feedForward === 'gelu') {
    const inner = Math.trunc(hiddenSize * mlpRatio);
    return [
      ...linearPlan(`${name}.fc1`, inner, hiddenSize, 'xavier'),
      ...linearPlan(`${name}.fc2`, hiddenSize, inner, 'xavier'),
    ];
  }
  const gated = gatedUnits(hiddenSize, mlpRatio);
  return [
    ...linearPlan(`${name}.w12`, 2 * gated, hiddenSize, 'xavier'),
    ...linearPlan(`${name}.w3`, hiddenSize, gated, 'xavier'),
  ];
}

const feedForward = (p: Parameters, name: string, config: TransformerConfig, x: tf.Tensor): tf.Tensor =>
  config.feedForward === 'swiglu' ? swiglu(p, name, x) : mlp(p, name, x, 'tanh');

/** Block number `number`, of 1 up. */
export const blockName = (number: number): string => `blocks.${number - 1}`;

/** The share of the first block's values, a number. */
const valueShare = (name: string): string => `${name}.attn.v1_lambda`;

export function blockPlan(number: number, config: TransformerConfig): PlannedParameter[] {
  const { hiddenSize, numHeads, valueResidual } = config;
  const name = blockName(number);
  const norm = headNorm(config);
  const headNorms = norm ? ['q_norm', 'k_norm'] : [];
  return hiddenMaps([
    ...plainNormPlan(`${name}.norm1`, config),
    ...linearPlan(`${name}.attn.qkv`, 3 * hiddenSize, hiddenSize, 'xavier'),
    ...headNorms.flatMap((each) => normPlan(`${name}.attn.${each}`, hiddenSize / numHeads, norm!)),
    ...(valueResidual && number > 1 ? [[valueShare(name), { shape: [], start: 'half' }] as PlannedParameter] : []),
    ...linearPlan(`${name}.attn.proj`, hiddenSize, hiddenSize, 'xavier'),
    ...plainNormPlan(`${name}.norm2`, config),
    ...feedForwardPlan(`${name}.mlp`, config),
    ...modulationPlan(name, hiddenSize, 6),
  ]);
}

/** What a block is given besides its tokens and the condition. */
interface BlockInputs {
  /** By how much queries and keys turn. */
  rotary?: RotaryAngles;
  /** The values of the first block [B, T, D], of which this one takes a share. */
  values?: tf.Tensor;
}

/**
 * One block: `x` [B, T, D] to [B, T, D], modulated by `c` [B, D] or [B, T, D].
 * @param keep takes the values of its own, [B, T, D]
 */
export function block(
  p: Parameters,
  name: string,
  config: TransformerConfig,
  x: tf.Tensor,
  c: tf.Tensor,
  { rotary, values }: BlockInputs = {},
  keep?: (own: tf.Tensor) => void,
): tf.Tensor {
  const [shiftA, scaleA, gateA, shiftM, scaleM, gateM] = modulation(p, name, c, 6); // each [B, 1 or T, D]
  const mix = (own: tf.Tensor): tf.Tensor => {
    keep?.(tf.reshape(own, x.shape));
    if (!values) return own;
    const first = tf.reshape(values, own.shape); // [B, T, H, d]
    return tf.add(own, tf.mul(parameter(p, valueShare(name)), tf.sub(first, own))); // [B, T, H, d]
  };
  const heads = { heads: config.numHeads, qkNorm: headNorm(config), rotary, values: mix };
  const seen = modulate(normalised(p, `${name}.norm1`, config, x), shiftA, scaleA); // [B, T, D]
  const mixed = tf.add(x, tf.mul(gateA, selfAttention(p, `${name}.attn`, seen, heads))); // [B, T, D]
  const input = modulate(normalised(p, `${name}.norm2`, config, mixed), shiftM, scaleM); // [B, T, D]
  return tf.add(mixed, tf.mul(gateM, feedForward(p, `${name}.mlp`, config, input))); // [B, T, D]
}

/** The final layer; `added` are parameters of further outputs, whose names start with that of the layer. */
export function finalPlan(
  name: string,
  config: TransformerConfig,
  added: readonly PlannedParameter[],
): PlannedParameter[] {
  const { hiddenSize, patchSize, outChannels } = config;
  return [
    ...plainNormPlan(`${name}.norm_final`, config),
    ...linearPlan(`${name}.linear`, patchSize * patchSize * outChannels, hiddenSize, 'zeros'),
    ...added,
    ...modulationPlan(name, hiddenSize, 2),
  ];
}

/** The modulated tokens that the final layer `name` maps to its outputs: `x` [B, T, D] to [B, T, D]. */
export function finalTokens(
  p: Parameters,
  name: string,
  config: TransformerConfig,
  x: tf.Tensor,
  c: tf.Tensor,
): tf.Tensor {
  const [shift, scale] = modulation(p, name, c, 2); // each [B, 1 or T, D]
  return modulate(normalised(p, `${name}.norm_final`, config, x), shift, scale);
}
