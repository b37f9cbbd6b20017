/** From image numbers to latents: noise, label and path of each image depend on its number and the seed alone. */
import { autoguidance, type ConditionalNetwork, classifierFreeGuidance, type Times } from '../diffusion/guidance.js';
import { fillNormal, PURPOSE } from '../numbers/random.js';
import type { SamplerSettings } from './settings.js';
import { initialStates, latentsOf } from './state.js';

export interface SampleBatch {
  /** Numbers of the images: what their noise is drawn from. */
  indices: readonly number[];
  labels: Int32Array; // [N]
  /** Initial noise of the latents, if not drawn from the seed. */
  noise?: Float32Array; // [N, C, h, w]
}

export interface SamplingNetworks {
  network: ConditionalNetwork<Times>;
  /** How many numbers the network moves for an image: its latent, and what is generated with it. */
  stateSize: number;
  /** The label of no class, whose prediction guides away from itself. */
  nullLabel: number;
  /** A weaker network that guides in place of it. */
  guide?: ConditionalNetwork<Times>;
}

/**
 * Samples one batch.
 * @param shape of one latent, [C, h, w]
 * @returns latents as the model sees them, [N, C, h, w]
 */
export async function sampleLatents(
  { network, stateSize, nullLabel, guide }: SamplingNetworks,
  shape: readonly number[],
  { indices, labels, noise }: SampleBatch,
  settings: SamplerSettings,
): Promise<Float32Array> {
  const { cfg, guidanceLow, guidanceHigh, guidanceChannels, seed } = settings;
  const [channels, height, width] = shape;
  const batch = { labels, channelSize: height * width };
  const guidance = { scale: cfg, low: guidanceLow, high: guidanceHigh, channels: guidanceChannels };
  const predictor = guide
    ? autoguidance(network, guide, batch, guidance)
    : classifierFreeGuidance(network, batch, nullLabel, guidance);
  const start = {
    states: initialStates(indices, stateSize, seed, noise), // [N, S]
    rows: indices.length,
    noise: (out: Float64Array, row: number, step: number): void =>
      fillNormal(out, seed, PURPOSE.sdeNoise, indices[row], step),
  };
  const states = await settings.sampler.sample(predictor, start); // [N, S]
  return latentsOf(states, indices.length, channels * height * width);
}
