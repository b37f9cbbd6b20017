/** From image numbers to images: noise, label and path of each image depend on its number and the seed alone. */
import { autoguidance } from '../diffusion/autoguidance.js';
import { classifierFreeGuidance } from '../diffusion/guidance.js';
import { hostSpace, type Space } from '../diffusion/space.js';
import { DataError } from '../errors.js';
import { type ByteRounding, fromSignedUnit } from '../images/normalise.js';
import type { RgbImage } from '../images/rgb-image.js';
import { firstNonFinite } from '../numbers/finite.js';
import { fillNormal, PURPOSE } from '../numbers/random.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { Codec } from '../pretrained/codec.js';
import { restoreLatents } from '../pretrained/latent-scale.js';
import { type LabelPlan, labelOf } from './labels.js';
import type { DiffusionModel } from './model.js';
import type { Networks, SamplingNetworks } from './networks.js';
import type { Prompts } from './prompts.js';
import type { SamplerSettings } from './settings.js';

/** One sampled image, or its latent where there is no decoder. */
export interface Sample {
  key: string;
  label: number;
  latent: Float32Array; // [C, h, w], as the codec gave them
  image: RgbImage | undefined;
}

export interface SampleJob {
  model: Pick<DiffusionModel, 'record'>;
  networks: SamplingNetworks;
  settings: SamplerSettings;
  labels: LabelPlan;
  /** Of a network that draws from text, in place of labels. */
  prompts?: Pick<Prompts, 'of'> | undefined;
  /** Undefined where latents are wanted. */
  decoder: Codec | undefined;
  rounding: ByteRounding;
}

/**
 * Samples the images of these numbers as one batch.
 * @param noise initial noise [N, C, h, w], if not drawn from the seed
 */
export async function sampleImages(
  { model, networks, settings, labels: plan, prompts, decoder, rounding }: SampleJob,
  indices: readonly number[],
  noise?: Float32Array,
): Promise<Sample[]> {
  const { record } = model;
  const { shape, scale, shift } = record.latent;
  const [channels, height, width] = shape;
  const labels = Int32Array.from(
    indices,
    (index) => prompts?.of(index) ?? labelOf(plan, index, record.model, settings.seed),
  );
  const latents = await sampleLatents(networks, shape, { indices, labels, noise }, settings); // [N, C, h, w]
  restoreLatents(latents, channels, height * width, { scale: [...scale], shift: [...shift] });
  if (firstNonFinite(latents) >= 0) {
    throw new DataError(
      `of images ${indices[0]} to ${indices.at(-1)}, a latent comes out as NaN or infinity`,
      'The weights are damaged, or what guides them is far too strong.',
    );
  }
  const pixels = decoder?.decode(latents, indices.length, height); // [N, 3, H, W]
  const side = height * (decoder?.downsampling ?? 1);
  const size = sizeOf(shape);
  return indices.map((index, row) => {
    const planes = pixels?.subarray(row * 3 * side * side, (row + 1) * 3 * side * side);
    return {
      key: String(index).padStart(6, '0'),
      label: labels[row] < record.model.numClasses ? labels[row] : -1,
      latent: latents.subarray(row * size, (row + 1) * size),
      image: planes && fromSignedUnit(planes, side, side, rounding),
    };
  });
}

export interface SampleBatch {
  /** Numbers of the images: what their noise is drawn from. */
  indices: readonly number[];
  labels: Int32Array; // [N]
  /** Initial noise of the latents, if not drawn from the seed. */
  noise?: Float32Array; // [N, C, h, w]
}

/**
 * Samples one batch.
 * @param shape of one latent, [C, h, w]
 * @returns latents as the model sees them, [N, C, h, w]
 */
export async function sampleLatents(
  networks: SamplingNetworks,
  shape: readonly number[],
  { indices, labels, noise }: SampleBatch,
  settings: SamplerSettings,
): Promise<Float32Array> {
  const { cfg, guidanceLow, guidanceHigh, guidanceChannels, seed } = settings;
  const [channels, height, width] = shape;
  const batch = { labels, channelSize: height * width };
  const guidance = { scale: cfg, low: guidanceLow, high: guidanceHigh, channels: guidanceChannels };
  const start = {
    states: initialStates(indices, networks.stateSize, seed, noise), // [N, S]
    rows: indices.length,
    channelSize: height * width,
    noise: (out: Float64Array, row: number, step: number): void =>
      fillNormal(out, seed, PURPOSE.sdeNoise, indices[row], step),
  };
  const sampled = <State, Input>({ network, guide }: Networks<State, Input>, space: Space<State, Input>) => {
    const predictor = guide
      ? autoguidance(network, guide, batch, guidance, space)
      : classifierFreeGuidance(network, batch, networks.nullLabel, guidance, space);
    return settings.sampler.sample(predictor, start, space);
  };
  const states = await (networks.space ? sampled(networks, networks.space) : sampled(networks, hostSpace())); // [N, S]
  networks.space?.keep();
  return latentsOf(states, indices.length, channels * height * width);
}

/**
 * The states that sampling starts from, [N, size]: normals that depend on the seed and an image's number alone.
 * @param given initial latents [N, C, h, w] in place of the first of them
 */
function initialStates(indices: readonly number[], size: number, seed: number, given?: Float32Array): Float32Array {
  const states = new Float32Array(indices.length * size);
  const givenSize = (given?.length ?? 0) / indices.length;
  indices.forEach((index, row) => {
    const state = states.subarray(row * size, (row + 1) * size);
    if (givenSize < size) fillNormal(state, seed, PURPOSE.sampleNoise, index);
    if (given) state.set(given.subarray(row * givenSize, (row + 1) * givenSize));
  });
  return states;
}

/** The first `size` numbers of each of `rows` states: the latents, without what was generated with them. */
function latentsOf(states: ArrayLike<number>, rows: number, size: number): Float32Array {
  const latents = new Float32Array(rows * size);
  const stride = states.length / rows;
  for (let i = 0; i < latents.length; i++) latents[i] = states[Math.floor(i / size) * stride + (i % size)];
  return latents;
}
