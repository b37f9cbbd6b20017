/** Parts that some networks have and SiT and DiT have not. */
import { UsageError } from '../errors.js';
import type { NormKind } from '../nn/layers.js';

/** A part that a network does not have is absent. */
export interface Design {
  qkNormKind?: NormKind;
  /** Set where no sines and cosines of their positions are added to the patches. */
  positions?: 'none';
  /** Later blocks mix a learned share of the first block's values into theirs (arXiv 2410.17897). */
  valueResidual?: boolean;
  /** Set where the output is the clean data, from which the velocity follows; else it is the velocity. */
  prediction?: 'data';
  /** Patches go through a map of this width first (JiT, arXiv 2511.13720). */
  bottleneck?: number;
  /** Copies of the class's embedding, each with a learned position, before the patches from this block on (JiT). */
  context?: { tokens: number; block: number };
  /**
   * How many tokens of time and of the class stand beside the patches, in place of the modulation of the blocks before
   * a wide head (RAEv2, arXiv 2605.18324).
   */
  conditionTokens?: { time: number; label: number };
  /** Set where time is embedded by random Fourier features, in place of sinusoids of fixed periods. */
  timeEmbedding?: 'fourier';
  /**
   * Wider blocks after the others, which read the noisy patches again and are modulated by the tokens of the others
   * (DDT, arXiv 2504.05741).
   */
  head?: { depth: number; hiddenSize: number; numHeads: number };
  /**
   * How far the last channels are ahead of the others on the way from noise to data, and how many (SFD, 2512.04926).
   */
  lead?: { by: number; channels: number };
}

/** Whether a network is a published SiT or DiT, apart from its kinds of norms, perceptrons and positions. */
export const isPlain = (design: Design): boolean =>
  (['prediction', 'bottleneck', 'context', 'conditionTokens', 'timeEmbedding', 'head', 'lead'] as const).every(
    (part) => design[part] === undefined,
  );

/** The wide head of RAE's DiT^DH (arXiv 2510.11690, section 5). */
export const WIDE_HEAD = { depth: 2, hiddenSize: 2048, numHeads: 16 } as const;

/** The blocks before it in RAEv2 (arXiv 2605.18324; its published configuration). */
export const RAE_2 = { hiddenSize: 1440, numHeads: 20 } as const;

/** Published: JiT's class tokens enter at block 5 of 12, 9 of 24 and 11 of 32. */
export const contextBlockOf = (depth: number): number => 1 + Math.min(Math.round(depth / 3), 10);

/** @throws UsageError for parts that do not go together */
export function checkDesign({
  depth,
  rotary,
  positions,
  valueResidual,
  context,
  conditionTokens,
  head,
}: Design & { depth: number; rotary: boolean }): void {
  if (positions === 'none' && !rotary) {
    throw new UsageError(
      '--positions none without --rotary: nothing would tell patches where they are',
      'Add --rotary.',
    );
  }
  if (valueResidual && (context || head)) {
    throw new UsageError(
      `--value-residual does not go with ${context ? '--context-tokens' : '--wide-head'}: its blocks see other tokens than the first`,
      'Drop one of them.',
    );
  }
  if (context && (context.block < 1 || context.block > depth)) {
    throw new UsageError(
      `there is no block ${context.block} for class tokens to enter: the model has blocks 1 to ${depth}`,
    );
  }
  if (conditionTokens && (!head || context)) {
    throw new UsageError(
      head
        ? '--condition-tokens and --context-tokens both put tokens of the class before the patches'
        : '--condition-tokens without --wide-head: nothing behind the blocks would know the time',
      head ? 'Drop one of them.' : 'Add --wide-head 2x2048x16, or take --preset rae-2.',
    );
  }
  if (!head) return;
  const headDim = head.hiddenSize / head.numHeads;
  if (!Number.isInteger(headDim) || (rotary && headDim % 4 !== 0)) {
    throw new UsageError(`a wide head of ${head.hiddenSize} cannot be split into ${head.numHeads} attention heads`);
  }
}
