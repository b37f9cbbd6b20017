/** The autoencoder of latent diffusion as a codec. */
import { DataError } from '../errors.js';
import { decode, downsampling, encode, inferAutoencoderKLConfig, USUAL_GROUPS } from '../models/autoencoder-kl.js';
import { autoencoderKLShapes, halfOf } from '../models/autoencoder-kl-parameters.js';
import { matchWeights, toParameters } from '../models/parameters.js';
import { joinRows } from '../numbers/typed-array.js';
import type { Codec } from './codec-interface.js';
import { CompiledByImage } from './compiled.js';
import type { OpenNetwork } from './load.js';

/** 1 / std of the latents of the Stable Diffusion VAE (arXiv 2112.10752, appendix G), which SiT, DiT and REPA divide by. */
export const SD_VAE_SCALE = 0.18215;

/** Metadata of a safetensors file that tells the groups of its group norms, under diffusers' name. */
export const GROUPS_KEY = 'norm_num_groups';

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
export function klCodec({ name, sha256, metadata, weights, close }: OpenNetwork): Codec {
  const config = inferAutoencoderKLConfig(weights, name, groupsOf(metadata, name));
  const matched = matchWeights(weights, autoencoderKLShapes(config), name);
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
    scale: { scale: [SD_VAE_SCALE], shift: [0] },
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
