/** Names and sizes of diffusion transformers, and what their weights tell about their architecture. */
import { DataError, UsageError } from '../errors.js';
import type { TransformerConfig } from './diffusion-transformer.js';
import { countLayers, type Shapes } from './parameters.js';
import type { BlockRange } from './token-route.js';

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

/**
 * The architecture called `name`, such as `SiT-XL/2` or `DiT-B/4`, for 32 x 32 latents of 4 channels and 1000 classes
 * except where `overrides` says otherwise. Heads follow an overridden width.
 *
 * @throws UsageError if `family` has no such model, or the sizes do not divide.
 */
export function transformerConfig(
  family: 'SiT' | 'DiT',
  name: string,
  overrides: Partial<TransformerConfig> = {},
): TransformerConfig {
  const [, size, patch] = new RegExp(`^${family}-(\\w+)/(\\d)$`).exec(name) ?? [];
  if (!size || !(size in SIZES) || !PATCH_SIZES.includes(Number(patch))) {
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
    outChannels: inChannels,
    depth,
    hiddenSize,
    numHeads: overrides.hiddenSize ? headsOf(overrides.hiddenSize) : numHeads,
    mlpRatio: 4,
    numClasses: 1000,
    qkNorm: false,
    norm: 'layer',
    feedForward: 'gelu',
    rotary: false,
    classTokenDim: 0,
    fusion: null,
    ...overrides,
  });
}

/** The name of the published model of these sizes, such as `SiT-XL/2`; undefined if there is none. */
export function publishedName(family: 'SiT' | 'DiT', config: TransformerConfig): string | undefined {
  const names = Object.keys(SIZES).map((size) => `${family}-${size}/${config.patchSize}`);
  if (!PATCH_SIZES.includes(config.patchSize)) return undefined;
  return names.find((name) => {
    const { depth, hiddenSize, numHeads } = transformerConfig(family, name);
    return depth === config.depth && hiddenSize === config.hiddenSize && numHeads === config.numHeads;
  });
}

/** @throws UsageError if the sizes do not divide as the network needs. */
function checkConfig<Config extends TransformerConfig>(config: Config): Config {
  const { inputSize, patchSize, hiddenSize, numHeads, depth, rotary, fusion } = config;
  if (inputSize % patchSize !== 0) {
    throw new UsageError(`patches of ${patchSize} do not tile latents of ${inputSize} x ${inputSize}`);
  }
  if (hiddenSize % numHeads !== 0)
    throw new UsageError(`a width of ${hiddenSize} cannot be split into ${numHeads} heads`);
  if (hiddenSize % 4 !== 0) throw new UsageError(`the width must be a multiple of 4, ${hiddenSize} is not`);
  if (rotary && (hiddenSize / numHeads) % 4 !== 0) {
    throw new UsageError(`rotary positions need heads whose width is a multiple of 4, not ${hiddenSize / numHeads}`);
  }
  if (fusion && !(fusion.from >= 2 && fusion.from <= fusion.to && fusion.to < depth)) {
    throw new UsageError(`blocks ${fusion.from} to ${fusion.to} are not the middle of the model's ${depth}`);
  }
  return config;
}

/** The middle of SPRINT: all but two blocks at either end (its paper's split). */
export const defaultFusion = (depth: number): BlockRange => ({ from: 3, to: depth - 2 });

/**
 * The ratio of a gated perceptron's width: its hidden layer has 2/3 of the units that the ratio says, rounded down.
 */
const gatedRatio = (inner: number, hiddenSize: number): number => Math.ceil(1.5 * inner) / hiddenSize;

/**
 * The architecture that a state dict of a DiT or SiT holds. The number of heads is not in the shapes (except with
 * qk-norm): it is that of the published model of this width, or `known`'s, as are whether positions are rotary and which
 * blocks are fused.
 *
 * @throws DataError if the names are not those of such a network.
 */
export function inferTransformerConfig(
  shapes: Shapes,
  source: string,
  known: Partial<TransformerConfig> = {},
): TransformerConfig {
  const shapeOf = (name: string): readonly number[] => {
    const entry = shapes.get(name);
    if (entry) return entry.shape;
    throw new DataError(`${source}: not the weights of a SiT or DiT: ${name} is missing`);
  };
  const [hiddenSize, inChannels, patchSize] = shapeOf('x_embedder.proj.weight');
  const [, tokens] = shapeOf('pos_embed');
  const headDim = shapes.get('blocks.0.attn.q_norm.weight')?.shape[0];
  const classTokenDim = shapes.get('cls_projectors2.weight')?.shape[1] ?? 0;
  const gated = shapes.has('blocks.0.mlp.w3.weight');
  const depth = countLayers(shapes, 'blocks.', 'attn.qkv.weight');
  return checkConfig({
    inputSize: Math.sqrt(classTokenDim ? tokens - 1 : tokens) * patchSize,
    patchSize,
    inChannels,
    outChannels: shapeOf('final_layer.linear.bias')[0] / patchSize ** 2,
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
    classTokenDim,
    fusion: shapes.has('fusion_proj.weight') ? (known.fusion ?? defaultFusion(depth)) : null,
  });
}
