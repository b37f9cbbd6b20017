/** Options: the parts of a network besides its sizes, such as the kind of its norms: LightningDiT, JiT, DDT, SR-DiT. */
import type { TrainingPath } from '../diffusion/interpolant.js';
import { UsageError } from '../errors.js';
import { contextBlockOf } from '../models/design.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import { choice, flag, integer, parsed, ValueProblem } from '../options/option.js';
import { options, type Values } from '../options/table.js';

/** Reads `blocks x width x heads`, such as 2x2048x16. @throws ValueProblem */
function wideHead(value: string): NonNullable<TransformerConfig['head']> {
  const [, depth, hiddenSize, numHeads] = /^(\d+)x(\d+)x(\d+)$/.exec(value)?.map(Number) ?? [];
  if (depth > 0 && hiddenSize > 0 && numHeads > 0) return { depth, hiddenSize, numHeads };
  throw new ValueProblem('It takes blocks, width and heads, such as 2x2048x16.');
}

/** Reads `tokens of time + tokens of the class`, such as 4+8. @throws ValueProblem */
function conditionTokens(value: string): NonNullable<TransformerConfig['conditionTokens']> {
  const [, time, label] = /^(\d+)\+(\d+)$/.exec(value)?.map(Number) ?? [];
  if (time > 0 && label > 0) return { time, label };
  throw new ValueProblem('It takes how many of time and how many of the class, such as 4+8.');
}

export const DESIGN = options({
  qkNorm: flag('--qk-norm', 'normalise queries and keys'),
  qkNormKind: choice('--qk-norm-kind <kind>', 'by which norm', ['layer', 'rms'], {
    defaultText: 'as --norm',
    needs: 'qkNorm',
  }),
  norm: choice(
    '--norm <kind>',
    'layer norm, RMS norm with a scale (LightningDiT), or without one (SR-DiT)',
    ['layer', 'rms', 'rms-plain'],
    { default: 'layer' },
  ),
  feedForward: choice(
    '--feed-forward <kind>',
    'a perceptron with GELU, or a gated one (LightningDiT)',
    ['gelu', 'swiglu'],
    { default: 'gelu' },
  ),
  prediction: choice(
    '--prediction <what>',
    'the network predicts the velocity, or the clean data (JiT); the loss is that of velocities',
    ['velocity', 'data'],
    {
      default: 'velocity',
      onlyFor: 'SiT',
    },
  ),
  bottleneck: integer('--bottleneck <n>', 'patches go through a map of this width first (JiT: 128)', { min: 1 }),
  contextTokens: integer('--context-tokens <n>', 'tokens of the class that are put before the patches (JiT: 32)', {
    min: 1,
  }),
  contextBlock: integer('--context-block <n>', 'from which block on', {
    min: 1,
    defaultText: 'behind a third of the blocks',
    needs: 'contextTokens',
  }),
  conditionTokens: parsed(
    '--condition-tokens <n+m>',
    'tokens of time and of the class beside the patches, whose blocks are then not modulated (RAEv2: 4+8)',
    conditionTokens,
    { onlyFor: 'SiT', needs: 'wideHead' },
  ),
  timeEmbedding: choice(
    '--time-embedding <kind>',
    'sinusoids of fixed periods, or random Fourier features (RAE)',
    ['sinusoids', 'fourier'],
    {
      default: 'sinusoids',
      onlyFor: 'SiT',
    },
  ),
  wideHead: parsed(
    '--wide-head <sizes>',
    'wider blocks behind, modulated token by token (DDT): blocks x width x heads, in RAE 2x2048x16',
    wideHead,
    { onlyFor: 'SiT' },
  ),
  rotary: flag('--rotary', 'turn queries and keys with their position on the grid (LightningDiT)'),
  positions: choice(
    '--positions <kind>',
    'sines and cosines added to the patches, or none (SPRINT, with --rotary)',
    ['fixed', 'none'],
    { default: 'fixed' },
  ),
  valueResidual: flag(
    '--value-residual',
    "later blocks mix a learned share of the first block's values into theirs (SR-DiT)",
  ),
});

/**
 * The parts of a network of `depth` blocks that options name. @throws UsageError for a prediction that does not suit
 * the path
 */
export function settledDesign(
  options: Values<typeof DESIGN> & { path: TrainingPath },
  depth: number,
): Partial<TransformerConfig> {
  const { prediction, path, bottleneck, contextTokens, contextBlock, timeEmbedding, wideHead } = options;
  const { qkNormKind, positions, valueResidual, conditionTokens } = options;
  if (prediction === 'data' && path !== 'linear') {
    throw new UsageError(`--prediction data is for --path linear, not ${path}`);
  }
  return {
    qkNorm: options.qkNorm ?? false,
    norm: options.norm,
    feedForward: options.feedForward,
    rotary: options.rotary ?? false,
    ...(qkNormKind && { qkNormKind }),
    ...(positions === 'none' && { positions }),
    ...(valueResidual && { valueResidual }),
    ...(prediction === 'data' && { prediction }),
    ...(bottleneck !== undefined && { bottleneck }),
    ...(contextTokens !== undefined && {
      context: { tokens: contextTokens, block: contextBlock ?? contextBlockOf(depth) },
    }),
    ...(conditionTokens && { conditionTokens }),
    ...(timeEmbedding === 'fourier' && { timeEmbedding }),
    ...(wideHead && { head: wideHead }),
  };
}
