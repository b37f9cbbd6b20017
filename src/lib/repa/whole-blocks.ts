/** That no method needs all tokens of a block which some tokens skip. */
import { UsageError } from '../errors.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import type { ActiveMethod } from './method.js';

/** @throws UsageError for a method that needs all tokens of a block which only some of them pass */
export function checkWholeBlocks(active: readonly ActiveMethod[], model: TransformerConfig): void {
  const partial = active.flatMap(({ method, settings }) => method.partial?.(settings) ?? []);
  if ((model.context || model.conditionTokens) && partial.length > 0) {
    throw new UsageError(
      `${model.context ? '--context-tokens' : '--condition-tokens'} puts tokens of the class before the patches, which ${partial[0].option} would let skip blocks`,
      'Leave one of the two out.',
    );
  }
  const whole = active.flatMap(({ method, settings }) => method.whole?.(settings, model) ?? []);
  for (const { from, to, option: route, range } of partial) {
    for (const { option, blocks } of whole) {
      const inside = blocks.find((block) => from <= block && block <= to);
      if (inside === undefined) continue;
      throw new UsageError(
        `${option} needs all tokens of block ${inside}, which ${route} lets some skip`,
        `Blocks ${from} to ${to} see some only: change ${range}, or the block.`,
      );
    }
  }
}
