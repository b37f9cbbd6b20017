/**
 * DiT (arXiv 2212.09748) and SiT (arXiv 2401.08740): patches of noisy latents, blocks whose norms are modulated by time
 * and class (adaLN-Zero), and a linear map back to patches. One transformer with two heads: SiT's output is a velocity,
 * DiT's the noise and its variance. A block may also be LightningDiT's (arXiv 2501.01423): RMS norm, a gated
 * perceptron, rotary positions, normalised queries and keys.
 *
 * Parameters carry the names of the official code. Shapes: B images of T tokens of width D.
 */
import { velocityOfData } from '../diffusion/prediction.js';
import { tf } from '../engine/index.js';
import { dense, type Parameters, parameter, unpatchify } from '../nn/layers.js';
import { checkpointedBlock } from './checkpointed-block.js';
import {
  contextPassages,
  contextPlan,
  gridAngles,
  headConfig,
  headPlan,
  lastTokens,
  splitFirst,
} from './dit-designs.js';
import { block, blockName, blockPlan, condition, conditionPlan, finalPlan, finalTokens } from './dit-parts.js';
import { patchCount, type TransformerConfig } from './dit-sizes.js';
import type { Passage, Stream } from './passage.js';
import { patchesPlan, patchTokens } from './patches.js';
import type { ParameterPlan, PlannedParameter } from './start.js';
import { valuesOfFirst } from './value-residual.js';

const FINAL = 'final_layer';

/**
 * Every parameter, in the order of the official state dict.
 * @param added parameters of methods: they follow the blocks or, with names of the final layer, that layer's map
 * @param prefix how many tokens stand before the patches
 */
export function transformerParameters(
  config: TransformerConfig,
  added: readonly PlannedParameter[] = [],
  prefix = 0,
): Map<string, ParameterPlan> {
  const { hiddenSize, depth, context, head } = config;
  const [entry, behind] = headPlan(config);
  const isFinal = ([name]: PlannedParameter): boolean => name.startsWith(`${FINAL}.`);
  const positions: PlannedParameter = [
    'pos_embed',
    { shape: [1, prefix + patchCount(config), hiddenSize], start: 'positions' },
  ];
  return new Map([
    ...(config.positions === 'none' ? [] : [positions]),
    ...(context ? [contextPlan(context.tokens, hiddenSize)] : []),
    ...patchesPlan(head ? 's_embedder' : 'x_embedder', config),
    ...entry,
    ...conditionPlan(config),
    ...Array.from({ length: depth }, (_, i) => blockPlan(i + 1, config)).flat(),
    ...behind,
    ...added.filter((each) => !isFinal(each)),
    ...finalPlan(FINAL, headConfig(config) ?? config, added.filter(isFinal)),
  ]);
}

/** The places where methods meet the network. */
export interface Seams {
  /**
   * Tokens before the patches, [B, P, D]: positions are added to them too, and the output has them after the blocks.
   */
  prefix?: tf.Tensor;
  /** Passages, entered in this order and left in the reverse order. */
  passages?: readonly Passage[];
  /** How many blocks, from the first, are computed again in the backward pass, which saves memory. */
  checkpointBlocks?: number;
}

export interface TransformerOutput {
  /** [B, outChannels, H, W] */
  output: tf.Tensor;
  /** The prefix after the modulation of the final layer, [B, P, D]. */
  prefix?: tf.Tensor;
  /** The tokens after each block, [B, T, D], or fewer where some skipped it; block number n of 1..depth is at n - 1. */
  hidden: tf.Tensor[];
  /** The vector that modulates every block, [B, D]; where tokens hold the condition, the embedding of time. */
  condition: tf.Tensor;
}

/**
 * The forward pass.
 *
 * @param x noisy latents [B, C, H, W].
 * @param t times [B], or [B, T] of each patch, embedded unscaled.
 * @param y classes [B] int32; `config.numClasses` is the null class, where there is one.
 */
export function transformer(
  p: Parameters,
  config: TransformerConfig,
  x: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
  { prefix, passages: given = [], checkpointBlocks = 0 }: Seams = {},
): TransformerOutput {
  const c = condition(p, config, t, y);
  const patches = patchTokens(p, config.head ? 's_embedder' : 'x_embedder', config, x); // [B, T, D]
  const all = prefix ? tf.concat([prefix, patches], 1) : patches; // [B, P + T, D]
  let stream: Stream = {
    tokens: config.positions === 'none' ? all : tf.add(all, parameter(p, 'pos_embed')), // [B, P + T, D]
    angles: config.rotary ? gridAngles(config, prefix?.shape[1]) : undefined,
  };
  const passages = [...contextPassages(p, config, c, prefix?.shape[1]), ...given];
  const leaving = passages.toReversed();
  const firstValues = valuesOfFirst(config, passages);
  const hidden: tf.Tensor[] = [];

  for (let number = 1; number <= config.depth; number++) {
    stream = passages.reduce((each, passage) => passage.enter?.(each, number) ?? each, stream);
    if (!passages.some((passage) => passage.skips?.(number))) {
      const inputs = { rotary: stream.angles, ...firstValues?.(number) };
      const run = number <= checkpointBlocks && !inputs.keep ? checkpointedBlock : block;
      const tokens = run(p, blockName(number), config, stream.tokens, c.modulating, inputs); // [B, K + P + T, D]
      stream = { ...stream, tokens };
    }
    hidden.push(passages.reduce((each, passage) => passage.shown?.(each, number) ?? each, stream.tokens)); // [B, P + T, D]
    stream = leaving.reduce((each, passage) => passage.leave?.(each, number) ?? each, stream);
  }
  const last = lastTokens(p, config, x, stream.tokens, c);
  const final = finalTokens(p, FINAL, last.config, last.tokens, last.modulating); // [B, P + T, D]
  const [before, others] = prefix ? splitFirst(final, prefix.shape[1]!) : [undefined, final]; // [B, P, D], [B, T, D]
  const pixels = dense(p, `${FINAL}.linear`, others); // [B, T, patch * patch * outChannels]
  const output = unpatchify(pixels, config.patchSize, config.outChannels); // [B, outChannels, H, W]
  return { output, prefix: before, hidden, condition: c.modulating };
}

/**
 * SiT's head: dx/dt, [B, C, H, W], of noisy latents at times `t` [B], 0 = data, 1 = noise. Arguments as `transformer`.
 */
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
  const own = outChannels === inChannels ? output : tf.slice(output, [0, 0, 0, 0], [-1, inChannels, -1, -1]);
  return { output: toVelocity(config, own, xT, t), ...others };
}

/** The velocity of the data or the velocity that a SiT predicts, [B, C, H, W], in its own direction of time. */
export function toVelocity(
  { prediction, reversedTime }: TransformerConfig,
  predicted: tf.Tensor,
  xT: tf.Tensor,
  t: tf.Tensor,
): tf.Tensor {
  if (prediction === 'data') return velocityOfData(xT, predicted, t);
  return reversedTime ? tf.neg(predicted) : predicted;
}

/**
 * DiT's head: the noise, then where the log variance lies between its bounds, from -1 to 1, [B, 2C, H, W], of noisy
 * latents at steps `t` [B], f32 of 0..999 of the process of 1000 steps. Arguments as `transformer`.
 */
export const dit = transformer;
