/** The network that the options of a run name, in the sizes that its data asks for. */
import { UsageError } from '../errors.js';
import { patchCount, type TransformerConfig, transformerConfig } from '../models/dit-sizes.js';
import { isMmditName } from '../models/mmdit.js';
import type { Values } from '../options/table.js';
import { activeMethods, type MethodValues, settleMethods } from '../repa/methods.js';
import type { Network } from '../repa/network.js';
import type { TrainingSet } from './data/set.js';
import { settledDesign } from './design.js';
import { checkHead, checkLead, checkSphere } from './network-checks.js';
import type { MODEL, STEPS } from './options.js';
import { checkTextMethods, textNetwork } from './text-choice.js';

type NetworkOptions = Values<typeof MODEL> &
  Pick<Values<typeof STEPS>, 'path' | 'checkpointBlocks'> & { methods: MethodValues };

/**
 * The network that the options name, in the sizes that the data asks for, and the methods that are on.
 * @param origin the network whose weights it has or starts from, by which it runs through time
 */
export function settleNetwork(
  options: NetworkOptions,
  set: TrainingSet,
  rows: number,
  origin?: TransformerConfig,
): Network {
  const [channels, height, width] = set.latents.shape;
  if (height !== width) throw new UsageError(`latents are ${height}x${width}: the model takes square ones`);
  const given: Partial<TransformerConfig> = {
    depth: options.depth,
    hiddenSize: options.width,
    numHeads: options.heads,
    patchSize: options.patchSize,
    alignDepth: options.alignDepth,
  };
  const architecture = options.model.startsWith('DiT') ? 'DiT' : 'SiT';
  const chosen = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const fromText = isMmditName(options.model);
  const sizes: Partial<TransformerConfig> = {
    ...chosen,
    inputSize: height,
    numClasses: options.numClasses ?? Math.max(1, set.latents.classes),
  };
  if (architecture === 'SiT') sizes.reversedTime = origin?.reversedTime ?? false;
  const design = fromText
    ? {}
    : settledDesign(options, options.depth ?? transformerConfig(architecture, options.model).depth);
  const sized = (inChannels: number) =>
    fromText
      ? textNetwork(options, { ...chosen, inputSize: height, inChannels }, set.captions)
      : transformerConfig(architecture, options.model, { ...sizes, ...design, inChannels });
  const facts = { architecture, model: sized(channels), features: set.features, rows } as const;
  const methods = settleMethods(options.methods, facts);
  const active = activeMethods(methods);
  const added = active.reduce((sum, { method, settings }) => sum + (method.channels?.(settings) ?? 0), 0);
  const by = Math.max(0, ...active.map(({ method, settings }) => method.lead?.(settings) ?? 0));
  if (by > 0) design.lead = { by, channels: added };
  const model = sized(channels + added);
  checkLead(active, model);
  checkHead(active, model);
  if (options.path === 'geodesic') checkSphere(active, model, set);
  if (fromText) checkTextMethods(active, options.model);
  else if (set.latents.classes > model.numClasses) {
    throw new UsageError(`the labels go up to ${set.latents.classes - 1}, but --num-classes is ${model.numClasses}`);
  }
  const followed = active.some(({ method }) => method.features === 'followed') ? set.features : [];
  for (const { name, tokens } of followed) {
    if (tokens === patchCount(model)) continue;
    throw new UsageError(
      `${name} gives ${tokens} tokens an image, the model has ${patchCount(model)}`,
      'Both grids must be the same: change --patch-size, or --size of encode-vae or extract-dino.',
    );
  }
  return { architecture, model, methods };
}
