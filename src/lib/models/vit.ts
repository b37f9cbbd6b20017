/**
 * Vision transformers as frozen encoders: DINOv2 with and without registers, its kin of the same names (DINO, MAE,
 * MoCo-v3, I-JEPA), and the vision towers of CLIP and SigLIP. Parameters carry the names of facebookresearch/dinov2; the
 * norm that CLIP has before its blocks is `norm_pre`, as in timm.
 */
import { tf } from '../engine/index.js';
import { DataError, UsageError } from '../errors.js';
import type { PlaneSize } from '../images/resample.js';
import type { GeluForm } from '../nn/functional.js';
import { mlp, norm, type Parameters, parameter, patchEmbed, selfAttention, swiglu } from '../nn/layers.js';
import { countLayers, type Shapes } from './parameters.js';

export interface ViTConfig {
  width: number;
  depth: number;
  heads: number;
  patchSize: number;
  /** The grid of patches that `pos_embed` is for. */
  grid: PlaneSize;
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
  /** Of all layer norms. */
  epsilon: number;
}

/** What state dicts do not tell. */
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

/** The side of a square of `count` patches, or undefined. */
function squareSide(count: number): number | undefined {
  const side = Math.sqrt(count);
  return Number.isInteger(side) ? side : undefined;
}

/** @throws UsageError if the width cannot be split into that many heads. */
function headsOf(width: number, heads = HEADS.get(width) ?? width / HEAD_DIM): number {
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
  if (!patch || !positions || depth === 0) {
    throw new DataError(
      `${source}: not the weights of a vision transformer that is known here`,
      'Expected are the names of DINOv2 and its kin, CLIP or SigLIP (of the original code, Hugging Face or timm): patch_embed.proj, pos_embed, blocks.0.attn.qkv ...',
    );
  }
  const [width, , patchSize] = patch;
  const classToken = shapes.has('cls_token');
  const classPosition = classToken && squareSide(positions - 1) !== undefined;
  const side = squareSide(classPosition ? positions - 1 : positions);
  if (!side)
    throw new DataError(`${source}: the ${positions} position embeddings are not those of a square of patches`);
  const gated = shapes.has('blocks.0.mlp.w12.weight');
  return {
    width,
    depth,
    heads: headsOf(width, heads),
    patchSize,
    grid: { height: side, width: side },
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

/** Patches with their positions, behind the prefix tokens, normalised where the network does it: [B, P + T, D]. */
function embed(p: Parameters, config: ViTConfig, images: tf.Tensor): tf.Tensor {
  const positions = parameter(p, 'pos_embed');
  const ofPatches = config.classPosition ? tf.slice(positions, [0, 1, 0], [1, -1, -1]) : positions; // [1, T, D]
  const patches = tf.add(patchEmbed(p, 'patch_embed.proj', images), ofPatches); // [B, T, D]
  const prefix = prefixTokens(p, config);
  const tokens = prefix ? tf.concat([tf.tile(prefix, [images.shape[0], 1, 1]), patches], 1) : patches;
  return config.preNorm ? norm(p, 'norm_pre', tokens, config.epsilon) : tokens;
}

function block(p: Parameters, name: string, config: ViTConfig, x: tf.Tensor): tf.Tensor {
  const scaled = (layer: string, y: tf.Tensor): tf.Tensor =>
    config.layerScale ? tf.mul(y, parameter(p, `${name}.${layer}.gamma`)) : y;
  const feedForward = (y: tf.Tensor): tf.Tensor =>
    config.feedForward === 'swiglu' ? swiglu(p, `${name}.mlp`, y) : mlp(p, `${name}.mlp`, y, config.activation);
  const normalised = norm(p, `${name}.norm1`, x, config.epsilon); // [B, N, D]
  const attended = selfAttention(p, `${name}.attn`, normalised, { heads: config.heads });
  const mixed = tf.add(x, scaled('ls1', attended)); // [B, N, D]
  return tf.add(mixed, scaled('ls2', feedForward(norm(p, `${name}.norm2`, mixed, config.epsilon))));
}

export interface ViTOutput {
  /** [B, T, D], T row by row. */
  patchTokens: tf.Tensor;
  /** [B, D]; null where the network has no class token. */
  cls: tf.Tensor | null;
}

/** Features of normalised `images` [B, 3, H, W], whose grid of patches is `config.grid`, after the final norm where there is one. */
export function vit(p: Parameters, config: ViTConfig, images: tf.Tensor): ViTOutput {
  let tokens = embed(p, config, images); // [B, P + T, D]
  for (let i = 0; i < config.depth; i++) tokens = block(p, `blocks.${i}`, config, tokens);
  if (config.finalNorm) tokens = norm(p, 'norm', tokens, config.epsilon);
  const prefix = Number(config.classToken) + config.registers;
  const patchTokens = tf.slice(tokens, [0, prefix, 0], [-1, -1, -1]); // [B, T, D]
  const cls = config.classToken
    ? tf.squeeze(tf.slice(tokens, [0, 0, 0], [-1, 1, -1]), [1]) // [B, D]
    : null;
  return { patchTokens, cls };
}
