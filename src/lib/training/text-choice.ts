/** The network that draws from text, as the options of a run name it. */
import { UsageError } from '../errors.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import { type MmditConfig, mmditConfig } from '../models/mmdit.js';
import { inUse } from '../options/resolve.js';
import { pick, type Values } from '../options/table.js';
import type { ActiveMethod } from '../repa/methods.js';
import type { Captions } from './data/captions.js';
import { DESIGN } from './design.js';
import { MODEL, STEPS } from './options.js';

/** Options of SiT's and DiT's blocks alone. */
const OTHERS = { ...DESIGN, ...pick(MODEL, 'numClasses'), ...pick(STEPS, 'checkpointBlocks') };

/**
 * The network that options name, for captions of their sizes.
 * @throws UsageError when there are no captions, or for options that are of other networks
 */
export function textNetwork(
  options: Values<typeof OTHERS> & Pick<Values<typeof MODEL>, 'model'>,
  sizes: Partial<TransformerConfig>,
  captions: Captions | undefined,
): MmditConfig {
  const [wrong] = inUse(OTHERS, options);
  if (wrong) throw new UsageError(`${wrong.long} is for SiT and DiT, not for ${options.model}`, 'Leave it out.');
  if (captions) return mmditConfig(options.model, { ...sizes, text: { tokens: captions.tokens, dim: captions.dim } });
  throw new UsageError(
    `${options.model} draws from text, and there are no captions`,
    'Name them by --text, made by encode-text.',
  );
}

/** @throws UsageError for a method that works on the tokens of a SiT */
export function checkTextMethods(active: readonly ActiveMethod[], model: string): void {
  const other = active.find(({ method }) => method.companion || method.passage || method.channels || method.weaker);
  if (other) throw new UsageError(`${other.method.name} is for SiT, not for ${model}`, 'Leave it out.');
}
