/** The networks that a sampler calls: the model's, and what it is guided by. */
import type { ConditionalNetwork, Times, Values } from '../diffusion/guidance.js';
import { type DeviceRows, type DeviceSpace, deviceSpace } from '../engine/index.js';
import type { Anchor } from './anchor.js';
import {
  type CompiledNetwork,
  type CompileOptions,
  compiledNetwork,
  type DiffusionModel,
  deviceNetwork,
  stateSize,
} from './model.js';
import type { Prompts } from './prompts.js';
import type { SamplerSettings } from './settings.js';

export interface Networks<State = Values, Input = Float32Array> {
  network: ConditionalNetwork<Times, State, Input>;
  /** A weaker network that guides in place of it. */
  guide?: ConditionalNetwork<Times, State, Input>;
}

interface HostNetworks extends Networks {
  space?: undefined;
}

/** Networks whose states stay on a device. */
interface DeviceNetworks extends Networks<DeviceRows, DeviceRows> {
  space: DeviceSpace;
}

export type SamplingNetworks = (HostNetworks | DeviceNetworks) & {
  /** How many numbers the network moves for an image: its latent, and what is generated with it. */
  stateSize: number;
  /** The label of no class, whose prediction guides away from itself. */
  nullLabel: number;
};

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

/** The networks of a model as settings ask for them; on a device, states stay there. */
export function samplingNetworks(
  model: DiffusionModel,
  settings: Pick<SamplerSettings, 'internal' | 'pathDropGuidance'>,
  choice: NetworkChoice = {},
): SamplingNetworks & { dispose(): void } {
  const nullLabel = choice.prompts?.count ?? model.record.model.numClasses;
  const common = { stateSize: stateSize(model.record), nullLabel };
  const space = deviceSpace();
  if (!space) return { ...common, ...networks(compiledNetwork, model, settings, choice, nullLabel) };
  const compile: Compile<DeviceRows, DeviceRows> = (network, options) => deviceNetwork(space, network, options);
  return { ...common, ...networks(compile, model, settings, choice, nullLabel), space };
}

type Compile<State, Input> = (model: DiffusionModel, options: CompileOptions) => CompiledNetwork<State, Input>;

function networks<State, Input>(
  compile: Compile<State, Input>,
  model: DiffusionModel,
  { internal, pathDropGuidance }: Pick<SamplerSettings, 'internal' | 'pathDropGuidance'>,
  { guide, anchor, constants, prompts }: NetworkChoice,
  nullLabel: number,
): Networks<State, Input> & { dispose(): void } {
  const network = compile(model, { internal, anchor, constants, prompts });
  const weaker = guide
    ? compile(guide, { constants, prompts })
    : pathDropGuidance
      ? compile(model, { constants, prompts, anchor, weakened: true })
      : undefined;
  return {
    network,
    guide: weaker && (guide ? weaker : withoutLabels(weaker, nullLabel)),
    dispose() {
      network.dispose();
      weaker?.dispose();
    },
  };
}

/** A network that is told of no label. */
const withoutLabels =
  <State, Input>(
    network: ConditionalNetwork<Times, State, Input>,
    nullLabel: number,
  ): ConditionalNetwork<Times, State, Input> =>
  (x, t, labels) =>
    network(x, t, new Int32Array(labels.length).fill(nullLabel));
