/**
 * Path-drop guidance (SPRINT, arXiv 2510.21986): away from the prediction without label and without the middle blocks.
 */
import { UsageError } from '../errors.js';
import { hasWeakened } from '../repa/weaker.js';
import type { RunRecord } from '../training/record.js';
import type { SamplerOptions } from './options.js';

/** Whether it was asked for. @throws UsageError for a network that cannot do without its middle blocks */
export function settlePathDrop({ pathDropGuidance }: SamplerOptions, record: RunRecord, source: string): boolean {
  if (pathDropGuidance && !hasWeakened(record)) {
    throw new UsageError(
      `--path-drop-guidance: ${source} has no middle blocks that can be left out`,
      'Train one with --fusion --path-drop 0.1, or --preset sprint.',
    );
  }
  return pathDropGuidance ?? false;
}
