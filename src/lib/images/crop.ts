/** The centre crop of ADM (Dhariwal & Nichol, arXiv 2105.05233), which SiT, DiT and REPA prepare ImageNet with. */
import { roundHalfEven } from '../numbers/rounding.js';
import { resizePillow, resizeWindow } from './pillow-resize.js';
import type { RgbImage } from './rgb-image.js';

/**
 * A square of `size` pixels, bit for bit what the official `center_crop_arr` gives: halved with a box filter while the
 * short side is at least twice `size`, then the short side brought to `size` bicubically, then the middle cut out.
 */
export function centerCrop(image: RgbImage, size: number): RgbImage {
  let resized = image;
  while (Math.min(resized.width, resized.height) >= 2 * size) {
    resized = resizePillow(resized, Math.floor(resized.width / 2), Math.floor(resized.height / 2), 'box');
  }
  const scale = size / Math.min(resized.width, resized.height);
  const [width, height] = [roundHalfEven(resized.width * scale), roundHalfEven(resized.height * scale)];
  const [left, top] = [Math.floor((width - size) / 2), Math.floor((height - size) / 2)];
  // The window alone: of a long and thin picture, the rest may be larger than memory.
  return resizeWindow(resized, { width, height }, { left, top, width: size, height: size }, 'bicubic');
}
