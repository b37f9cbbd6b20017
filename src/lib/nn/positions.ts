/** Position embeddings of vision transformers, fitted to another input size. */
import { type PlaneSize, resampleGrid } from '../images/resample.js';

/** How a vision transformer's published code fits its position grid to another input size. */
export type PositionResampling = 'timm' | 'dinov2';

/**
 * Fits a grid of position embeddings `[H, W, D]` to another grid.
 *
 * `timm` is `resample_abs_pos_embed` (bicubic with antialias), which REPA applies to every encoder. `dinov2` is
 * DINOv2's own `interpolate_pos_encoding`: bicubic without antialias, at the scale (target + 0.1) / source.
 */
export function resamplePositions(
  data: ArrayLike<number>,
  from: PlaneSize,
  to: PlaneSize,
  variant: PositionResampling,
): Float32Array<ArrayBuffer> {
  if (variant === 'timm') return resampleGrid(data, from, to, 'bicubic-antialias');
  const step = { height: from.height / (to.height + 0.1), width: from.width / (to.width + 0.1) };
  return resampleGrid(data, from, to, 'bicubic', step);
}
