/** The networks that a sampler calls: the model's, and what it is guided by. */
import type { ConditionalNetwork, Times } from '../diffusion/guidance.js';
import type { Anchor } from './anchor.js';
import { compiledNetwork, type DiffusionModel, stateSize } from './model.js';
import type { Prompts } from './prompts.js';
import type { SamplingNetworks } from './sample.js';
import type { SamplerSettings } from './settings.js';

export interface NetworkChoice {
  /** The checkpoint that guides. */
  guide?: DiffusionModel;
  /** What samples are drawn to. */
  anchor?: Anchor;
  /** `feed` where the parameters change between runs. */
  constants?: 'bake' | 'feed';
  /** Of networks that draw from text. */
  prompts?: Prompts;
}

/** The networks of a model as settings ask for them. */
export function samplingNetworks(
  model: DiffusionModel,
  { internal, pathDropGuidance }: Pick<SamplerSettings, 'internal' | 'pathDropGuidance'>,
  { guide, anchor, constants, prompts }: NetworkChoice = {},
): SamplingNetworks & { dispose(): void } {
  const nullLabel = prompts?.count ?? model.record.model.numClasses;
  const network = compiledNetwork(model, { internal, anchor, constants, prompts });
  const weaker = guide
    ? compiledNetwork(guide, { constants, prompts })
    : pathDropGuidance
      ? compiledNetwork(model, { constants, prompts, anchor, weakened: true })
      : undefined;
  return {
    network,
    stateSize: stateSize(model.record),
    nullLabel,
    guide: weaker && (guide ? weaker : withoutLabels(weaker, nullLabel)),
    dispose() {
      network.dispose();
      weaker?.dispose();
    },
  };
}

/** A network that is told of no label. */
const withoutLabels =
  (network: ConditionalNetwork<Times>, nullLabel: number): ConditionalNetwork<Times> =>
  (x, t, labels) =>
    network(x, t, new Int32Array(labels.length).fill(nullLabel));
