/**
 * DiT (arXiv 2212.09748) and SiT (arXiv 2401.08740): patches of noisy latents, blocks whose norms are modulated by time
 * and class (adaLN-Zero), and a linear map back to patches. One transformer with two heads: SiT's output is a velocity,
 * DiT's the noise and its variance. A block may also be LightningDiT's (arXiv 2501.01423): RMS norm, a gated perceptron,
 * rotary positions, normalised queries and keys.
 *
 * Parameters carry the names of the official code. Shapes: B images of T tokens of width D.
 */
import { checkpoint, tf } from '../engine/index.js';
import { timestepEmbedding } from '../nn/embeddings.js';
import { embedding, layerNorm, modulate, silu } from '../nn/functional.js';
import {
  dense,
  mlp,
  type Parameters,
  parameter,
  patchEmbed,
  rmsNormed,
  selfAttention,
  swiglu,
  unpatchify,
} from '../nn/layers.js';
import { type RotaryAngles, rotaryAngles } from '../nn/rotary.js';
import { patchCount, type TransformerConfig } from './dit-sizes.js';
import { hiddenMaps, linearPlan, normPlan, type ParameterPlan, type PlannedParameter } from './start.js';

// ---------------------------------------------------------------------------------- the parts, each with its parameters

/** Width of the sinusoidal embedding of time, before its perceptron. */
const TIME_EMBEDDING_DIM = 256;

const EPSILON = 1e-6;

const conditionPlan = ({ hiddenSize, numClasses, nullClass }: TransformerConfig): PlannedParameter[] => [
  ...linearPlan('t_embedder.mlp.0', hiddenSize, TIME_EMBEDDING_DIM, 'normal'),
  ...linearPlan('t_embedder.mlp.2', hiddenSize, hiddenSize, 'normal'),
  ['y_embedder.embedding_table.weight', { shape: [numClasses + Number(nullClass), hiddenSize], start: 'normal' }],
];

/** The sum of the embeddings of time `t` [B] and class `y` [B], past the SiLU that every modulation starts with: [B, D]. */
function condition(p: Parameters, t: tf.Tensor, y: tf.Tensor): tf.Tensor {
  const sinusoids = timestepEmbedding(t, TIME_EMBEDDING_DIM); // [B, 256]
  const time = dense(p, 't_embedder.mlp.2', dense(p, 't_embedder.mlp.0', sinusoids), 'silu'); // [B, D]
  return silu(tf.add(time, embedding(parameter(p, 'y_embedder.embedding_table.weight'), y))); // [B, D]
}

const modulationPlan = (name: string, hiddenSize: number, vectors: number): PlannedParameter[] =>
  linearPlan(`${name}.adaLN_modulation.1`, vectors * hiddenSize, hiddenSize, 'zeros');

/** The `count` modulation vectors that layer `name` draws from the condition `c` [B, D], each [B, 1, D]. */
function modulation(p: Parameters, name: string, c: tf.Tensor, count: number): tf.Tensor[] {
  const vectors = dense(p, `${name}.adaLN_modulation.1`, c); // [B, count * D]
  return tf.split(tf.expandDims(vectors, 1), count, 2);
}

/** The norm before a modulation has a scale only if it is of the root mean square. */
const plainNormPlan = (name: string, { norm, hiddenSize }: TransformerConfig): PlannedParameter[] =>
  norm === 'rms' ? normPlan(name, hiddenSize, norm) : [];

/** The norm `name` before a modulation: `x` [B, T, D] to [B, T, D]. */
const normalised = (p: Parameters, name: string, { norm }: TransformerConfig, x: tf.Tensor): tf.Tensor =>
  norm === 'rms' ? rmsNormed(p, name, x, EPSILON) : layerNorm(x, { epsilon: EPSILON });

function feedForwardPlan(name: string, { hiddenSize, mlpRatio, feedForward }: TransformerConfig): PlannedParameter[] {
  const inner = Math.trunc(hiddenSize * mlpRatio);
  if (feedForward === 'gelu') {
    return [
      ...linearPlan(`${name}.fc1`, inner, hiddenSize, 'xavier'),
      ...linearPlan(`${name}.fc2`, hiddenSize, inner, 'xavier'),
    ];
  }
  const gated = Math.trunc((2 / 3) * inner); // as many parameters as without the gate
  return [
    ...linearPlan(`${name}.w12`, 2 * gated, hiddenSize, 'xavier'),
    ...linearPlan(`${name}.w3`, hiddenSize, gated, 'xavier'),
  ];
}

const feedForward = (p: Parameters, name: string, config: TransformerConfig, x: tf.Tensor): tf.Tensor =>
  config.feedForward === 'swiglu' ? swiglu(p, name, x) : mlp(p, name, x, 'tanh');

function blockPlan(name: string, config: TransformerConfig): PlannedParameter[] {
  const { hiddenSize, numHeads, qkNorm, norm } = config;
  const headNorms = qkNorm ? ['q_norm', 'k_norm'] : [];
  return hiddenMaps([
    ...plainNormPlan(`${name}.norm1`, config),
    ...linearPlan(`${name}.attn.qkv`, 3 * hiddenSize, hiddenSize, 'xavier'),
    ...headNorms.flatMap((each) => normPlan(`${name}.attn.${each}`, hiddenSize / numHeads, norm)),
    ...linearPlan(`${name}.attn.proj`, hiddenSize, hiddenSize, 'xavier'),
    ...plainNormPlan(`${name}.norm2`, config),
    ...feedForwardPlan(`${name}.mlp`, config),
    ...modulationPlan(name, hiddenSize, 6),
  ]);
}

/** One block: `x` [B, T, D] to [B, T, D], modulated by the condition `c` [B, D]; queries and keys turn by `rotary`. */
function block(
  p: Parameters,
  name: string,
  config: TransformerConfig,
  x: tf.Tensor,
  c: tf.Tensor,
  rotary?: RotaryAngles,
): tf.Tensor {
  const [shiftA, scaleA, gateA, shiftM, scaleM, gateM] = modulation(p, name, c, 6); // each [B, 1, D]
  const heads = { heads: config.numHeads, qkNorm: config.qkNorm ? config.norm : null, rotary };
  const seen = modulate(normalised(p, `${name}.norm1`, config, x), shiftA, scaleA); // [B, T, D]
  const mixed = tf.add(x, tf.mul(gateA, selfAttention(p, `${name}.attn`, seen, heads))); // [B, T, D]
  const input = modulate(normalised(p, `${name}.norm2`, config, mixed), shiftM, scaleM); // [B, T, D]
  return tf.add(mixed, tf.mul(gateM, feedForward(p, `${name}.mlp`, config, input))); // [B, T, D]
}

/** The same block, computed again in the backward pass instead of kept for it: whatever it reads is an input of it. */
const checkpointedBlock: typeof block = (p, name, config, x, c, rotary) => {
  const names = Object.keys(p).filter((key) => key.startsWith(`${name}.`));
  const angles = rotary ? [rotary.cos, rotary.sin] : [];
  const run = (x: tf.Tensor, c: tf.Tensor, ...others: tf.Tensor[]) => {
    const [cos, sin] = others;
    const weights = names.map((key, i) => [key, others[angles.length + i]]);
    return block(Object.fromEntries(weights), name, config, x, c, rotary && { cos, sin });
  };
  return checkpoint(run, [x, c, ...angles, ...names.map((key) => p[key])]);
};

/** The final layer; `added` are parameters of further outputs, whose names start with that of the layer. */
function finalPlan(name: string, config: TransformerConfig, added: readonly PlannedParameter[]): PlannedParameter[] {
  const { hiddenSize, patchSize, outChannels } = config;
  return [
    ...plainNormPlan(`${name}.norm_final`, config),
    ...linearPlan(`${name}.linear`, patchSize * patchSize * outChannels, hiddenSize, 'zeros'),
    ...added,
    ...modulationPlan(name, hiddenSize, 2),
  ];
}

/** The modulated tokens that the final layer `name` maps to its outputs: `x` [B, T, D] to [B, T, D]. */
function finalTokens(p: Parameters, name: string, config: TransformerConfig, x: tf.Tensor, c: tf.Tensor): tf.Tensor {
  const [shift, scale] = modulation(p, name, c, 2); // each [B, 1, D]
  return modulate(normalised(p, `${name}.norm_final`, config, x), shift, scale);
}

/** A further output head `name`, of the final layer's layout. */
export const outputHeadPlan = (name: string, config: TransformerConfig): PlannedParameter[] =>
  finalPlan(name, config, []);

/** The image that the output head `name` makes of tokens of patches: `x` [B, T, D], `c` [B, D] to [B, outChannels, H, W]. */
export function outputHead(
  p: Parameters,
  name: string,
  config: TransformerConfig,
  x: tf.Tensor,
  c: tf.Tensor,
): tf.Tensor {
  const pixels = dense(p, `${name}.linear`, finalTokens(p, name, config, x, c)); // [B, T, patch * patch * outChannels]
  return unpatchify(pixels, config.patchSize, config.outChannels);
}

// ------------------------------------------------------------------------------------------------ the transformer

const FINAL = 'final_layer';

/**
 * Every parameter, in the order of the official state dict.
 * @param added those of methods: they follow the blocks, or the final layer's map if they are of that layer
 * @param prefix how many tokens stand before the patches
 */
export function transformerParameters(
  config: TransformerConfig,
  added: readonly PlannedParameter[] = [],
  prefix = 0,
): Map<string, ParameterPlan> {
  const { patchSize, inChannels, hiddenSize, depth } = config;
  const isFinal = ([name]: PlannedParameter): boolean => name.startsWith(`${FINAL}.`);
  return new Map([
    ['pos_embed', { shape: [1, prefix + patchCount(config), hiddenSize], start: 'positions' }],
    ['x_embedder.proj.weight', { shape: [hiddenSize, inChannels, patchSize, patchSize], start: 'xavier' }],
    ['x_embedder.proj.bias', { shape: [hiddenSize], start: 'zeros' }],
    ...conditionPlan(config),
    ...Array.from({ length: depth }, (_, i) => blockPlan(`blocks.${i}`, config)).flat(),
    ...added.filter((each) => !isFinal(each)),
    ...finalPlan(FINAL, config, added.filter(isFinal)),
  ]);
}

/** The tokens on their way through the blocks. */
export interface Stream {
  tokens: tf.Tensor; // [B, T, D]
  /** By how much the queries and keys of each turn. */
  angles?: RotaryAngles;
}

/** What a method does to the tokens besides the blocks. */
export interface Passage {
  /** Before block number `block`, of 1..depth. */
  enter?(stream: Stream, block: number): Stream;
  /** After it. */
  leave?(stream: Stream, block: number): Stream;
  /** Of values of all tokens [B, T, ...], those of the tokens that the block sees. */
  seen?(values: tf.Tensor, block: number): tf.Tensor;
}

/** Where methods meet the network. */
export interface Seams {
  /** Tokens before the patches, [B, P, D]: positions are added to them too, and the final layer hands them back. */
  prefix?: tf.Tensor;
  /** Entered in this order, and left in the opposite one. */
  passages?: readonly Passage[];
  /** How many blocks, from the first, are computed again in the backward pass, which saves memory. */
  checkpointBlocks?: number;
}

export interface TransformerOutput {
  /** [B, outChannels, H, W] */
  output: tf.Tensor;
  /** The prefix as the final layer has it before its maps, [B, P, D]. */
  prefix?: tf.Tensor;
  /** The tokens after each block, [B, T, D], or fewer where some skipped it; block number n of 1..depth is at n - 1. */
  hidden: tf.Tensor[];
  /** What modulates every block: [B, D]. */
  condition: tf.Tensor;
}

/**
 * The forward pass.
 *
 * @param x noisy latents [B, C, H, W].
 * @param t times [B], embedded unscaled.
 * @param y classes [B] int32; `config.numClasses` is the null class, where there is one.
 */
export function transformer(
  p: Parameters,
  config: TransformerConfig,
  x: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
  { prefix, passages = [], checkpointBlocks = 0 }: Seams = {},
): TransformerOutput {
  const leaving = passages.toReversed();
  const c = condition(p, t, y); // [B, D]
  const patches = patchEmbed(p, 'x_embedder.proj', x); // [B, T, D]
  const all = prefix ? tf.concat([prefix, patches], 1) : patches; // [B, P + T, D]
  let stream: Stream = {
    tokens: tf.add(all, parameter(p, 'pos_embed')), // [B, P + T, D]
    angles: config.rotary ? gridAngles(config, prefix?.shape[1]) : undefined,
  };
  const hidden: tf.Tensor[] = [];
  for (let number = 1; number <= config.depth; number++) {
    stream = passages.reduce((each, passage) => passage.enter?.(each, number) ?? each, stream);
    const run = number <= checkpointBlocks ? checkpointedBlock : block;
    const tokens = run(p, `blocks.${number - 1}`, config, stream.tokens, c, stream.angles); // [B, P + T, D]
    hidden.push(tokens);
    stream = leaving.reduce<Stream>((each, passage) => passage.leave?.(each, number) ?? each, { ...stream, tokens });
  }
  const last = finalTokens(p, FINAL, config, stream.tokens, c); // [B, P + T, D]
  const [before, others] = prefix ? splitPrefix(last, prefix) : [undefined, last]; // [B, P, D], [B, T, D]
  const pixels = dense(p, `${FINAL}.linear`, others); // [B, T, patch * patch * outChannels]
  const output = unpatchify(pixels, config.patchSize, config.outChannels); // [B, outChannels, H, W]
  return { output, prefix: before, hidden, condition: c };
}

function splitPrefix(tokens: tf.Tensor, { shape: [, count] }: tf.Tensor): tf.Tensor[] {
  return tf.split(tokens, [count!, tokens.shape[1]! - count!], 1);
}

const gridAngles = ({ inputSize, patchSize, hiddenSize, numHeads }: TransformerConfig, prefix = 0): RotaryAngles =>
  rotaryAngles(inputSize / patchSize, hiddenSize / numHeads, prefix);

/** SiT's head: dx/dt, [B, C, H, W], of noisy latents at times `t` [B], 0 = data, 1 = noise. Arguments as `transformer`. */
export function sit(
  p: Parameters,
  config: TransformerConfig,
  xT: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
  seams?: Seams,
): TransformerOutput {
  const { inChannels, outChannels, reversedTime } = config;
  const { output, ...others } = transformer(p, config, xT, reversedTime ? tf.sub(1, t) : t, y, seams);
  // The original SiT also predicts a variance that nothing uses.
  const drift = outChannels === inChannels ? output : tf.slice(output, [0, 0, 0, 0], [-1, inChannels, -1, -1]);
  return { output: reversedTime ? tf.neg(drift) : drift, ...others };
}

/**
 * DiT's head: the noise, then where the log variance lies between its bounds, from -1 to 1, [B, 2C, H, W], of noisy latents
 * at steps `t` [B], f32 of 0..999 of the process of 1000 steps. Arguments as `transformer`.
 */
export const dit = transformer;
