/** The sizes of SiT and DiT by their names, such as SiT-XL/2. */
import type { Architecture } from '../diffusion/samplers/sampler.js';
import { UsageError } from '../errors.js';
import type { NormKind } from '../nn/layers.js';
import { checkDesign, type Design, isPlain, RAE_2, WIDE_HEAD } from './design.js';

export type { Architecture };

export interface TransformerConfig extends Design {
  /** Side of the square latent, in latent pixels. */
  inputSize: number;
  patchSize: number;
  inChannels: number;
  outChannels: number;
  hiddenSize: number;
  depth: number;
  numHeads: number;
  mlpRatio: number;
  numClasses: number;
  /** Whether the label table has one more row, the null class, at the index `numClasses`. */
  nullClass: boolean;
  /** Whether queries and keys are normalised, by the kind of the other norms unless `qkNormKind` says otherwise. */
  qkNorm: boolean;
  /** Layer norm without parameters, RMS norm with a scale, or RMS norm without one. */
  norm: NormKind | 'rms-plain';
  /** A perceptron with GELU, or a gated one. */
  feedForward: 'gelu' | 'swiglu';
  /** Whether queries and keys are rotated by their position. */
  rotary: boolean;
  /** The block, 1..depth, whose tokens are aligned, or probed where no method aligns. */
  alignDepth: number;
  /** The original SiT runs from noise at t = 0 to data at t = 1, the other way round than here. */
  reversedTime: boolean;
  /** For an MM-DiT, which draws from text: the vectors of words that it takes in place of a class. */
  text?: { tokens: number; dim: number };
}

const SIZES = {
  S: { depth: 12, hiddenSize: 384, numHeads: 6 },
  B: { depth: 12, hiddenSize: 768, numHeads: 12 },
  L: { depth: 24, hiddenSize: 1024, numHeads: 16 },
  XL: { depth: 28, hiddenSize: 1152, numHeads: 16 },
} as const;

const PATCH_SIZES = [1, 2, 4, 8, 16, 32];

/** Width of a head where nothing says otherwise; XL has 72. */
const HEAD_DIM = 64;

/** The number of heads for a width: that of the published model of this width, else 64 wide each. */
export const headsOf = (hiddenSize: number): number =>
  [...Object.values(SIZES), WIDE_HEAD, RAE_2].find((size) => size.hiddenSize === hiddenSize)?.numHeads ??
  Math.max(1, Math.round(hiddenSize / HEAD_DIM));

/**
 * Block 8 of L and XL, 4 of the 12 blocks of B (REPA, table 2 and the recipes of the paper); a third of the depth of
 * others.
 */
export const alignDepthOf = (depth: number): number => Math.min(8, Math.max(1, Math.round(depth / 3)));

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
  const [, size, patch] = new RegExp(`^${family}-(\\w+)/(\\d+)$`).exec(name) ?? [];
  if (!size || !Object.hasOwn(SIZES, size) || !PATCH_SIZES.includes(Number(patch))) {
    throw new UsageError(
      `there is no model ${name}`,
      `Models are ${family}-S, ${family}-B, ${family}-L and ${family}-XL, with patches of /1, /2, /4, /8, /16 or /32: ${family}-XL/2.`,
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
    nullClass: true,
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
  if (!PATCH_SIZES.includes(config.patchSize) || !isPlain(config)) return undefined;
  return names.find((name) => {
    const { depth, hiddenSize, numHeads } = transformerConfig(family, name);
    return depth === config.depth && hiddenSize === config.hiddenSize && numHeads === config.numHeads;
  });
}

/** @throws UsageError if the sizes do not divide as the network needs. */
export function checkConfig(config: TransformerConfig): TransformerConfig {
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
  checkDesign(config);
  if (!Number.isInteger(alignDepth) || alignDepth < 1 || alignDepth > depth) {
    throw new UsageError(`there is no block ${alignDepth} to align: the model has blocks 1 to ${depth}`);
  }
  return config;
}

/** The kind of norms with parameters, which methods add, and which queries and keys have. */
export const affineNorm = ({ norm }: Pick<TransformerConfig, 'norm'>): NormKind => (norm === 'layer' ? 'layer' : 'rms');

/** T, the number of patches of an image. */
export const patchCount = ({ inputSize, patchSize }: TransformerConfig): number => (inputSize / patchSize) ** 2;

/** Units of a gated perceptron: 2/3 of what the ratio says, so that it has as many parameters as one without a gate. */
export const gatedUnits = (hiddenSize: number, ratio: number): number =>
  Math.trunc((2 / 3) * Math.trunc(hiddenSize * ratio));
