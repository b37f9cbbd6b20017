/** The codec of latents from elsewhere, where no header tells it. */
import { UsageError } from '../errors.js';
import { checkScale, type LatentScale } from './latent-scale.js';

/** What is known of a codec without its weights. */
export interface LatentCodec {
  name: string;
  scale: LatentScale;
  /** Pixels of the image along one side of a latent pixel. */
  downsampling: number;
}

/** Facts of a codec that options give. */
export interface CodecHints {
  name?: string;
  scale?: readonly number[];
  shift?: readonly number[];
  downsampling?: number;
}

const PIXEL_CHANNELS = 3;
const PIXELS: LatentCodec = { name: 'pixels', scale: { scale: [1], shift: [0] }, downsampling: 1 };

/**
 * 1 / std of the latents of the Stable Diffusion VAE (arXiv 2112.10752, appendix G), which SiT, DiT and REPA divide by.
 */
export const SD_VAE_SCALE = 0.18215;

/** The VAE of Stable Diffusion, which the published models of REPA, SiT and DiT are of. */
const SD_VAE: LatentCodec = { name: 'sd-vae-ft-ema', scale: { scale: [SD_VAE_SCALE], shift: [0] }, downsampling: 8 };

/** Scales by what the names of codecs and of their files begin with or contain, and by their channels. */
const SCALES: readonly { name: RegExp; channels: number; scale: number }[] = [
  { name: /^sd-vae/, channels: 4, scale: SD_VAE_SCALE },
  { name: /sdxl/i, channels: 4, scale: 0.13025 }, // the published configuration of sdxl-vae
  { name: /^emoji-vae/, channels: 8, scale: SD_VAE_SCALE }, // made so
];

/** The scale of a named codec's latents, where it is known. */
export function knownScale(name: string, channels: number): LatentScale | undefined {
  const found = SCALES.find((each) => each.channels === channels && each.name.test(name));
  return found && { scale: [found.scale], shift: [0] };
}

/**
 * The codec of latents of so many channels: as the hints say, else that of published models.
 * @throws UsageError when the scale cannot be told
 */
export function settleCodec(channels: number, hints: CodecHints, where: string): LatentCodec {
  const known = knownCodec(channels, hints.name);
  const scale = hints.scale ?? known?.scale.scale;
  if (scale === undefined) {
    const named = hints.name === undefined ? '' : ` of ${hints.name}`;
    throw new UsageError(
      `${where}: the scale of its latents of ${channels} channels${named} is not known`,
      'Name their codec with --vae, and the scale of its latents with --latent-scale.',
    );
  }
  const shift = hints.shift ?? known?.scale.shift ?? [0];
  checkScale({ scale: [...scale], shift: [...shift] }, channels);
  return {
    name: hints.name ?? known?.name ?? 'unknown',
    scale: { scale: [...scale], shift: [...shift] },
    downsampling: hints.downsampling ?? known?.downsampling ?? SD_VAE.downsampling,
  };
}

function knownCodec(channels: number, name: string | undefined): LatentCodec | undefined {
  if (name === undefined) return channels === PIXEL_CHANNELS ? PIXELS : channels === 4 ? SD_VAE : undefined;
  if (name === PIXELS.name) return channels === PIXEL_CHANNELS ? PIXELS : undefined;
  const scale = knownScale(name, channels);
  return scale && { ...SD_VAE, name, scale };
}

/** The entries of a stream's header that tell about its latents [C, h, w]. */
export const codecMetadata = ({ name, scale, downsampling }: LatentCodec, side: number): Record<string, string> => ({
  'repa.model': name,
  'repa.preprocess': JSON.stringify({ crop: 'adm', size: side * downsampling }),
  'repa.latent.scale': JSON.stringify(scale.scale),
  'repa.latent.shift': JSON.stringify(scale.shift),
});
