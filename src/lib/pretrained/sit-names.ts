/** Names of SiT and DiT checkpoints, older and wrapped ones, into those of the official code today. */
import { unwrapped } from './rename.js';

const LANDMARKS = ['x_embedder.proj.weight'];

/**
 * A state dict of SiT or DiT under today's names. Checkpoints from before REPA's release split the blocks in two lists:
 * `decoder_blocks.i` follows the last of `blocks`.
 */
export function toSiTNames<T>(weights: ReadonlyMap<string, T>): Map<string, T> {
  const own = unwrapped(weights, LANDMARKS);
  const blocks = [...own.keys()].map((name) => Number(/^blocks\.(\d+)\./.exec(name)?.[1] ?? -1));
  const first = Math.max(...blocks) + 1;
  return new Map(
    [...own].map(([name, weight]) => [
      name.replace(/^decoder_blocks\.(\d+)\./, (_, block) => `blocks.${first + Number(block)}.`),
      weight,
    ]),
  );
}
