/** The autoencoder of latent diffusion as a codec. */
import { existsSync } from 'node:fs';
import { DataError } from '../errors.js';
import { toFloat32 } from '../formats/host-tensor.js';
import { openWeights } from '../formats/weights-file.js';
import { findWeights } from '../hub/locate.js';
import {
  autoencoderKLShapes,
  decode,
  downsampling,
  encode,
  halfOf,
  inferAutoencoderKLConfig,
  USUAL_GROUPS,
} from '../models/autoencoder-kl.js';
import { matchWeights, toParameters } from '../models/parameters.js';
import { joinRows } from '../numbers/typed-array.js';
import type { Codec } from './codec-interface.js';
import { CompiledByImage } from './compiled.js';
import { knownScale, SD_VAE_SCALE } from './latent-codec.js';
import type { LatentScale } from './latent-scale.js';
import type { OpenNetwork } from './load.js';

/** Metadata of a safetensors file that tells the groups of its group norms, under diffusers' name. */
export const GROUPS_KEY = 'norm_num_groups';

/** Metadata that tells the scale and the shift of its latents, under diffusers' names. */
const SCALE_KEY = 'scaling_factor';
const SHIFT_KEY = 'shift_factor';

/**
 * The scale that the file tells, or its name. Latents of four channels without either have that of Stable Diffusion,
 * from which most others descend; for other numbers of channels there is no usual scale.
 */
function scaleOf({ name, path, metadata }: OpenNetwork, channels: number): LatentScale | undefined {
  const [scale, shift] = [metadata[SCALE_KEY], metadata[SHIFT_KEY] ?? '0'].map(Number);
  if (metadata[SCALE_KEY] !== undefined) {
    if (scale > 0 && Number.isFinite(scale) && Number.isFinite(shift)) return { scale: [scale], shift: [shift] };
    throw new DataError(`${name}: its ${SCALE_KEY} is '${metadata[SCALE_KEY]}', which is no scale`);
  }
  return (
    storedScale(name, path, channels) ??
    knownScale(name, channels) ??
    (channels === 4 ? { scale: [SD_VAE_SCALE], shift: [0] } : undefined)
  );
}

/** The suffix of the statistics' file after the name of an autoencoder of REPA-E (arXiv 2504.10483). */
const STATISTICS = '-latents-stats';

/**
 * The scale and the mean of each channel in a file beside the weights, or pulled under the name of these: REPA-E keeps
 * the running statistics of a batch norm so.
 * @throws DataError when the file is of other latents
 */
function storedScale(name: string, weights: string, channels: number): LatentScale | undefined {
  const beside = weights.replace(/(\.[^./]+)$/, `${STATISTICS}$1`);
  const file = existsSync(beside) ? beside : findWeights(name + STATISTICS);
  if (file === undefined) return undefined;
  const stored = openWeights(file);
  try {
    const numbers = (tensor: string): number[] => {
      if (!stored.names.includes(tensor)) throw new DataError(`${file}: holds no '${tensor}'`);
      return Array.from(toFloat32(stored.read(tensor)));
    };
    const found = { scale: numbers('latents_scale'), shift: numbers('latents_bias') };
    if ([found.scale, found.shift].every(({ length }) => length === channels)) return found;
    throw new DataError(
      `${file}: statistics of ${found.scale.length} channels, but the latents of ${name} have ${channels}`,
    );
  } finally {
    stored.close();
  }
}

/** Losses that were trained beside an autoencoder, such as a discriminator: latent-diffusion keeps them in one file. */
const isLoss = (name: string): boolean => name.startsWith('loss.');

/** @throws DataError when the file says no number */
function groupsOf(metadata: Readonly<Record<string, string>>, name: string): number {
  const groups = Number(metadata[GROUPS_KEY] ?? USUAL_GROUPS);
  if (Number.isInteger(groups) && groups > 0) return groups;
  throw new DataError(`${name}: its ${GROUPS_KEY} is '${metadata[GROUPS_KEY]}', which is no number of groups`);
}

/**
 * The weights of a half are read when it is compiled, and not kept.
 * @throws DataError for weights of another network
 */
export function klCodec(network: OpenNetwork): Codec {
  const { name, sha256, metadata, weights, close } = network;
  const config = inferAutoencoderKLConfig(weights, name, groupsOf(metadata, name));
  const matched = matchWeights(weights, autoencoderKLShapes(config), name, isLoss);
  const losses = [...weights.keys()].filter(isLoss).length;
  const parameters = (half: 'encoder' | 'decoder') =>
    toParameters(new Map([...matched].filter(([key]) => halfOf(key) === half)));
  const encoder = new CompiledByImage(() => {
    const p = parameters('encoder');
    return (images) => {
      const { mean, std } = encode(p, config, images); // [N, C, h, w] each
      return [mean, std];
    };
  });
  const decoder = new CompiledByImage(() => {
    const p = parameters('decoder');
    return (z) => [decode(p, config, z)];
  });
  return {
    name,
    sha256,
    column: 'moments',
    channels: config.latentChannels,
    downsampling: downsampling(config),
    scale: scaleOf(network, config.latentChannels),
    notes:
      losses > 0
        ? [`${name}: left out: ${losses} tensors of losses (loss.*), which are no part of an autoencoder`]
        : [],
    encode(images, count, size) {
      const [mean, std] = encoder.run(images, [count, 3, size, size]);
      return joinRows(mean, std, count); // [N, 2C, h, w]
    },
    decode: (latents, count, size) => decoder.run(latents, [count, config.latentChannels, size, size])[0],
    dispose() {
      encoder.dispose();
      decoder.dispose();
      close();
    },
  };
}
