/** Turns a square crop into the input of each kind of encoder, as the official training code does. */
import { CLIP, IMAGENET, type Normalisation, normaliseImage, SIGNED } from './normalise.js';
import { resamplePlanes } from './resample.js';
import type { RgbImage } from './rgb-image.js';

export type EncoderPreprocess = 'dinov2' | 'jepa' | 'clip' | 'siglip' | 'dinov1' | 'dinov3' | 'mocov3' | 'mae';

const NORMALISATIONS: Partial<Record<EncoderPreprocess, Normalisation>> = { clip: CLIP, siglip: SIGNED };

/** Encoders with patches of 14 see 224 pixels where the latent comes from 256, so that both have 16 x 16 tokens. */
const PATCH_14_SIDE = 224 / 256;

/** Side of the input of an encoder with such patches for a crop of `side` pixels. */
export const encoderSide = (patchSize: number, side: number): number =>
  patchSize === 14 ? Math.round(side * PATCH_14_SIDE) : side;

/** The values that each kind of encoder takes. */
export const preprocessNormalisation = (kind: EncoderPreprocess): Normalisation => NORMALISATIONS[kind] ?? IMAGENET;

/**
 * The encoder's input f32 [3, side, side] of planes [3, size, size] in [-1, 1], resized first as the published code of
 * representation autoencoders does it.
 */
export function normalisePlanes(
  planes: Float32Array,
  size: number,
  side: number,
  { mean, std }: Normalisation,
): Float32Array {
  const unit = planes.map((value) => (value + 1) / 2); // [3, size, size] in [0, 1]
  const from = { height: size, width: size };
  const resized = side === size ? unit : resamplePlanes(unit, from, { height: side, width: side }, 'bicubic');
  return resized.map((value, i) => {
    const channel = Math.floor(i / (side * side));
    return (value - mean[channel]) / std[channel];
  });
}

/**
 * The encoder's input f32 [3, side, side]. DINOv2 and I-JEPA are normalised before they are resized, CLIP after; the
 * resize is PyTorch's bicubic without antialias, which may leave [0, 1].
 * @param image a square crop.
 */
export function preprocessForEncoder(kind: EncoderPreprocess, image: RgbImage, side: number): Float32Array {
  // Bicubic weights sum to 1, so normalising first or last is the same up to rounding; CLIP's own order needs no
  // branch.
  const planes = normaliseImage(image, preprocessNormalisation(kind)); // [3, H, W]
  if (side === image.width) return planes;
  return resamplePlanes(planes, image, { width: side, height: side }, 'bicubic'); // [3, side, side]
}
