/**
 * The parts of a diffusion transformer, each with its parameters: the condition of time and class, blocks, the final
 * layer. Parameters carry the names of the official code. Shapes: B images of T tokens of width D.
 */
import { tf } from '../engine/index.js';
import { embedding, modulate, silu } from '../nn/functional.js';
import { dense, type Parameters, parameter, selfAttention } from '../nn/layers.js';
import type { RotaryAngles } from '../nn/rotary.js';
import { feedForward, feedForwardPlan, headNorm, normalised, plainNormPlan } from './block-kinds.js';
import type { TransformerConfig } from './dit-sizes.js';
import { hiddenMaps, linearPlan, normPlan, type ParameterPlan, type PlannedParameter } from './start.js';
import { timeEmbedding, timePlan } from './time-embedding.js';
import { type FirstValues, valueSharePlan, withFirstValues } from './value-residual.js';

export const conditionPlan = (config: TransformerConfig): PlannedParameter[] => [
  ...timePlan(config),
  [
    'y_embedder.embedding_table.weight',
    { shape: [config.numClasses + Number(config.nullClass), config.hiddenSize], start: 'normal' },
  ],
  ...conditionTokensPlan(config),
];

/** The learned tokens that time and class are added to (RAEv2). */
function conditionTokensPlan({ conditionTokens, hiddenSize }: TransformerConfig): PlannedParameter[] {
  if (!conditionTokens) return [];
  const { time, label } = conditionTokens;
  const tokens = (count: number): ParameterPlan => ({
    ...{ shape: [count, hiddenSize], start: 'normal' },
    deviation: hiddenSize ** -0.5,
  });
  return [
    ['t_embedder.learnable_tokens', tokens(time)],
    ['y_embedder.learnable_tokens', tokens(label)],
  ];
}

/** The condition of the network: time and class. */
export interface Condition {
  /** The embeddings of time and of the class, [B, D] each. */
  time: tf.Tensor;
  label: tf.Tensor;
  /** SiLU of their sum, with which every modulation starts: [B, D]. Where the blocks are not modulated, time alone. */
  modulating: tf.Tensor;
}

/** The condition of times `t` [B] and classes `y` [B]. With `t` [B, T], a time for each token, time is [B, T, D]. */
export function condition(p: Parameters, config: TransformerConfig, t: tf.Tensor, y: tf.Tensor): Condition {
  const time = timeEmbedding(p, config, t); // [B, D] or [B, T, D]
  const label = embedding(parameter(p, 'y_embedder.embedding_table.weight'), y); // [B, D]
  if (config.conditionTokens) return { time, label, modulating: time };
  const sum = silu(tf.add(time, t.rank === 1 ? label : tf.expandDims(label, 1))); // [B, D] or [B, T, D]
  return { time, label, modulating: config.head ? silu(sum) : sum }; // DDT's code takes SiLU of the sum, and each block once more
}

const modulationPlan = (name: string, hiddenSize: number, vectors: number): PlannedParameter[] =>
  linearPlan(`${name}.adaLN_modulation.1`, vectors * hiddenSize, hiddenSize, 'zeros');

/**
 * The `count` modulation vectors of layer `name`: [B, 1, D] each from `c` [B, D], or [B, T, D] each from `c` [B, T, D].
 */
function modulation(p: Parameters, name: string, c: tf.Tensor, count: number): tf.Tensor[] {
  const vectors = dense(p, `${name}.adaLN_modulation.1`, c); // [B, count * D] or [B, T, count * D]
  return tf.split(c.rank === 2 ? tf.expandDims(vectors, 1) : vectors, count, 2);
}

/** The name of block `number`, counted from 1. */
export const blockName = (number: number): string => `blocks.${number - 1}`;

export function blockPlan(number: number, config: TransformerConfig): PlannedParameter[] {
  const { hiddenSize, numHeads, valueResidual, conditionTokens } = config;
  const name = blockName(number);
  const norm = headNorm(config);
  const headNorms = norm ? ['q_norm', 'k_norm'] : [];
  return hiddenMaps([
    ...plainNormPlan(`${name}.norm1`, config),
    ...linearPlan(`${name}.attn.qkv`, 3 * hiddenSize, hiddenSize, 'xavier'),
    ...headNorms.flatMap((each) => normPlan(`${name}.attn.${each}`, hiddenSize / numHeads, norm!)),
    ...(valueResidual && number > 1 ? [valueSharePlan(name)] : []),
    ...linearPlan(`${name}.attn.proj`, hiddenSize, hiddenSize, 'xavier'),
    ...plainNormPlan(`${name}.norm2`, config),
    ...feedForwardPlan(`${name}.mlp`, config),
    ...(conditionTokens ? [] : modulationPlan(name, hiddenSize, 6)),
  ]);
}

/** Inputs of a block besides its tokens and the condition. */
export interface BlockInputs extends FirstValues {
  /** The angles by which queries and keys are rotated. */
  rotary?: RotaryAngles;
}

/** One block: `x` [B, T, D] to [B, T, D], modulated by `c` [B, D] or [B, T, D], unless tokens hold the condition. */
export function block(
  p: Parameters,
  name: string,
  config: TransformerConfig,
  x: tf.Tensor,
  c: tf.Tensor,
  { rotary, values, keep }: BlockInputs = {},
): tf.Tensor {
  const mix = (own: tf.Tensor): tf.Tensor => {
    keep?.(tf.reshape(own, x.shape));
    return values ? withFirstValues(p, name, own, values) : own; // [B, T, H, d]
  };
  const heads = { heads: config.numHeads, qkNorm: headNorm(config), rotary, values: mix };
  if (config.conditionTokens) {
    const own = tf.add(x, selfAttention(p, `${name}.attn`, normalised(p, `${name}.norm1`, config, x), heads)); // [B, T, D]
    return tf.add(own, feedForward(p, `${name}.mlp`, config, normalised(p, `${name}.norm2`, config, own))); // [B, T, D]
  }
  const [shiftA, scaleA, gateA, shiftM, scaleM, gateM] = modulation(p, name, c, 6); // each [B, 1 or T, D]
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
