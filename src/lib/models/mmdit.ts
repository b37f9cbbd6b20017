/**
 * MM-DiT (arXiv 2403.03206, section 4), as the authors of REPA train it from text: patches and words go through the blocks
 * side by side, each stream with its own weights and modulation, and meet in one attention. Time alone modulates both.
 *
 * Parameters carry the names of REPA's models/mmdit.py. Shapes: B images of T patches and L words, of width D.
 */
import { tf } from '../engine/index.js';
import { DataError, UsageError } from '../errors.js';
import { timestepEmbedding } from '../nn/embeddings.js';
import { attention, layerNorm, modulate, silu } from '../nn/functional.js';
import { dense, mlp, type Parameters, parameter, patchEmbed, unpatchify } from '../nn/layers.js';
import { countLayers, type Shapes } from './parameters.js';
import { hiddenMaps, type ParameterPlan, type PlannedParameter } from './start.js';

// ---------------------------------------------------------------------------------------------------------- sizes

export interface MmditConfig {
  /** Side of the square latent, in latent pixels. */
  inputSize: number;
  patchSize: number;
  /** Of the latents and of the velocity. */
  channels: number;
  width: number;
  depth: number;
  heads: number;
  /** Of the vectors of words that come from the text encoder; CLIP-L's have 768. */
  contextDim: number;
  /** Number, of 1..depth, of the block whose patches are aligned. */
  alignDepth: number;
}

/** Width of a head, and heads a block: the published model has 24 blocks of 24 heads. */
const HEAD_DIM = 32;

/**
 * The network of REPA's text-to-image runs, of 24 blocks where nothing else is said.
 * @throws UsageError if the sizes do not divide
 */
export function mmditConfig(overrides: Partial<MmditConfig> = {}): MmditConfig {
  const { depth = 24 } = overrides;
  const width = overrides.width ?? HEAD_DIM * depth;
  const config = {
    inputSize: 32,
    patchSize: 2,
    channels: 4,
    width,
    depth,
    heads: width / HEAD_DIM,
    contextDim: 768,
    alignDepth: Math.min(8, depth),
    ...overrides,
  };
  if (config.inputSize % config.patchSize !== 0) {
    throw new UsageError(
      `patches of ${config.patchSize} do not tile latents of ${config.inputSize} x ${config.inputSize}`,
    );
  }
  if (config.width % 4 !== 0 || !Number.isInteger(config.heads) || config.width % config.heads !== 0) {
    throw new UsageError(`a width of ${config.width} cannot be split into ${config.heads} heads`);
  }
  if (config.alignDepth < 1 || config.alignDepth > depth) {
    throw new UsageError(`there is no block ${config.alignDepth} to align: the model has blocks 1 to ${depth}`);
  }
  return config;
}

// ---------------------------------------------------------------------------------- the parts, each with its parameters

const TIME_EMBEDDING_DIM = 256;
const EPSILON = 1e-6;
const MLP_RATIO = 4;

/** A linear layer as PyTorch starts it, which the official code leaves as it is. */
const linearPlan = (name: string, outputs: number, inputs: number): PlannedParameter[] => [
  [`${name}.weight`, { shape: [outputs, inputs], start: 'kaiming' }],
  [`${name}.bias`, { shape: [outputs], start: 'kaiming', inputs }],
];

const conditionPlan = ({ width }: MmditConfig): PlannedParameter[] => [
  ...linearPlan('t_embedder.mlp.0', width, TIME_EMBEDDING_DIM),
  ...linearPlan('t_embedder.mlp.2', width, width),
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

/** One stream's half of a block; the words of the last block only speak, and have no output of their own. */
function streamPlan(name: string, width: number, speaksOnly: boolean): PlannedParameter[] {
  if (speaksOnly) {
    return [
      ...linearPlan(`${name}.attn.qkv`, 3 * width, width),
      ...linearPlan(`${name}.adaLN_modulation.1`, 2 * width, width),
    ];
  }
  return [
    ...linearPlan(`${name}.attn.qkv`, 3 * width, width),
    ...linearPlan(`${name}.attn.proj`, width, width),
    ...linearPlan(`${name}.mlp.fc1`, MLP_RATIO * width, width),
    ...linearPlan(`${name}.mlp.fc2`, width, MLP_RATIO * width),
    ...linearPlan(`${name}.adaLN_modulation.1`, 6 * width, width),
  ];
}

/** What a stream brings to the attention, each [B, N, H, d], and what it does with what comes back. */
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

/** A block: words [B, L, D] and patches [B, T, D] to the same; no words come out of the last one. */
function jointBlock(
  p: Parameters,
  name: string,
  { heads }: MmditConfig,
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

const finalPlan = ({ width, patchSize, channels }: MmditConfig): PlannedParameter[] => [
  ...linearPlan('final_layer.linear', patchSize ** 2 * channels, width),
  ...linearPlan('final_layer.adaLN_modulation.1', 2 * width, width),
];

/** The velocity of patches [B, T, D]: [B, C, H, W]. */
function finalLayer(p: Parameters, { patchSize, channels }: MmditConfig, x: tf.Tensor, c: tf.Tensor): tf.Tensor {
  const [shift, scale] = modulation(p, 'final_layer', c, 2); // each [B, 1, D]
  const pixels = dense(p, 'final_layer.linear', modulate(normalised(x), shift, scale)); // [B, T, patch * patch * C]
  return unpatchify(pixels, patchSize, channels);
}

// -------------------------------------------------------------------------------------------------------- the network

/** Every parameter, in the order of the official state dict. @param added those of methods, which follow the final layer */
export function mmditParameters(
  config: MmditConfig,
  added: readonly PlannedParameter[] = [],
): Map<string, ParameterPlan> {
  const { inputSize, patchSize, channels, width, depth, contextDim } = config;
  const patchInputs = channels * patchSize ** 2;
  const blocks = Array.from({ length: depth }, (_, i) => [
    ...streamPlan(`joint_blocks.${i}.context_block`, width, i === depth - 1),
    ...streamPlan(`joint_blocks.${i}.x_block`, width, false),
  ]);
  return new Map<string, ParameterPlan>([
    ['pos_embed', { shape: [1, (inputSize / patchSize) ** 2, width], start: 'positions' }],
    ['x_embedder.proj.weight', { shape: [width, channels, patchSize, patchSize], start: 'kaiming' }],
    ['x_embedder.proj.bias', { shape: [width], start: 'kaiming', inputs: patchInputs }],
    ...conditionPlan(config),
    ...linearPlan('context_embedder', width, contextDim),
    ...hiddenMaps(blocks.flat()),
    ...finalPlan(config),
    ...added,
  ]);
}

export interface MmditOutput {
  /** The velocity, [B, C, H, W]. */
  output: tf.Tensor;
  /** The patches after each block, [B, T, D]; block number n of 1..depth is at n - 1. */
  hidden: tf.Tensor[];
}

/**
 * The forward pass. Checked against REPA's models/mmdit.py, with its gradients.
 *
 * @param x noisy latents [B, C, H, W]
 * @param t times [B], 0 = data, 1 = noise
 * @param context vectors of words [B, L, contextDim]
 */
export function mmdit(p: Parameters, config: MmditConfig, x: tf.Tensor, t: tf.Tensor, context: tf.Tensor): MmditOutput {
  const c = condition(p, t); // [B, D]
  let words = dense(p, 'context_embedder', context); // [B, L, D]
  let patches = tf.add(patchEmbed(p, 'x_embedder.proj', x), parameter(p, 'pos_embed')); // [B, T, D]
  const hidden: tf.Tensor[] = [];
  for (let i = 0; i < config.depth; i++) {
    const isLast = i === config.depth - 1;
    [words, patches] = jointBlock(p, `joint_blocks.${i}`, config, [words, patches], c, isLast);
    hidden.push(patches);
  }
  return { output: finalLayer(p, config, patches, c), hidden };
}

// ------------------------------------------------------------------------------------------------ what weights tell

/**
 * The architecture that a state dict holds; heads are 32 wide, and the aligned block is what the official code takes.
 * @throws DataError if the names are not those of such a network
 */
export function inferMmdit(shapes: Shapes, source: string, known: Partial<MmditConfig> = {}): MmditConfig {
  const shapeOf = (name: string): readonly number[] => {
    const entry = shapes.get(name);
    if (entry) return entry.shape;
    throw new DataError(`${source}: not the weights of an MM-DiT: ${name} is missing`);
  };
  const [width, channels, patchSize] = shapeOf('x_embedder.proj.weight');
  const [, contextDim] = shapeOf('context_embedder.weight');
  return mmditConfig({
    inputSize: Math.sqrt(shapeOf('pos_embed')[1]) * patchSize,
    patchSize,
    channels,
    width,
    depth: countLayers(shapes, 'joint_blocks.', 'x_block.attn.qkv.weight'),
    contextDim,
    ...known,
  });
}
