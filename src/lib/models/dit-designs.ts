/**
 * Parts that other designs add to the transformer: tokens of the class (JiT, arXiv 2511.13720), tokens of time and
 * class (RAEv2, arXiv 2605.18324), a wide head (DDT, arXiv 2504.05741). Shapes: B images of T tokens of width D.
 */
import { tf } from '../engine/index.js';
import { silu } from '../nn/functional.js';
import { dense, type Parameters, parameter } from '../nn/layers.js';
import { type RotaryAngles, rotaryAngles } from '../nn/rotary.js';
import { block, blockName, blockPlan, type Condition } from './dit-parts.js';
import type { TransformerConfig } from './dit-sizes.js';
import type { Passage, Stream } from './passage.js';
import { patchesPlan, patchTokens } from './patches.js';
import { linearPlan, type PlannedParameter } from './start.js';

export const contextPlan = (tokens: number, hiddenSize: number): PlannedParameter => [
  'in_context_posemb',
  { shape: [1, tokens, hiddenSize], start: 'normal' },
];

/** The class `label` [B, D] as the tokens of the context, [B, K, D]. */
export const contextTokens = (p: Parameters, label: tf.Tensor): tf.Tensor =>
  tf.add(tf.expandDims(label, 1), parameter(p, 'in_context_posemb'));

/** Time and class, [B, D] each, as tokens of the context, [B, K, D]: each added to learned ones. */
const conditionTokens = (p: Parameters, { time, label }: Pick<Condition, 'time' | 'label'>): tf.Tensor =>
  tf.concat(
    [
      tf.add(tf.expandDims(time, 1), parameter(p, 't_embedder.learnable_tokens')),
      tf.add(tf.expandDims(label, 1), parameter(p, 'y_embedder.learnable_tokens')),
    ],
    1,
  );

/** The stream with the tokens of a `context` [B, K, D] before it, to which no rotation is applied. */
export function withContext(
  config: TransformerConfig,
  { tokens, angles }: Stream,
  context: tf.Tensor,
  prefix = 0,
): Stream {
  return {
    tokens: tf.concat([context, tokens], 1), // [B, K + P + T, D]
    angles: angles && gridAngles(config, context.shape[1]! + prefix),
  };
}

/**
 * The passage that puts tokens of the class, or of time and class, before the others from one block on; none without.
 */
export function contextPassages(
  p: Parameters,
  config: TransformerConfig,
  c: Pick<Condition, 'time' | 'label'>,
  prefix = 0,
): Passage[] {
  const { context, conditionTokens: counts, depth } = config;
  const count = context?.tokens ?? (counts ? counts.time + counts.label : 0);
  if (count === 0) return [];
  const first = context?.block ?? 1;
  const tokensOf = () => (context ? contextTokens(p, c.label) : conditionTokens(p, c)); // [B, K, D]
  const without = (tokens: tf.Tensor): tf.Tensor => splitFirst(tokens, count)[1]; // [B, P + T, D]
  return [
    {
      enter: (stream, block) => (block === first ? withContext(config, stream, tokensOf(), prefix) : stream),
      shown: (tokens, block) => (block >= first ? without(tokens) : tokens),
      leave: (stream, block) => (block === depth ? { ...stream, tokens: without(stream.tokens) } : stream),
    },
  ];
}

/** The sizes of the wide head; undefined where there is none. */
export const headConfig = ({ head, conditionTokens: _, ...config }: TransformerConfig): TransformerConfig | undefined =>
  head && { ...config, ...head };

/** The parameters of the wide head: of its entry, which precede those of the other blocks, and of its blocks. */
export function headPlan(config: TransformerConfig): [entry: PlannedParameter[], blocks: PlannedParameter[]] {
  const { hiddenSize, depth } = config;
  const wide = headConfig(config);
  if (!wide) return [[], []];
  const projects = wide.hiddenSize !== hiddenSize;
  return [
    [
      ...patchesPlan('x_embedder', wide),
      ...(projects ? linearPlan('s_projector', wide.hiddenSize, hiddenSize, 'xavier') : []),
    ],
    Array.from({ length: wide.depth }, (_, i) => blockPlan(depth + i + 1, wide)).flat(),
  ];
}

/** What the final layer reads, and its sizes. */
interface Last {
  config: TransformerConfig;
  tokens: tf.Tensor; // [B, T, W]
  modulating: tf.Tensor; // [B, W] or [B, T, W]
}

/**
 * The tokens for the final layer. With a wide head they are the patches of `x` [B, C, H, W] through its blocks, which
 * are modulated token by token by the `tokens` [B, T, D] of the other blocks and the embedding of time [B, D].
 */
export function lastTokens(
  p: Parameters,
  config: TransformerConfig,
  x: tf.Tensor,
  tokens: tf.Tensor,
  { time, modulating: c }: Pick<Condition, 'time' | 'modulating'>,
): Last {
  const wide = headConfig(config);
  if (!wide) return { config, tokens, modulating: c };
  const seen = silu(tf.add(tf.expandDims(time, 1), tokens)); // [B, T, D]
  const projected = wide.hiddenSize === config.hiddenSize ? seen : dense(p, 's_projector', seen); // [B, T, W]
  const modulating = silu(projected); // [B, T, W]
  const angles = wide.rotary ? gridAngles(wide) : undefined;
  let own = patchTokens(p, 'x_embedder', wide, x); // [B, T, W]
  for (let i = 0; i < wide.depth; i++) {
    own = block(p, blockName(config.depth + i + 1), wide, own, modulating, { rotary: angles }); // [B, T, W]
  }
  return { config: wide, tokens: own, modulating };
}

/** The first `count` tokens, and the others. */
export const splitFirst = (tokens: tf.Tensor, count: number): tf.Tensor[] =>
  tf.split(tokens, [count, tokens.shape[1]! - count], 1);

export const gridAngles = (
  { inputSize, patchSize, hiddenSize, numHeads }: TransformerConfig,
  prefix = 0,
): RotaryAngles => rotaryAngles(inputSize / patchSize, hiddenSize / numHeads, prefix);
