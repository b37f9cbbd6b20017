/**
 * Vision transformers as frozen encoders: DINOv2 with and without registers, its kin of the same names (DINO, MAE,
 * MoCo-v3, I-JEPA), DINOv3, and the vision towers of CLIP and SigLIP. Parameters carry the names of
 * facebookresearch/dinov2; the norm that CLIP has before its blocks is `norm_pre`, as in timm. Names elsewhere:
 * vit-names.ts.
 */
import { tf } from '../engine/index.js';
import { DataError, UsageError } from '../errors.js';
import type { PlaneSize } from '../images/resample.js';
import { type GeluForm, layerNorm } from '../nn/functional.js';
import { mlp, norm, type Parameters, parameter, patchEmbed, selfAttention, swiglu } from '../nn/layers.js';
import { type PositionResampling, resamplePositions } from '../nn/positions.js';
import { periodAngles, type RotaryAngles } from '../nn/rotary.js';
import {
  countLayers,
  type Entry,
  linearShapes,
  normShapes,
  type Shapes,
  vectorShapes,
  type Weights,
} from './parameters.js';

// ---------------------------------------------------------------------------------------------------------- sizes

export interface ViTConfig {
  width: number;
  depth: number;
  heads: number;
  patchSize: number;
  /** The grid of patches that `pos_embed` is for. */
  grid: PlaneSize;
  /** Whether queries and keys of patches are rotated by their position, without `pos_embed` (DINOv3). */
  rotary?: true;
  classToken: boolean;
  /** Whether the class token has a row, the first, in `pos_embed`. */
  classPosition: boolean;
  registers: number;
  /** Whether the patches' convolution has a bias; CLIP's has none. */
  patchBias: boolean;
  /** Whether a layer norm comes before the first block. */
  preNorm: boolean;
  feedForward: 'mlp' | 'swiglu';
  /** Width of the feed-forward's hidden layer. */
  inner: number;
  /** The plain feed-forward's activation. */
  activation: GeluForm;
  qkvBias: boolean;
  layerScale: boolean;
  /** Whether a layer norm follows the last block. */
  finalNorm: boolean;
  /** Epsilon of all layer norms. */
  epsilon: number;
}

/** Facts that state dicts do not tell. */
export interface ViTHints {
  heads?: number;
  /** False to leave a final norm out although it is there. */
  finalNorm?: boolean;
  activation?: GeluForm;
  epsilon?: number;
}

const HEAD_DIM = 64;

/** Heads where they are not 64 wide: SigLIP's so400m, ViT-H, ViT-g and ViT-bigG. */
const HEADS = new Map([1152, 1280, 1408, 1664].map((width) => [width, 16]));

/** Side of the grid of its 256-pixel images, in patches. */
const DINOV3_SIDE = 16;

/** The side of a square of `count` patches, or undefined. */
function squareSide(count: number): number | undefined {
  const side = Math.sqrt(count);
  return Number.isInteger(side) ? side : undefined;
}

/**
 * Heads of a published model of this width, unless given.
 * @throws UsageError if the width cannot be split into that many heads.
 */
export function headsOf(width: number, heads = HEADS.get(width) ?? width / HEAD_DIM): number {
  if (Number.isInteger(heads) && width % heads === 0) return heads;
  throw new UsageError(`a width of ${width} cannot be split into ${heads} heads`, 'Give the number of heads.');
}

/**
 * The architecture that the shapes of a state dict tell. Where not given, the number of heads is that of published
 * models of this width, the activation the exact GELU, and epsilon 1e-6.
 *
 * @throws DataError if the names are not those of such a network; UsageError if the heads do not divide the width.
 */
export function inferViTConfig(
  shapes: Shapes,
  source: string,
  { heads, finalNorm = true, activation = 'erf', epsilon = 1e-6 }: ViTHints = {},
): ViTConfig {
  const patch = shapes.get('patch_embed.proj.weight')?.shape;
  const positions = shapes.get('pos_embed')?.shape[1];
  const depth = countLayers(shapes, 'blocks.', 'attn.qkv.weight');
  const rotary = positions === undefined && shapes.has('rope_embed.periods');
  if (!patch || (!positions && !rotary) || depth === 0) {
    throw new DataError(
      `${source}: not the weights of a vision transformer that is known here`,
      'Expected are the names of DINOv2 and its kin, DINOv3, CLIP or SigLIP (of the original code, Hugging Face or timm): patch_embed.proj, pos_embed, blocks.0.attn.qkv ...',
    );
  }
  const [width, , patchSize] = patch;
  const classToken = shapes.has('cls_token');
  const classPosition = classToken && positions !== undefined && squareSide(positions - 1) !== undefined;
  const side = positions === undefined ? DINOV3_SIDE : squareSide(classPosition ? positions - 1 : positions);
  if (!side)
    throw new DataError(`${source}: the ${positions} position embeddings are not those of a square of patches`);
  const gated = shapes.has('blocks.0.mlp.w12.weight');
  return {
    width,
    depth,
    heads: headsOf(width, heads),
    patchSize,
    grid: { height: side, width: side },
    ...(rotary && { rotary }),
    classToken,
    classPosition,
    registers: shapes.get('register_tokens')?.shape[1] ?? 0,
    patchBias: shapes.has('patch_embed.proj.bias'),
    preNorm: shapes.has('norm_pre.weight'),
    feedForward: gated ? 'swiglu' : 'mlp',
    inner: shapes.get(gated ? 'blocks.0.mlp.w3.weight' : 'blocks.0.mlp.fc2.weight')?.shape[1] ?? 4 * width,
    activation,
    qkvBias: shapes.has('blocks.0.attn.qkv.bias'),
    layerScale: shapes.has('blocks.0.ls1.gamma'),
    finalNorm: finalNorm && shapes.has('norm.weight'),
    epsilon,
  };
}

// -------------------------------------------------------------------------------- the parts, each with its parameters

/** Class and register tokens [1, P, D], the class token with its position; null where the network has neither. */
function prefixTokens(p: Parameters, config: ViTConfig): tf.Tensor | null {
  const tokens: tf.Tensor[] = [];
  if (config.classToken) {
    const token = parameter(p, 'cls_token'); // [1, 1, D]
    const position = config.classPosition ? tf.slice(parameter(p, 'pos_embed'), [0, 0, 0], [1, 1, -1]) : null;
    tokens.push(position ? tf.add(token, position) : token);
  }
  if (config.registers > 0) tokens.push(parameter(p, 'register_tokens')); // [1, R, D], without positions
  return tokens.length > 0 ? tf.concat(tokens, 1) : null;
}

function patchPositions(p: Parameters, { classPosition }: ViTConfig): tf.Tensor {
  const positions = parameter(p, 'pos_embed');
  return classPosition ? tf.slice(positions, [0, 1, 0], [1, -1, -1]) : positions; // [1, T, D]
}

/** Prefix tokens, then patches with their positions, normalised where the network does so: [B, P + T, D]. */
function embed(p: Parameters, config: ViTConfig, images: tf.Tensor): tf.Tensor {
  const own = patchEmbed(p, 'patch_embed.proj', images); // [B, T, D]
  const patches = config.rotary ? own : tf.add(own, patchPositions(p, config)); // [B, T, D]
  const prefix = prefixTokens(p, config);
  const tokens = prefix ? tf.concat([tf.tile(prefix, [images.shape[0], 1, 1]), patches], 1) : patches;
  return config.preNorm ? norm(p, 'norm_pre', tokens, config.epsilon) : tokens;
}

/** The sizes of one block. */
export type ViTBlock = Pick<
  ViTConfig,
  'width' | 'inner' | 'heads' | 'feedForward' | 'activation' | 'qkvBias' | 'layerScale' | 'epsilon'
>;

export function blockShapes(
  name: string,
  { width, inner, feedForward, layerScale, qkvBias }: Omit<ViTBlock, 'heads' | 'activation' | 'epsilon'>,
): Entry[] {
  return [
    ...normShapes(`${name}.norm1`, width),
    ...linearShapes(`${name}.attn.qkv`, 3 * width, width, qkvBias),
    ...linearShapes(`${name}.attn.proj`, width, width),
    ...normShapes(`${name}.norm2`, width),
    ...linearShapes(
      `${name}.mlp.${feedForward === 'swiglu' ? 'w12' : 'fc1'}`,
      feedForward === 'swiglu' ? 2 * inner : inner,
      width,
    ),
    ...linearShapes(`${name}.mlp.${feedForward === 'swiglu' ? 'w3' : 'fc2'}`, width, inner),
    ...(layerScale ? [...vectorShapes(`${name}.ls1.gamma`, width), ...vectorShapes(`${name}.ls2.gamma`, width)] : []),
  ];
}

/** One block: `x` [B, N, D] to [B, N, D]; queries and keys are rotated by the `rotary` angles, if given. */
export function block(p: Parameters, name: string, config: ViTBlock, x: tf.Tensor, rotary?: RotaryAngles): tf.Tensor {
  const scaled = (layer: string, y: tf.Tensor): tf.Tensor =>
    config.layerScale ? tf.mul(y, parameter(p, `${name}.${layer}.gamma`)) : y;
  const feedForward = (y: tf.Tensor): tf.Tensor =>
    config.feedForward === 'swiglu' ? swiglu(p, `${name}.mlp`, y) : mlp(p, `${name}.mlp`, y, config.activation);
  const normalised = norm(p, `${name}.norm1`, x, config.epsilon); // [B, N, D]
  const attended = selfAttention(p, `${name}.attn`, normalised, { heads: config.heads, rotary });
  const mixed = tf.add(x, scaled('ls1', attended)); // [B, N, D]
  return tf.add(mixed, scaled('ls2', feedForward(norm(p, `${name}.norm2`, mixed, config.epsilon))));
}

// -------------------------------------------------------------------------------------------------------- the network

/** Names and shapes of all parameters that the forward pass uses; images have 3 channels. */
export function vitShapes(config: ViTConfig): Shapes {
  const { width, depth, patchSize, grid, rotary, classToken, classPosition, registers, preNorm, finalNorm } = config;
  const token = (name: string, count: number): Entry => [name, { shape: [1, count, width] }];
  return new Map([
    ...(classToken ? [token('cls_token', 1)] : []),
    ...(registers > 0 ? [token('register_tokens', registers)] : []),
    ...(rotary
      ? ([['rope_embed.periods', { shape: [width / config.heads / 4] }]] satisfies Entry[])
      : [token('pos_embed', Number(classPosition) + grid.height * grid.width)]),
    ['patch_embed.proj.weight', { shape: [width, 3, patchSize, patchSize] }],
    ...(config.patchBias ? vectorShapes('patch_embed.proj.bias', width) : []),
    ...(preNorm ? normShapes('norm_pre', width) : []),
    ...Array.from({ length: depth }, (_, i) => blockShapes(`blocks.${i}`, config)).flat(),
    ...(finalNorm ? normShapes('norm', width) : []),
  ]);
}

export interface ViTOutput {
  /** [B, T, D], T row by row. */
  patchTokens: tf.Tensor;
  /** [B, D]; null where the network has no class token. */
  cls: tf.Tensor | null;
}

/** The tokens after each block, [B, P + T, D]. */
function hiddenStates(p: Parameters, config: ViTConfig, images: tf.Tensor): tf.Tensor[] {
  const states = [embed(p, config, images)]; // [B, P + T, D] each
  const prefix = Number(config.classToken) + config.registers;
  const angles = config.rotary ? periodAngles(config.grid, parameter(p, 'rope_embed.periods'), prefix) : undefined;
  for (let i = 0; i < config.depth; i++) states.push(block(p, `blocks.${i}`, config, states[i], angles));
  return states.slice(1);
}

/** The tokens of patches, [B, T, D], out of all tokens [B, P + T, D]. */
const patchesOf = ({ classToken, registers }: ViTConfig, tokens: tf.Tensor): tf.Tensor =>
  tf.slice(tokens, [0, Number(classToken) + registers, 0], [-1, -1, -1]);

/**
 * Features of normalised `images` [B, 3, H, W], whose grid of patches is `config.grid`, after the final norm where
 * there is one.
 */
export function vit(p: Parameters, config: ViTConfig, images: tf.Tensor): ViTOutput {
  const last = hiddenStates(p, config, images).at(-1)!; // [B, P + T, D]
  const tokens = config.finalNorm ? norm(p, 'norm', last, config.epsilon) : last;
  const patchTokens = patchesOf(config, tokens); // [B, T, D]
  const cls = config.classToken
    ? tf.squeeze(tf.slice(tokens, [0, 0, 0], [-1, 1, -1]), [1]) // [B, D]
    : null;
  return { patchTokens, cls };
}

/**
 * Patch tokens as latents, [B, T, D]: the mean of those after each of `blocks`, by their numbers from 1 upwards, each
 * through a layer norm without scale and shift (RAE, arXiv 2510.11690, section 3, of one block; RAEv2, arXiv
 * 2605.18324, of several, to which its code adds for DINOv3 the mean over the tokens of the last one). Checked against
 * the published code (fixtures published/rae and dinov3).
 */
export function latentTokens(
  p: Parameters,
  config: ViTConfig,
  images: tf.Tensor,
  blocks: readonly number[],
): tf.Tensor {
  const states = hiddenStates(p, config, images);
  const plain = blocks.map(
    (number) => layerNorm(patchesOf(config, states[number - 1]), { epsilon: config.epsilon }), // [B, T, D]
  );
  const mean = tf.div(tf.addN(plain), blocks.length); // [B, T, D]
  return config.rotary && blocks.length > 1 ? tf.add(mean, tf.mean(plain.at(-1)!, 1, true)) : mean;
}

/**
 * The weights and architecture for images of another size: position embeddings resampled to the grid of patches of
 * `size` pixels. DINOv2's models with registers resample as timm does, by their published settings.
 *
 * @throws UsageError if patches do not tile the images.
 */
export function fitPositions(
  weights: Weights,
  config: ViTConfig,
  size: PlaneSize,
  variant: PositionResampling,
): { weights: Weights; config: ViTConfig } {
  const { patchSize, width } = config;
  const grid = { height: size.height / patchSize, width: size.width / patchSize };
  if (!Number.isInteger(grid.height) || !Number.isInteger(grid.width)) {
    throw new UsageError(`patches of ${patchSize} pixels do not tile images of ${size.height} x ${size.width}`);
  }
  if (config.rotary) return { weights, config: { ...config, grid } };
  if (grid.height === config.grid.height && grid.width === config.grid.width) return { weights, config };
  const { data } = weights.get('pos_embed')!;
  const prefix = config.classPosition ? width : 0;
  const method = config.registers > 0 ? 'timm' : variant;
  const patches = resamplePositions(data.subarray(prefix), config.grid, grid, method);
  const positions = new Float32Array(prefix + patches.length);
  positions.set(data.subarray(0, prefix));
  positions.set(patches, prefix);
  const fitted: Weights = new Map(weights);
  fitted.set('pos_embed', { shape: [1, positions.length / width, width], data: positions });
  return { weights: fitted, config: { ...config, grid } };
}
