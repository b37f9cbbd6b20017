/**
 * Codecs between images and latents: a VAE, or `pixels`, which stands in for one where images are small enough to be
 * diffused as they are.
 */
import { UsageError } from '../errors.js';
import { isTinyAutoencoder } from '../models/tiny-autoencoder.js';
import type { Codec } from './codec-interface.js';
import { klCodec } from './kl-codec.js';
import { openNetwork } from './load.js';
import { tinyCodec } from './tiny-codec.js';

export type { Codec } from './codec-interface.js';

const pixels: Codec = {
  name: 'pixels',
  column: 'latent',
  channels: 3,
  downsampling: 1,
  scale: { scale: [1], shift: [0] },
  encode: (images) => images,
  decode: (latents) => latents,
  dispose() {},
};

export interface CodecOptions {
  /** `pixels`, or the name of a VAE that was pulled. */
  vae: string;
  /** A weights file, in place of a name. */
  weights?: string;
  /** Overrides what is known of the latents' scale. */
  latentScale?: number[];
  latentShift?: number[];
}

/**
 * Opens a codec.
 * @throws UnavailableError for a name whose weights are not here; DataError for weights of another network
 */
export async function openCodec(options: CodecOptions): Promise<Codec> {
  if (options.vae === 'pixels' && !options.weights) {
    if (options.latentScale ?? options.latentShift) throw new UsageError('pixels have no scale to change');
    return pixels;
  }
  const network = await openNetwork({ kind: 'vae', name: options.vae, file: options.weights });
  try {
    const codec = isTinyAutoencoder(network.weights) ? tinyCodec(network) : klCodec(network);
    const { scale, shift } = codec.scale;
    return { ...codec, scale: { scale: options.latentScale ?? scale, shift: options.latentShift ?? shift } };
  } catch (error) {
    network.close();
    throw error;
  }
}

/** What turned latents into bytes, as told with images and numbers. */
export interface DecoderRecord {
  name: string;
  /** Of its weights; null where it has none. */
  sha256: string | null;
  rounding: string;
}

export const decoderRecord = ({ name, sha256 }: Codec, rounding: string): DecoderRecord => ({
  name,
  sha256: sha256 ?? null,
  rounding,
});
