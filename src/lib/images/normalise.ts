/** From 8-bit RGB [H, W, 3] to the numbers a network takes, f32 [3, H, W], and back. */
import { DataError } from '../errors.js';
import { firstNonFinite } from '../numbers/finite.js';
import type { RgbImage } from './rgb-image.js';

/** Per channel, on values of [0, 1]. */
export interface Normalisation {
  mean: readonly [number, number, number];
  std: readonly [number, number, number];
}

/** The statistics of ImageNet that most encoders were trained with. */
export const IMAGENET: Normalisation = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** The statistics of OpenAI's CLIP. */
export const CLIP: Normalisation = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
};

/** Values of [-1, 1], as SigLIP takes them. */
export const SIGNED: Normalisation = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };

/** Values of [0, 255] as [-1, 1]: x / 127.5 - 1, the input of the autoencoder. */
export function toSignedUnit(image: RgbImage, out?: Float32Array): Float32Array {
  return mapChannels(image, () => (value) => value / 127.5 - 1, out);
}

/** (x / 255 - mean) / std for each channel. */
export function normaliseImage(image: RgbImage, { mean, std }: Normalisation, out?: Float32Array): Float32Array {
  return mapChannels(image, (channel) => (value) => (value / 255 - mean[channel]) / std[channel], out);
}

/**
 * Applies a function of a byte's value, tabulated for each channel, and moves channels first.
 * @param out [3, H, W]; allocated if absent.
 */
export function mapChannels(
  { width, height, data }: RgbImage,
  mapOf: (channel: number) => (value: number) => number,
  out: Float32Array = new Float32Array(3 * width * height),
): Float32Array {
  const pixels = width * height;
  for (let channel = 0; channel < 3; channel++) {
    const map = mapOf(channel);
    const table = Float32Array.from({ length: 256 }, (_, value) => map(value));
    for (let i = 0; i < pixels; i++) out[channel * pixels + i] = table[data[i * 3 + channel]]!;
  }
  return out;
}

/**
 * How a decoded value of [-1, 1] becomes a byte. `truncate` is REPA's sampler: clamp(255 (x + 1) / 2), fraction
 * dropped. `round` is SiT's and DiT's: clamp(127.5 x + 128), fraction dropped. They differ by one in half of the
 * pixels.
 */
export type ByteRounding = 'truncate' | 'round';

const BROKEN = 'The latents, or the weights that made or decode them, are damaged.';

/**
 * A decoded picture [3, H, W] in [-1, 1] as 8-bit RGB.
 * @throws DataError when it holds what is no number
 */
export function fromSignedUnit(
  planes: Float32Array,
  width: number,
  height: number,
  rounding: ByteRounding = 'truncate',
): RgbImage {
  // Each step is rounded to single precision, as there: a value on the edge of two bytes must fall to the same side.
  const toByte =
    rounding === 'truncate'
      ? (x: number): number => Math.fround(255 * (Math.fround(x + 1) / 2))
      : (x: number): number => Math.fround(Math.fround(127.5 * x) + 128);
  // They would become black or white.
  if (firstNonFinite(planes) >= 0) throw new DataError('a picture is decoded to NaN or infinity', BROKEN);
  const pixels = width * height;
  const data = new Uint8ClampedArray(pixels * 3);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < pixels; i++) data[i * 3 + channel] = Math.floor(toByte(planes[channel * pixels + i]));
  }
  return { width, height, data: new Uint8Array(data.buffer) };
}
