/**
 * Codecs between images and latents: a VAE, or `pixels`, which stands in for one where images are small enough to be
 * diffused as they are.
 */
import { DataError, UsageError } from '../errors.js';
import { isTinyAutoencoder } from '../models/tiny-autoencoder.js';
import type { Codec } from './codec-interface.js';
import { klCodec } from './kl-codec.js';
import { checkScale, type LatentScale } from './latent-scale.js';
import { openNetwork } from './load.js';
import { tinyCodec } from './tiny-codec.js';
import { isTokenCodec, openTokenCodec, WITHOUT_STATISTICS } from './token-codec.js';

export type { Codec } from './codec-interface.js';

/** The entry of a stream's header for the SHA-256 of the statistics of its latents. */
export const STATISTICS_KEY = 'repa.latent.statistics';

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
  /** `pixels`, the name of a VAE that was pulled, or `rae:` and that of an encoder. */
  vae: string;
  /** A weights file, in place of a name. */
  weights?: string;
  /** For encoder tokens: the file of their statistics, in place of the name's own. */
  statistics?: string;
  /** For encoder tokens: the half that is used; the decoder by default. */
  half?: 'encoder' | 'decoder';
  /** For encoder tokens: whether to leave out statistics, which are still to be made. */
  raw?: boolean;
  /** Overrides what is known of the latents' scale. */
  latentScale?: readonly number[];
  latentShift?: readonly number[];
}

/**
 * Opens a codec.
 * @throws UnavailableError for a name whose weights are not here; DataError for weights of another network
 */
export async function openCodec(options: CodecOptions): Promise<Codec> {
  if ((options.statistics ?? options.raw) && !isTokenCodec(options.vae)) {
    throw new UsageError(`statistics are for encoder tokens, such as rae:dinov2reg-vit-b, not for ${options.vae}`);
  }
  if (options.vae === 'pixels' && !options.weights) {
    if (options.latentScale ?? options.latentShift) throw new UsageError('pixels have no scale to change');
    return pixels;
  }
  if (isTokenCodec(options.vae)) {
    if (options.latentScale ?? options.latentShift) {
      throw new UsageError(`${options.vae}: its statistics take the place of --latent-scale and --latent-shift`);
    }
    return openTokenCodec({ half: 'decoder', ...options });
  }
  const network = await openNetwork({ kind: 'vae', name: options.vae, file: options.weights });
  try {
    const codec = isTinyAutoencoder(network.weights) ? tinyCodec(network) : klCodec(network);
    const scale = options.latentScale ?? codec.scale?.scale;
    if (!scale) return codec;
    const whole = { scale: [...scale], shift: [...(options.latentShift ?? codec.scale?.shift ?? [0])] };
    checkScale(whole, codec.channels);
    return { ...codec, scale: whole };
  } catch (error) {
    network.close();
    throw error;
  }
}

/**
 * The statistics that a decoder of latents takes: the named ones, or none for encoder tokens that were encoded without.
 * @param metadata what the latents' header says
 */
export function statisticsFor(
  metadata: Readonly<Record<string, string>>,
  named: string | undefined,
): string | undefined {
  const made = metadata['repa.codec'] ?? metadata['repa.model'];
  if (named !== undefined || made === undefined || !isTokenCodec(made)) return named;
  return metadata[STATISTICS_KEY] === undefined ? WITHOUT_STATISTICS : undefined;
}

/**
 * The scale that is written beside a codec's latents.
 * @throws UsageError when nothing tells it
 */
export function settledScale({ name, channels, scale }: Codec): LatentScale {
  if (scale) return scale;
  throw new UsageError(
    `the scale of the latents of ${name}, of ${channels} channels, is not known`,
    'Give it with --latent-scale, and what is subtracted first with --latent-shift: its authors tell both.',
  );
}

/**
 * Side of the latents of square images.
 * @throws UsageError when the images do not divide into latent pixels
 */
export function latentSide({ name, downsampling }: Codec, size: number): number {
  if (size % downsampling === 0) return size / downsampling;
  throw new UsageError(`--size ${size}: ${name} takes multiples of ${downsampling}`);
}

/**
 * Checks that a codec decodes latents.
 * @param made the name of what encoded them, where a header tells
 * @throws DataError when they have other channels, or are no pixels
 */
export function checkDecoder(codec: Codec, channels: number, made: string | undefined, where: string): void {
  if (codec.channels !== channels) {
    throw new DataError(
      `${codec.name} decodes latents of ${codec.channels} channels, but those of ${where} have ${channels}`,
      'Name their codec with --vae or --weights.',
    );
  }
  if (codec.name !== pixels.name || made === undefined || made === pixels.name) return;
  throw new DataError(`${where}: holds latents of ${made}, which are no pixels`, 'Name their codec with --vae.');
}

/**
 * Checks that a decoder takes latents by the statistics that they were standardised by.
 * @param metadata what their header says
 * @throws DataError when they are others
 */
export function checkStandardised(
  { name, statistics }: Codec,
  metadata: Readonly<Record<string, string>>,
  where: string,
): void {
  const made = metadata[STATISTICS_KEY];
  if (made === statistics) return;
  const short = (sha256: string | undefined): string => (sha256 ? `statistics ${sha256.slice(0, 8)}` : 'no statistics');
  throw new DataError(
    `${where}: latents were standardised by ${short(made)}, but ${name} has ${short(statistics)}`,
    'Name the file that they were encoded with: --statistics of decode-vae, --vae-statistics of sample.',
  );
}

/** The decoder of images, as recorded with them and with numbers. */
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
