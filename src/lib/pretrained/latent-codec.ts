/** Which codec latents from elsewhere are of, where no header tells. */
import { UsageError } from '../errors.js';
import type { LatentScale } from './latent-scale.js';

/** What is known of a codec without its weights. */
export interface LatentCodec {
  name: string;
  scale: LatentScale;
  /** Pixels of the image along one side of a latent pixel. */
  downsampling: number;
}

/** What was said of a codec. */
export interface CodecHints {
  name?: string;
  scale?: readonly number[];
  shift?: readonly number[];
  downsampling?: number;
}

const PIXELS: LatentCodec = { name: 'pixels', scale: { scale: [1], shift: [0] }, downsampling: 1 };

/** The VAE of Stable Diffusion, which the published models of REPA, SiT and DiT are of. */
const SD_VAE: LatentCodec = { name: 'sd-vae-ft-ema', scale: { scale: [0.18215], shift: [0] }, downsampling: 8 };

/**
 * The codec of latents of so many channels: as the hints say, else that of published models.
 * @throws UsageError when the scale cannot be told
 */
export function settleCodec(channels: number, hints: CodecHints, where: string): LatentCodec {
  const known = knownCodec(channels, hints.name);
  const scale = hints.scale ?? known?.scale.scale;
  if (scale === undefined) {
    throw new UsageError(
      `${where}: the scale of its latents of ${channels} channels is not known`,
      'Name their codec with --vae, and the scale of its latents with --latent-scale.',
    );
  }
  const shift = hints.shift ?? known?.scale.shift ?? [0];
  return {
    name: hints.name ?? known?.name ?? 'unknown',
    scale: { scale: [...scale], shift: [...shift] },
    downsampling: hints.downsampling ?? known?.downsampling ?? SD_VAE.downsampling,
  };
}

function knownCodec(channels: number, name: string | undefined): LatentCodec | undefined {
  if (name === PIXELS.name || (name === undefined && channels === 3)) return PIXELS;
  return channels === 4 ? SD_VAE : undefined;
}

/** The entries of a stream's header that tell about its latents [C, h, w]. */
export const codecMetadata = ({ name, scale, downsampling }: LatentCodec, side: number): Record<string, string> => ({
  'repa.model': name,
  'repa.preprocess': JSON.stringify({ crop: 'adm', size: side * downsampling }),
  'repa.latent.scale': JSON.stringify(scale.scale),
  'repa.latent.shift': JSON.stringify(scale.shift),
});
