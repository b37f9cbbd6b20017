/** What the options of `repa train` ask of tokens that skip blocks. */

import type { AlignmentSettings } from '../align/settings.js';
import { UsageError } from '../errors.js';
import type { AlignedConfig } from '../models/alignment.js';
import { type BlockRange, inRange } from '../models/token-route.js';
import type { BlockPair } from './alignment-options.js';
import { checkNeeds } from './option-needs.js';

export interface RouteOptions {
  route: number;
  fusion?: true;
  middleBlocks?: BlockPair;
  pathDrop: number;
}

/** Which tokens see which blocks in training. */
export interface RouteSettings {
  /** The share of an image's tokens that skip the blocks. */
  share: number;
  blocks: BlockRange;
}

/**
 * The middle of a model of `depth` blocks: of TREAD all but the first two and the last four of 28 and in proportion, of
 * SPRINT all but two at either end; null where no option asks for it.
 * @throws UsageError when there are no such blocks
 */
export function middleBlocks(options: RouteOptions, depth: number): BlockRange | null {
  const { fusion, middleBlocks } = options;
  checkNeeds([
    ['--middle-blocks', middleBlocks !== undefined, '--route or --fusion', options.route > 0 || fusion === true],
    ['--path-drop', options.pathDrop > 0, '--fusion', fusion === true],
  ]);
  if (options.route === 0 && !fusion) return null;
  const ends = fusion ? [2, 2] : [Math.max(1, Math.round((2 * depth) / 28)), Math.max(1, Math.round((4 * depth) / 28))];
  const [from, to] = middleBlocks ?? [ends[0] + 1, depth - ends[1]];
  if (from >= 2 && from <= to && to < depth) return { from, to };
  throw new UsageError(
    `--middle-blocks ${from},${to}: not blocks in the middle of the model's ${depth}`,
    'The first and the last block see all tokens: name others, such as 3,10 of 12.',
  );
}

/**
 * @throws UsageError for terms on tokens that skip blocks: they would compare different tokens
 */
export function routeSettings(
  options: RouteOptions,
  blocks: BlockRange | null,
  model: AlignedConfig,
  terms: AlignmentSettings,
): RouteSettings | null {
  if (options.route === 0 || !blocks) return null;
  const { layerSync, dispersive, selfAlignment } = terms;
  const used = {
    '--layer-sync': [layerSync?.block, layerSync?.teacher],
    '--dispersive': [dispersive?.block],
    '--sra': [selfAlignment?.block],
    '--projector conv': model.projector === 'conv' ? [model.alignDepth] : [],
  };
  for (const [option, numbers] of Object.entries(used)) {
    const inside = numbers.find((block) => block !== undefined && inRange(blocks, block));
    if (inside === undefined) continue;
    throw new UsageError(
      `${option} needs all tokens of block ${inside}, which --route lets some skip`,
      `Blocks ${blocks.from} to ${blocks.to} see some only: change --middle-blocks, or the block.`,
    );
  }
  return { share: options.route, blocks };
}
