/** Random views of small pictures: what an encoder is trained on. */
import { fillUniform, PURPOSE } from '../../src/lib/numbers/random.js';
import { SIDE } from './dataset.js';

const WHITE = 255;
const DRAWS = 64;
const PLANE = SIDE * SIDE;

/** Shape and elements of a view. */
export const VIEW_SHAPE = [3, SIDE, SIDE];
export const VIEW_SIZE = 3 * PLANE;

export const PATCH = 8;
/** Patches along one side, and in all. */
export const GRID = SIDE / PATCH;
export const PATCHES = GRID * GRID;
export const PATCH_SIZE = 3 * PATCH * PATCH;

/** ImageNet's mean and standard deviation of red, green and blue, which encoders of this kind expect. */
const MEAN = [0.485, 0.456, 0.406];
const DEVIATION = [0.229, 0.224, 0.225];

/** Successive uniforms of one view, the same whatever was drawn before it. */
export function drawsOf(seed: number, step: number, row: number): (low: number, high: number) => number {
  const values = new Float32Array(DRAWS);
  fillUniform(values, seed, PURPOSE.augment, row, step);
  let next = 0;
  return (low, high) => low + (high - low) * values[next++];
}

type Draw = ReturnType<typeof drawsOf>;

/** A picture as it is, normalised: [3, SIDE, SIDE]. */
export function writeWhole(picture: Uint8Array, out: Float32Array): void {
  for (let i = 0; i < PLANE; i++) {
    for (let c = 0; c < 3; c++) out[c * PLANE + i] = (picture[3 * i + c] / WHITE - MEAN[c]) / DEVIATION[c];
  }
}

/** A picture as it is, in [-1, 1]: [3, SIDE, SIDE]. */
export function writeSigned(picture: Uint8Array, out: Float32Array): void {
  for (let i = 0; i < PLANE; i++) {
    for (let c = 0; c < 3; c++) out[c * PLANE + i] = picture[3 * i + c] / (WHITE / 2) - 1;
  }
}

/** Largest shift of a moved picture, in pixels. */
const SHIFT = 4;

/** A picture, in [-1, 1], moved by a few pixels and mirrored half of the time: [3, SIDE, SIDE]. */
export function writeMoved(picture: Uint8Array, out: Float32Array, draw: Draw): void {
  const [right, down] = [Math.round(draw(-SHIFT, SHIFT)), Math.round(draw(-SHIFT, SHIFT))];
  const isMirrored = draw(-1, 1) < 0;
  for (let i = 0; i < PLANE; i++) {
    const column = (isMirrored ? SIDE - 1 - (i % SIDE) : i % SIDE) - right;
    const row = Math.floor(i / SIDE) - down;
    const inside = column >= 0 && column < SIDE && row >= 0 && row < SIDE;
    const pixel = 3 * (row * SIDE + column);
    for (let c = 0; c < 3; c++) out[c * PLANE + i] = inside ? picture[pixel + c] / (WHITE / 2) - 1 : 1;
  }
}

/** From a view's pixels to places in the picture: `centre` + column * `right` + row * `down`. */
interface Placement {
  centre: readonly [number, number];
  right: readonly [number, number];
  down: readonly [number, number];
}

/** A crop of 60 to 110 % of the picture's side, turned by up to 15 degrees, and flipped half of the time. */
function place(draw: Draw): Placement {
  const span = draw(0.6, 1.1);
  const stretch = Math.sqrt(draw(0.9, 1.1));
  const slack = (SIDE * Math.abs(1 - span)) / 2;
  const centre = [SIDE / 2 + draw(-slack, slack), SIDE / 2 + draw(-slack, slack)] as const;
  const angle = draw(-Math.PI / 12, Math.PI / 12);
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const [width, height] = [(draw(-1, 1) < 0 ? -span : span) * stretch, span / stretch];
  return { centre, right: [width * cos, width * sin], down: [-height * sin, height * cos] };
}

/** Contrast, brightness and saturation, each changed by up to 30 %; one view in ten is grey. */
function recolour(draw: Draw): (rgb: Float64Array) => void {
  const contrast = draw(0.7, 1.3);
  const brightness = WHITE * draw(-0.15, 0.15);
  const saturation = draw(0, 1) < 0.1 ? 0 : draw(0.7, 1.3);
  return (rgb) => {
    const grey = (rgb[0] + rgb[1] + rgb[2]) / 3;
    for (let c = 0; c < 3; c++) {
      const value = contrast * (grey + saturation * (rgb[c] - grey) - WHITE / 2) + WHITE / 2 + brightness;
      rgb[c] = Math.min(WHITE, Math.max(0, value));
    }
  };
}

/** A random view of a picture, normalised: [3, SIDE, SIDE]. */
export function writeView(picture: Uint8Array, out: Float32Array, draw: Draw): void {
  const { centre, right, down } = place(draw);
  const colour = recolour(draw);
  const rgb = new Float64Array(3);
  for (let i = 0; i < PLANE; i++) {
    const column = (i % SIDE) - (SIDE - 1) / 2;
    const row = Math.floor(i / SIDE) - (SIDE - 1) / 2;
    const x = centre[0] - 0.5 + column * right[0] + row * down[0];
    const y = centre[1] - 0.5 + column * right[1] + row * down[1];
    sample(picture, x, y, rgb);
    colour(rgb);
    for (let c = 0; c < 3; c++) out[c * PLANE + i] = (rgb[c] / WHITE - MEAN[c]) / DEVIATION[c];
  }
}

/** Bilinear; white beyond the border. */
function sample(picture: Uint8Array, x: number, y: number, rgb: Float64Array): void {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  rgb.fill(0);
  for (let corner = 0; corner < 4; corner++) {
    const column = left + (corner & 1);
    const row = top + (corner >> 1);
    const weight = (1 - Math.abs(x - column)) * (1 - Math.abs(y - row));
    const inside = column >= 0 && column < SIDE && row >= 0 && row < SIDE;
    const pixel = 3 * (row * SIDE + column);
    for (let c = 0; c < 3; c++) rgb[c] += weight * (inside ? picture[pixel + c] : WHITE);
  }
}

/** The pixels of each patch, channel by channel: [PATCHES, PATCH_SIZE]. */
export function writePatches(view: Float32Array, out: Float32Array): void {
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < PLANE; i++) {
      const [row, column] = [Math.floor(i / SIDE), i % SIDE];
      const patch = Math.floor(row / PATCH) * GRID + Math.floor(column / PATCH);
      out[patch * PATCH_SIZE + c * PATCH * PATCH + (row % PATCH) * PATCH + (column % PATCH)] = view[c * PLANE + i];
    }
  }
}

/**
 * Hides 10 to 50 % of the patches of every second view, in blocks of up to 4 x 4, by the mean colour. `mask` [PATCHES]
 * becomes 1 where a patch is hidden.
 */
export function hidePatches(view: Float32Array, mask: Float32Array, draw: Draw): void {
  mask.fill(0);
  if (draw(0, 1) < 0.5) return;
  const wanted = PATCHES * draw(0.1, 0.5);
  for (let block = 0, hidden = 0; hidden < wanted && block < 8; block++) {
    const [height, width] = [Math.floor(draw(1, 5)), Math.floor(draw(1, 5))];
    const [top, left] = [Math.floor(draw(0, GRID + 1 - height)), Math.floor(draw(0, GRID + 1 - width))];
    for (let row = top; row < top + height; row++) mask.fill(1, row * GRID + left, row * GRID + left + width);
    hidden = mask.reduce((sum, value) => sum + value, 0);
  }
  for (let i = 0; i < view.length; i++) {
    const [row, column] = [Math.floor((i % PLANE) / SIDE), i % SIDE];
    if (mask[Math.floor(row / PATCH) * GRID + Math.floor(column / PATCH)]) view[i] = 0;
  }
}
