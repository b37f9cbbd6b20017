/** Which blocks a method looks at: where no option says so, those at the same share of the depth as in its paper. */
import { tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { patchCount, type TransformerConfig } from '../models/dit-sizes.js';

/** The number of the block at a share of the depth, counted from 1. */
export const blockAt = (share: number, depth: number): number =>
  Math.max(1, Math.min(depth, Math.round(share * depth)));

/**
 * A block and the later block that teaches it: by default the aligned block, and the one at `teacherShare` of the
 * depth.
 * @throws UsageError for blocks that the model does not have
 */
export function studentAndTeacher(
  option: string,
  given: readonly [number, number] | undefined,
  { depth, alignDepth }: TransformerConfig,
  teacherShare: number,
): { block: number; teacher: number } {
  const later = Math.max(2, blockAt(teacherShare, depth));
  const [block, teacher] = given ?? [Math.min(alignDepth, later - 1), later];
  if (block >= 1 && block < teacher && teacher <= depth) return { block, teacher };
  throw new UsageError(
    `${option} ${block},${teacher}: an earlier block follows a later one of the model's ${depth}`,
    'Name both, such as 4,8.',
  );
}

/** @throws UsageError for a block that the model does not have */
export function knownBlock(option: string, block: number, depth: number): number {
  if (block >= 1 && block <= depth) return block;
  throw new UsageError(`${option} ${block}: the model has blocks 1 to ${depth}`);
}

/** The tokens of the patches, [B, T, D], out of all tokens [B, P + T, D]. */
export function ofPatches(tokens: tf.Tensor, model: TransformerConfig): tf.Tensor {
  const before = tokens.shape[1]! - patchCount(model);
  return before === 0 ? tokens : tf.slice(tokens, [0, before, 0], [-1, -1, -1]);
}

/** @throws UsageError for an option that compares images with each other when only one is computed at a time */
export function checkComparison(option: string, rows: number): void {
  if (rows > 1) return;
  throw new UsageError(
    `${option} compares the images that are computed together, but only one is`,
    'Raise --micro-batch.',
  );
}
