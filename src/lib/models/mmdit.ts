/**
 * MM-DiT (arXiv 2403.03206, section 4), as the authors of REPA train it from text: patches and words go through the
 * blocks side by side, each stream with its own weights and modulation, and meet in one attention. Time alone modulates
 * both.
 *
 * Parameters carry the names of REPA's models/mmdit.py. Shapes: B images of T patches and L words, of width D.
 */
import { tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { timestepEmbedding } from '../nn/embeddings.js';
import { attention, layerNorm, modulate, silu } from '../nn/functional.js';
import { dense, mlp, type Parameters, parameter, patchEmbed, unpatchify } from '../nn/layers.js';
import type { TransformerOutput } from './dit.js';
import { checkConfig, patchCount, type TransformerConfig } from './dit-sizes.js';
import { countLayers, requiredShape, type Shapes } from './parameters.js';
import { hiddenMaps, type ParameterPlan, type PlannedParameter } from './start.js';

// ---------------------------------------------------------------------------------------------------------- sizes

/** The sizes of an MM-DiT. */
export type MmditConfig = TransformerConfig & { text: NonNullable<TransformerConfig['text']> };

export const isMmdit = (config: TransformerConfig): config is MmditConfig => (config.text ?? null) !== null;

/** Width of a head: the published model has 24 blocks of 24 heads. */
const HEAD_DIM = 32;
/** The name of the model of 24 blocks, with its patches. */
const NAME = /^MM-DiT\/(\d)$/;

/** Whether a name is of a network that draws from text. */
export const isMmditName = (name: string): boolean => NAME.test(name);

/**
 * The network of REPA's text-to-image runs, such as `MM-DiT/2`: 24 blocks, of width 32 times their number, for 32 x
 * 32 latents of 4 channels and the words of CLIP-L, except where `overrides` says otherwise.
 * @throws UsageError if there is no such model, or the sizes do not divide
 */
export function mmditConfig(name: string, overrides: Partial<TransformerConfig> = {}): MmditConfig {
  const patchSize = Number(NAME.exec(name)?.[1]);
  if (!patchSize) throw new UsageError(`there is no model ${name}`, 'A model that draws from text is MM-DiT/2.');
  const { depth = 24, inChannels = 4 } = overrides;
  const { hiddenSize = HEAD_DIM * depth } = overrides;
  return {
    ...checkConfig({
      inputSize: 32,
      patchSize,
      inChannels,
      outChannels: inChannels,
      hiddenSize,
      depth,
      numHeads: Math.max(1, hiddenSize / HEAD_DIM),
      mlpRatio: 4,
      numClasses: 0,
      nullClass: true,
      qkNorm: false,
      norm: 'layer',
      feedForward: 'gelu',
      rotary: false,
      alignDepth: Math.min(8, depth),
      reversedTime: false,
      ...overrides,
    }),
    text: overrides.text ?? { tokens: 77, dim: 768 },
  };
}

// -------------------------------------------------------------------------------- the parts, each with its parameters

const TIME_EMBEDDING_DIM = 256;
const EPSILON = 1e-6;

/** A linear layer as PyTorch starts it, which the official code leaves as it is. */
const linearPlan = (name: string, outputs: number, inputs: number): PlannedParameter[] => [
  [`${name}.weight`, { shape: [outputs, inputs], start: 'kaiming' }],
  [`${name}.bias`, { shape: [outputs], start: 'kaiming', inputs }],
];

const conditionPlan = ({ hiddenSize }: MmditConfig): PlannedParameter[] => [
  ...linearPlan('t_embedder.mlp.0', hiddenSize, TIME_EMBEDDING_DIM),
  ...linearPlan('t_embedder.mlp.2', hiddenSize, hiddenSize),
];

/** The embedding of time `t` [B], past the SiLU that every modulation starts with: [B, D]. */
function condition(p: Parameters, t: tf.Tensor): tf.Tensor {
  const sinusoids = timestepEmbedding(t, TIME_EMBEDDING_DIM); // [B, 256]
  return silu(dense(p, 't_embedder.mlp.2', dense(p, 't_embedder.mlp.0', sinusoids), 'silu')); // [B, D]
}

/** The `count` vectors that `name` draws from the condition `c` [B, D], each [B, 1, D]. */
const modulation = (p: Parameters, name: string, c: tf.Tensor, count: number): tf.Tensor[] =>
  tf.split(tf.expandDims(dense(p, `${name}.adaLN_modulation.1`, c), 1), count, 2);

const normalised = (x: tf.Tensor): tf.Tensor => layerNorm(x, { epsilon: EPSILON });

/** One stream's half of a block; in the last block the words only give keys and values, and have no output. */
function streamPlan(
  name: string,
  { hiddenSize: width, mlpRatio }: MmditConfig,
  speaksOnly: boolean,
): PlannedParameter[] {
  const inner = Math.trunc(mlpRatio * width);
  if (speaksOnly) {
    return [
      ...linearPlan(`${name}.attn.qkv`, 3 * width, width),
      ...linearPlan(`${name}.adaLN_modulation.1`, 2 * width, width),
    ];
  }
  return [
    ...linearPlan(`${name}.attn.qkv`, 3 * width, width),
    ...linearPlan(`${name}.attn.proj`, width, width),
    ...linearPlan(`${name}.mlp.fc1`, inner, width),
    ...linearPlan(`${name}.mlp.fc2`, width, inner),
    ...linearPlan(`${name}.adaLN_modulation.1`, 6 * width, width),
  ];
}

/** The queries, keys and values of a stream, [B, N, H, d] each, and what it does after the attention. */
interface Half {
  qkv: tf.Tensor[];
  /** [B, N, H, d] to the stream after the block, [B, N, D]. */
  finish(attended: tf.Tensor): tf.Tensor;
}

function half(p: Parameters, name: string, heads: number, x: tf.Tensor, c: tf.Tensor, speaksOnly: boolean): Half {
  const [batch, tokens, width] = x.shape;
  const [shiftA, scaleA, ...others] = modulation(p, name, c, speaksOnly ? 2 : 6); // each [B, 1, D]
  const qkv = tf.split(dense(p, `${name}.attn.qkv`, modulate(normalised(x), shiftA, scaleA)), 3, -1); // [B, N, D] each
  return {
    qkv: qkv.map((part) => tf.reshape(part, [batch, tokens, heads, width / heads])),
    finish(attended) {
      const [gateA, shiftM, scaleM, gateM] = others;
      const heard = dense(p, `${name}.attn.proj`, tf.reshape(attended, [batch, tokens, width])); // [B, N, D]
      const mixed = tf.add(x, tf.mul(gateA, heard)); // [B, N, D]
      const thought = mlp(p, `${name}.mlp`, modulate(normalised(mixed), shiftM, scaleM), 'tanh'); // [B, N, D]
      return tf.add(mixed, tf.mul(gateM, thought)); // [B, N, D]
    },
  };
}

/** A block: words [B, L, D] and patches [B, T, D] to the same shapes; the last block leaves the words unchanged. */
function jointBlock(
  p: Parameters,
  name: string,
  { numHeads: heads }: MmditConfig,
  [words, patches]: readonly [tf.Tensor, tf.Tensor],
  c: tf.Tensor,
  isLast: boolean,
): [words: tf.Tensor, patches: tf.Tensor] {
  const own = half(p, `${name}.context_block`, heads, words, c, isLast);
  const other = half(p, `${name}.x_block`, heads, patches, c, false);
  const [q, k, v] = own.qkv.map((part, i) => tf.concat([part, other.qkv[i]], 1)); // [B, L + T, H, d]
  const [toWords, toPatches] = tf.split(attention(q, k, v), [words.shape[1]!, patches.shape[1]!], 1);
  return [isLast ? words : own.finish(toWords), other.finish(toPatches)];
}

const finalPlan = ({ hiddenSize, patchSize, outChannels }: MmditConfig): PlannedParameter[] => [
  ...linearPlan('final_layer.linear', patchSize ** 2 * outChannels, hiddenSize),
  ...linearPlan('final_layer.adaLN_modulation.1', 2 * hiddenSize, hiddenSize),
];

/** The velocity of patches [B, T, D]: [B, C, H, W]. */
function finalLayer(p: Parameters, { patchSize, outChannels }: MmditConfig, x: tf.Tensor, c: tf.Tensor): tf.Tensor {
  const [shift, scale] = modulation(p, 'final_layer', c, 2); // each [B, 1, D]
  const pixels = dense(p, 'final_layer.linear', modulate(normalised(x), shift, scale)); // [B, T, patch * patch * C]
  return unpatchify(pixels, patchSize, outChannels);
}

// -------------------------------------------------------------------------------------------------------- the network

/**
 * Every parameter, in the order of the official state dict.
 * @param added parameters of methods, which follow the final layer
 */
export function mmditParameters(
  config: MmditConfig,
  added: readonly PlannedParameter[] = [],
): Map<string, ParameterPlan> {
  const { patchSize, inChannels, hiddenSize, depth, text } = config;
  const blocks = Array.from({ length: depth }, (_, i) => [
    ...streamPlan(`joint_blocks.${i}.context_block`, config, i === depth - 1),
    ...streamPlan(`joint_blocks.${i}.x_block`, config, false),
  ]);
  return new Map<string, ParameterPlan>([
    ['pos_embed', { shape: [1, patchCount(config), hiddenSize], start: 'positions' }],
    ['x_embedder.proj.weight', { shape: [hiddenSize, inChannels, patchSize, patchSize], start: 'kaiming' }],
    ['x_embedder.proj.bias', { shape: [hiddenSize], start: 'kaiming', inputs: inChannels * patchSize ** 2 }],
    ...conditionPlan(config),
    ...linearPlan('context_embedder', hiddenSize, text.dim),
    ...hiddenMaps(blocks.flat()),
    ...finalPlan(config),
    ...added,
  ]);
}

/**
 * The forward pass. Checked against REPA's models/mmdit.py, with its gradients.
 *
 * @param x noisy latents [B, C, H, W]
 * @param t times [B], 0 = data, 1 = noise
 * @param context vectors of words [B, L, text.dim]
 */
export function mmdit(
  p: Parameters,
  config: MmditConfig,
  x: tf.Tensor,
  t: tf.Tensor,
  context: tf.Tensor,
): TransformerOutput {
  const c = condition(p, t); // [B, D]
  let words = dense(p, 'context_embedder', context); // [B, L, D]
  let patches = tf.add(patchEmbed(p, 'x_embedder.proj', x), parameter(p, 'pos_embed')); // [B, T, D]
  const hidden: tf.Tensor[] = [];
  for (let i = 0; i < config.depth; i++) {
    const isLast = i === config.depth - 1;
    [words, patches] = jointBlock(p, `joint_blocks.${i}`, config, [words, patches], c, isLast);
    hidden.push(patches);
  }
  return { output: finalLayer(p, config, patches, c), hidden, condition: c };
}

// ------------------------------------------------------------------------------------------------ what weights tell

/** Whether a state dict is that of an MM-DiT. */
export const holdsMmdit = (shapes: Shapes): boolean => shapes.has('joint_blocks.0.x_block.attn.qkv.weight');

/**
 * The architecture that a state dict holds; heads are 32 wide, and the aligned block is what the official code takes,
 * or `known`'s.
 * @throws DataError if the names are not those of such a network
 */
export function inferMmdit(shapes: Shapes, source: string, known: Partial<TransformerConfig> = {}): MmditConfig {
  const shapeOf = (name: string): readonly number[] => requiredShape(shapes, name, source, 'an MM-DiT');
  const [hiddenSize, inChannels, patchSize] = shapeOf('x_embedder.proj.weight');
  const [, dim] = shapeOf('context_embedder.weight');
  return mmditConfig(`MM-DiT/${patchSize}`, {
    inputSize: Math.sqrt(shapeOf('pos_embed')[1]) * patchSize,
    inChannels,
    outChannels: inChannels,
    hiddenSize,
    depth: countLayers(shapes, 'joint_blocks.', 'x_block.attn.qkv.weight'),
    text: { tokens: 77, dim },
    ...(known.alignDepth !== undefined && { alignDepth: known.alignDepth }),
    ...(known.numHeads !== undefined && { numHeads: known.numHeads }),
  });
}
