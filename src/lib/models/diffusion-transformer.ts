/**
 * The transformer inside DiT (arXiv 2212.09748) and SiT (arXiv 2401.08740): patches of noisy latents, blocks whose norms
 * are modulated by time and class (adaLN-Zero), and a linear map back to patches. Its variants are those of LightningDiT
 * (arXiv 2501.01423: RMS norm, gated perceptron, rotary positions), REG (arXiv 2507.01467: a class token that is
 * generated with the image) and SPRINT (arXiv 2510.21986: blocks that see part of the tokens).
 *
 * Parameters carry the names of the official code of each.
 */
import { checkpoint, tf } from '../engine/index.js';
import { timestepEmbedding } from '../nn/embeddings.js';
import { embedding, layerNorm, modulate, silu } from '../nn/functional.js';
import {
  dense,
  mlp,
  type NormKind,
  norm,
  type Parameters,
  parameter,
  patchEmbed,
  rmsNormed,
  selfAttention,
  swiglu,
  unpatchify,
} from '../nn/layers.js';
import { type RotaryAngles, rotaryAngles } from '../nn/rotary.js';
import { type BlockRange, joinTokens, keptAngles, partTokens, type TokenRoute } from './token-route.js';

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
  /** Width of the class token that is generated with the image; 0 for none. */
  classTokenDim: number;
  /** The blocks whose output is joined with their input; null for none. */
  fusion: BlockRange | null;
}

/** Width of the sinusoidal embedding of time, before its perceptron. */
export const TIME_EMBEDDING_DIM = 256;

const EPSILON = 1e-6;

/** Tokens of an image: patches, and the class token before them where there is one. */
export const tokenCount = ({ inputSize, patchSize, classTokenDim }: TransformerConfig): number =>
  (inputSize / patchSize) ** 2 + (classTokenDim ? 1 : 0);

/** The sum of the embeddings of time `t` [B] and class `y` [B], past the SiLU that every modulation starts with: [B, D]. */
function condition(p: Parameters, t: tf.Tensor, y: tf.Tensor): tf.Tensor {
  const sinusoids = timestepEmbedding(t, TIME_EMBEDDING_DIM); // [B, 256]
  const time = dense(p, 't_embedder.mlp.2', dense(p, 't_embedder.mlp.0', sinusoids), 'silu'); // [B, D]
  return silu(tf.add(time, embedding(parameter(p, 'y_embedder.embedding_table.weight'), y))); // [B, D]
}

/** The `count` modulation vectors that layer `name` draws from the condition `c`, each [B, 1, D]. */
function modulation(p: Parameters, name: string, c: tf.Tensor, count: number): tf.Tensor[] {
  const vectors = dense(p, `${name}.adaLN_modulation.1`, c); // [B, count * D]
  return tf.split(tf.expandDims(vectors, 1), count, 2);
}

/** The norm `name` before a modulation: `x` [B, T, D] to [B, T, D]. */
const normalised = (p: Parameters, name: string, { norm: kind }: TransformerConfig, x: tf.Tensor): tf.Tensor =>
  kind === 'rms' ? rmsNormed(p, name, x, EPSILON) : layerNorm(x, { epsilon: EPSILON });

/** Patches with their positions, behind the class token [B, Z] where there is one: [B, T, D]. */
function embedTokens(p: Parameters, config: TransformerConfig, x: tf.Tensor, classToken?: tf.Tensor): tf.Tensor {
  const patches = patchEmbed(p, 'x_embedder.proj', x); // [B, T, D]
  if (!config.classTokenDim) return tf.add(patches, parameter(p, 'pos_embed'));
  if (!classToken) throw new Error('the model generates a class token, but was given none');
  const normed = config.norm === 'rms' ? rmsNormed : norm;
  const token = normed(p, 'wg_norm', dense(p, 'cls_projectors2', classToken), EPSILON); // [B, D]
  return tf.add(tf.concat([tf.expandDims(token, 1), patches], 1), parameter(p, 'pos_embed')); // [B, 1 + T, D]
}

/** One block: `x` [B, T, D] to [B, T, D], modulated by the condition `c` [B, D]. */
function block(
  p: Parameters,
  name: string,
  config: TransformerConfig,
  x: tf.Tensor,
  c: tf.Tensor,
  rotary?: RotaryAngles,
): tf.Tensor {
  const [shiftA, scaleA, gateA, shiftM, scaleM, gateM] = modulation(p, name, c, 6); // each [B, 1, D]
  const attended = selfAttention(
    p,
    `${name}.attn`,
    modulate(normalised(p, `${name}.norm1`, config, x), shiftA, scaleA),
    { heads: config.numHeads, qkNorm: config.qkNorm ? (config.norm ?? 'layer') : null, rotary },
  );
  const mixed = tf.add(x, tf.mul(gateA, attended)); // [B, T, D]
  const input = modulate(normalised(p, `${name}.norm2`, config, mixed), shiftM, scaleM);
  const transformed =
    config.feedForward === 'swiglu' ? swiglu(p, `${name}.mlp`, input) : mlp(p, `${name}.mlp`, input, 'tanh');
  return tf.add(mixed, tf.mul(gateM, transformed));
}

/** The same block, computed again in the backward pass instead of kept for it. */
const checkpointedBlock: typeof block = (p, name, config, x, c, rotary) => {
  const names = Object.keys(p).filter((key) => key.startsWith(`${name}.`));
  const run = (x: tf.Tensor, c: tf.Tensor, ...weights: tf.Tensor[]) =>
    block(Object.fromEntries(names.map((key, i) => [key, weights[i]])), name, config, x, c, rotary);
  return checkpoint(run as (...inputs: tf.Tensor[]) => tf.Tensor, [x, c, ...names.map((key) => p[key])]);
};

/**
 * What comes out of the middle blocks joined with what went in (SPRINT): the sum of two linear maps. Tokens that skipped
 * the blocks, and all of an image whose path was dropped, are the mask token on the middle's side.
 * @param entered [B, T, D]
 * @param left [B, K, D] of a route, else [B, T, D]
 */
function fuse(
  p: Parameters,
  entered: tf.Tensor,
  left: tf.Tensor,
  { route, pathKept }: Pick<TransformerOptions, 'route' | 'pathKept'>,
): tf.Tensor {
  const mask = parameter(p, 'mask_token'); // [1, 1, D]
  const [batch, tokens] = entered.shape;
  let middle = route ? joinTokens(left, tf.tile(mask, [batch, tokens! - route.kept, 1]), route) : left; // [B, T, D]
  if (pathKept) middle = tf.add(mask, tf.mul(tf.reshape(pathKept, [batch, 1, 1]), tf.sub(middle, mask)));
  return dense(p, 'fusion_proj', tf.concat([entered, middle], 2)); // [B, T, D]
}

/**
 * The modulated linear map from tokens to patches: `x` [B, T, D] to [B, T, patch * patch * outChannels], and to the class
 * token [B, Z] where there is one.
 */
function finalLayer(
  p: Parameters,
  config: TransformerConfig,
  x: tf.Tensor,
  c: tf.Tensor,
): { patches: tf.Tensor; classToken?: tf.Tensor } {
  const [shift, scale] = modulation(p, 'final_layer', c, 2); // each [B, 1, D]
  const tokens = modulate(normalised(p, 'final_layer.norm_final', config, x), shift, scale); // [B, T, D]
  if (!config.classTokenDim) return { patches: dense(p, 'final_layer.linear', tokens) };
  const [first, others] = tf.split(tokens, [1, x.shape[1]! - 1], 1);
  return {
    patches: dense(p, 'final_layer.linear', others),
    classToken: dense(p, 'final_layer.linear_cls', tf.squeeze(first, [1])), // [B, Z]
  };
}

export interface TransformerOptions {
  /** How many blocks, from the first, are computed again in the backward pass, which saves memory. */
  checkpointBlocks?: number;
  /** The noisy class token [B, Z] of a model that generates one. */
  classToken?: tf.Tensor;
  /** In training: tokens that skip blocks; those of the fusion where the model has one. */
  route?: TokenRoute;
  /** In training of a model with fusion: 1 for images whose middle blocks count, 0 for those without; [B]. */
  pathKept?: tf.Tensor;
}

export interface TransformerOutput {
  /** [B, outChannels, H, W] */
  output: tf.Tensor;
  /** [B, Z] where the model generates one. */
  classToken?: tf.Tensor;
  /** The tokens after each block, [B, T, D], or [B, K, D] where some skipped it; block number n of 1..depth is at n - 1. */
  hidden: tf.Tensor[];
}

/**
 * The forward pass.
 *
 * @param x noisy latents [B, C, H, W].
 * @param t times [B], embedded unscaled.
 * @param y classes [B] int32; `config.numClasses` is the null class.
 */
export function diffusionTransformer(
  p: Parameters,
  config: TransformerConfig,
  x: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
  { checkpointBlocks = 0, classToken, route, pathKept }: TransformerOptions = {},
): TransformerOutput {
  const c = condition(p, t, y); // [B, D]
  const middle = config.fusion ?? route?.blocks;
  const allAngles = config.rotary ? gridAngles(config) : undefined;
  let angles = allAngles;
  let tokens = embedTokens(p, config, x, classToken); // [B, T, D]
  let entered = tokens;
  let skipping: tf.Tensor | undefined; // [B, T - K, D]
  const hidden: tf.Tensor[] = [];
  for (let number = 1; number <= config.depth; number++) {
    if (number === middle?.from) {
      entered = tokens;
      if (route) {
        [tokens, skipping] = partTokens(entered, route);
        angles = allAngles && keptAngles(allAngles, route);
      }
    }
    const run = number <= checkpointBlocks ? checkpointedBlock : block;
    tokens = run(p, `blocks.${number - 1}`, config, tokens, c, angles);
    hidden.push(tokens);
    if (number === middle?.to) {
      if (config.fusion) tokens = fuse(p, entered, tokens, { route, pathKept });
      else if (route && skipping) tokens = joinTokens(tokens, skipping, route);
      angles = allAngles;
    }
  }
  const last = finalLayer(p, config, tokens, c);
  return {
    output: unpatchify(last.patches, config.patchSize, config.outChannels),
    classToken: last.classToken,
    hidden,
  };
}

const gridAngles = ({ inputSize, patchSize, hiddenSize, numHeads, classTokenDim }: TransformerConfig): RotaryAngles =>
  rotaryAngles(inputSize / patchSize, hiddenSize / numHeads, classTokenDim ? 1 : 0);
