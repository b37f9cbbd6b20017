/**
 * DiT (arXiv 2212.09748) and SiT (arXiv 2401.08740): patches of noisy latents, blocks whose norms are modulated by time
 * and class (adaLN-Zero), and a linear map back to patches. One transformer with two heads: SiT's output is a velocity,
 * DiT's the noise and its variance. A block may also be LightningDiT's (arXiv 2501.01423): RMS norm, a gated perceptron,
 * rotary positions, normalised queries and keys.
 *
 * Parameters carry the names of the official code. Shapes: B images of T tokens of width D.
 */
import { checkpoint, tf } from '../engine/index.js';
import { DataError, UsageError } from '../errors.js';
import { timestepEmbedding } from '../nn/embeddings.js';
import { embedding, layerNorm, modulate, silu } from '../nn/functional.js';
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
  unpatchify,
} from '../nn/layers.js';
import { type RotaryAngles, rotaryAngles } from '../nn/rotary.js';
import { countLayers, type Shapes } from './parameters.js';
import { unwrapped } from './rename.js';
import { hiddenMaps, linearPlan, normPlan, type ParameterPlan, type PlannedParameter } from './start.js';

// ---------------------------------------------------------------------------------------------------------- sizes

export type Architecture = 'SiT' | 'DiT';

export interface TransformerConfig {
  /** Side of the square latent, in latent pixels. */
  inputSize: number;
  patchSize: number;
  inChannels: number;
  outChannels: number;
  hiddenSize: number;
  depth: number;
  numHeads: number;
  mlpRatio: number;
  /** The label table has one more row, the null class, at this index. */
  numClasses: number;
  /** A norm of queries and keys, of the kind of the others. */
  qkNorm: boolean;
  /** Layer norm without parameters, or RMS norm with a scale. */
  norm: NormKind;
  /** A perceptron with GELU, or a gated one. */
  feedForward: 'gelu' | 'swiglu';
  /** Whether queries and keys turn with their position, besides the fixed positions. */
  rotary: boolean;
  /** Number, of 1..depth, of the block whose tokens are looked at: that which is aligned, if one is. */
  alignDepth: number;
  /** The original SiT runs from noise at t = 0 to data at t = 1, the other way round than here. */
  reversedTime: boolean;
}

const SIZES = {
  S: { depth: 12, hiddenSize: 384, numHeads: 6 },
  B: { depth: 12, hiddenSize: 768, numHeads: 12 },
  L: { depth: 24, hiddenSize: 1024, numHeads: 16 },
  XL: { depth: 28, hiddenSize: 1152, numHeads: 16 },
} as const;

const PATCH_SIZES = [2, 4, 8];

/** Width of a head where nothing says otherwise; XL has 72. */
const HEAD_DIM = 64;

const headsOf = (hiddenSize: number): number =>
  Object.values(SIZES).find((size) => size.hiddenSize === hiddenSize)?.numHeads ??
  Math.max(1, Math.round(hiddenSize / HEAD_DIM));

// Block 8 of L and XL, 4 of the 12 blocks of B (REPA, table 2 and the recipes of the paper); a third of the depth of others.
const alignDepthOf = (depth: number): number => Math.min(8, Math.max(1, Math.round(depth / 3)));

/**
 * The architecture called `name`, such as `SiT-XL/2` or `DiT-B/4`, for 32 x 32 latents of 4 channels and 1000 classes
 * except where `overrides` says otherwise. Heads follow an overridden width; DiT's output has twice the channels.
 *
 * @throws UsageError if there is no such model, or the sizes do not divide.
 */
export function transformerConfig(
  family: Architecture,
  name: string,
  overrides: Partial<TransformerConfig> = {},
): TransformerConfig {
  const [, size, patch] = new RegExp(`^${family}-(\\w+)/(\\d)$`).exec(name) ?? [];
  if (!size || !Object.hasOwn(SIZES, size) || !PATCH_SIZES.includes(Number(patch))) {
    throw new UsageError(
      `there is no model ${name}`,
      `Models are ${family}-S, ${family}-B, ${family}-L and ${family}-XL, with patches of /2, /4 or /8: ${family}-XL/2.`,
    );
  }
  const { hiddenSize, numHeads, depth } = SIZES[size as keyof typeof SIZES];
  const inChannels = overrides.inChannels ?? 4;
  return checkConfig({
    inputSize: 32,
    patchSize: Number(patch),
    inChannels,
    outChannels: family === 'DiT' ? 2 * inChannels : inChannels,
    depth,
    hiddenSize,
    numHeads: overrides.hiddenSize ? headsOf(overrides.hiddenSize) : numHeads,
    mlpRatio: 4,
    numClasses: 1000,
    qkNorm: false,
    norm: 'layer',
    feedForward: 'gelu',
    rotary: false,
    alignDepth: alignDepthOf(overrides.depth ?? depth),
    reversedTime: false,
    ...overrides,
  });
}

export const sitConfig = (name: string, overrides?: Partial<TransformerConfig>): TransformerConfig =>
  transformerConfig('SiT', name, overrides);

/** The name of the published model of these sizes, such as `SiT-XL/2`; undefined if there is none. */
export function publishedName(family: Architecture, config: TransformerConfig): string | undefined {
  const names = Object.keys(SIZES).map((size) => `${family}-${size}/${config.patchSize}`);
  if (!PATCH_SIZES.includes(config.patchSize)) return undefined;
  return names.find((name) => {
    const { depth, hiddenSize, numHeads } = transformerConfig(family, name);
    return depth === config.depth && hiddenSize === config.hiddenSize && numHeads === config.numHeads;
  });
}

/** @throws UsageError if the sizes do not divide as the network needs. */
function checkConfig(config: TransformerConfig): TransformerConfig {
  const { inputSize, patchSize, hiddenSize, numHeads, depth, rotary, alignDepth } = config;
  if (inputSize % patchSize !== 0) {
    throw new UsageError(`patches of ${patchSize} do not tile latents of ${inputSize} x ${inputSize}`);
  }
  if (hiddenSize % numHeads !== 0)
    throw new UsageError(`a width of ${hiddenSize} cannot be split into ${numHeads} heads`);
  if (hiddenSize % 4 !== 0) throw new UsageError(`the width must be a multiple of 4, ${hiddenSize} is not`);
  if (rotary && (hiddenSize / numHeads) % 4 !== 0) {
    throw new UsageError(`rotary positions need heads whose width is a multiple of 4, not ${hiddenSize / numHeads}`);
  }
  if (!Number.isInteger(alignDepth) || alignDepth < 1 || alignDepth > depth) {
    throw new UsageError(`there is no block ${alignDepth} to align: the model has blocks 1 to ${depth}`);
  }
  return config;
}

/** Patches of an image. */
export const patchCount = ({ inputSize, patchSize }: TransformerConfig): number => (inputSize / patchSize) ** 2;

// ---------------------------------------------------------------------------------- the parts, each with its parameters

/** Width of the sinusoidal embedding of time, before its perceptron. */
const TIME_EMBEDDING_DIM = 256;

const EPSILON = 1e-6;

const conditionPlan = ({ hiddenSize, numClasses }: TransformerConfig): PlannedParameter[] => [
  ...linearPlan('t_embedder.mlp.0', hiddenSize, TIME_EMBEDDING_DIM, 'normal'),
  ...linearPlan('t_embedder.mlp.2', hiddenSize, hiddenSize, 'normal'),
  ['y_embedder.embedding_table.weight', { shape: [numClasses + 1, hiddenSize], start: 'normal' }],
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
 * @param y classes [B] int32; `config.numClasses` is the null class.
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

// ------------------------------------------------------------------------------------- what weights tell, and names

/**
 * The ratio of a gated perceptron's width: its hidden layer has 2/3 of the units that the ratio says, rounded down.
 */
const gatedRatio = (inner: number, hiddenSize: number): number => Math.ceil(1.5 * inner) / hiddenSize;

/**
 * The architecture that a state dict of a DiT or SiT holds. What the shapes do not tell (heads, except with qk-norm; rotary
 * positions; the aligned block) is that of the published model of this width, or `known`'s. A SiT that predicts twice its
 * input's channels is taken for the original, whose time is reversed.
 *
 * @param prefix how many tokens stand before the patches
 * @throws DataError if the names are not those of such a network.
 */
export function inferTransformer(
  family: Architecture,
  shapes: Shapes,
  source: string,
  known: Partial<TransformerConfig> = {},
  prefix = 0,
): TransformerConfig {
  const shapeOf = (name: string): readonly number[] => {
    const entry = shapes.get(name);
    if (entry) return entry.shape;
    throw new DataError(`${source}: not the weights of a SiT or DiT: ${name} is missing`);
  };
  const [hiddenSize, inChannels, patchSize] = shapeOf('x_embedder.proj.weight');
  const [, tokens] = shapeOf('pos_embed');
  const headDim = shapes.get('blocks.0.attn.q_norm.weight')?.shape[0];
  const gated = shapes.has('blocks.0.mlp.w3.weight');
  const depth = countLayers(shapes, 'blocks.', 'attn.qkv.weight');
  const outChannels = shapeOf('final_layer.linear.bias')[0] / patchSize ** 2;
  return checkConfig({
    inputSize: Math.sqrt(tokens - prefix) * patchSize,
    patchSize,
    inChannels,
    outChannels,
    hiddenSize,
    depth,
    numHeads: known.numHeads ?? (headDim ? hiddenSize / headDim : headsOf(hiddenSize)),
    mlpRatio: gated
      ? gatedRatio(shapeOf('blocks.0.mlp.w3.weight')[1], hiddenSize)
      : shapeOf('blocks.0.mlp.fc1.weight')[0] / hiddenSize,
    numClasses: shapeOf('y_embedder.embedding_table.weight')[0] - 1,
    qkNorm: headDim !== undefined,
    norm: shapes.has('blocks.0.norm1.weight') ? 'rms' : 'layer',
    feedForward: gated ? 'swiglu' : 'gelu',
    rotary: known.rotary ?? false,
    alignDepth: known.alignDepth ?? alignDepthOf(depth),
    reversedTime: family === 'SiT' && (known.reversedTime ?? outChannels === 2 * inChannels),
  });
}

/** The parameter by which the weights of such a network are found among others. */
export const LANDMARK = 'x_embedder.proj.weight';

/**
 * A state dict of SiT or DiT under today's names. Checkpoints from before REPA's release split the blocks in two lists:
 * `decoder_blocks.i` follows the last of `blocks`.
 */
export function toOfficialNames<T>(weights: ReadonlyMap<string, T>): Map<string, T> {
  const own = unwrapped(weights, [LANDMARK]);
  const blocks = [...own.keys()].map((name) => Number(/^blocks\.(\d+)\./.exec(name)?.[1] ?? -1));
  const first = blocks.reduce((highest, number) => Math.max(highest, number), -1) + 1;
  return new Map(
    [...own].map(([name, weight]) => [
      name.replace(/^decoder_blocks\.(\d+)\./, (_, number) => `blocks.${first + Number(number)}.`),
      weight,
    ]),
  );
}
