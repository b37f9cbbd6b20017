/**
 * Rotary positions on a grid (RoPE, arXiv 2104.09864, in the two dimensions of EVA-02, arXiv 2303.11331, as
 * LightningDiT uses them, arXiv 2501.01423): queries and keys are turned by angles that grow with their token's row and
 * column.
 */
import { tf } from '../engine/index.js';
import type { PlaneSize } from '../images/resample.js';

/** Cosines and sines of the angles, [T, 1, d] for one order of tokens, or [B, T, 1, d] for an order of each image. */
export interface RotaryAngles {
  cos: tf.Tensor;
  sin: tf.Tensor;
  /** Whether elements are paired with those half a head away (DINOv3), instead of with their neighbours. */
  halves?: true;
}

const BASE = 10_000;

/**
 * The angles of a `side` x `side` grid, row by row, for heads of width `dim` (a multiple of 4). The first half of a
 * head turns with the row, the second with the column, neighbouring elements together: element pair j of a half by
 * position * 10000^(-2j / (dim / 2)). `prefix` tokens in front of the grid do not turn.
 */
export function rotaryAngles(side: number, dim: number, prefix = 0): RotaryAngles {
  const half = dim / 2;
  const tokens = prefix + side * side;
  const cos = new Float32Array(tokens * dim).fill(1);
  const sin = new Float32Array(tokens * dim);
  for (let cell = 0; cell < side * side; cell++) {
    const positions = [Math.floor(cell / side), cell % side];
    for (let i = 0; i < dim; i++) {
      const pair = Math.floor((i % half) / 2);
      const angle = positions[Math.floor(i / half)] * BASE ** ((-2 * pair) / half);
      cos[(prefix + cell) * dim + i] = Math.cos(angle);
      sin[(prefix + cell) * dim + i] = Math.sin(angle);
    }
  }
  return { cos: tf.tensor(cos, [tokens, 1, dim]), sin: tf.tensor(sin, [tokens, 1, dim]) };
}

/**
 * DINOv3's angles (arXiv 2508.10104; its code): the centres of patches in [-1, 1] along each axis, 2 pi times over each
 * of `periods` [d / 4], rows before columns, for both halves of a head. `prefix` tokens before the grid do not turn.
 */
export function periodAngles({ height, width }: PlaneSize, periods: tf.Tensor, prefix: number): RotaryAngles {
  const cells = height * width;
  const centre = (index: number, count: number): number => (2 * (index + 0.5)) / count - 1;
  const places = Array.from({ length: cells }, (_, cell) => [
    centre(Math.floor(cell / width), height),
    centre(cell % width, width),
  ]);
  const axes = tf.tensor(places.flat(), [cells, 2, 1]);
  const turns = tf.reshape(tf.div(tf.mul(axes, 2 * Math.PI), periods), [cells, -1]); // [T, d / 2]
  const angles = tf.expandDims(tf.concat([turns, turns], 1), 1); // [T, 1, d]
  const still = tf.zeros([prefix, ...angles.shape.slice(1)]); // [P, 1, d]
  const all = prefix > 0 ? tf.concat([still, angles], 0) : angles; // [P + T, 1, d]
  return { cos: tf.cos(all), sin: tf.sin(all), halves: true };
}

/** The matrix [dim, dim] by which (a, b) of every pair, `step` elements apart, becomes (-b, a). */
function quarterTurn(dim: number, step: number): tf.Tensor {
  const matrix = new Float32Array(dim * dim);
  for (let i = 0; i < dim; i++) {
    if (Math.floor(i / step) % 2 === 1) continue;
    matrix[(i + step) * dim + i] = -1;
    matrix[i * dim + i + step] = 1;
  }
  return tf.tensor(matrix, [dim, dim]);
}

/** Rotates `x` [B, T, H, d] by the angles of its tokens. */
export function rotate(x: tf.Tensor, { cos, sin, halves }: RotaryAngles): tf.Tensor {
  const dim = x.shape.at(-1)!;
  // By a product with a small matrix: gathering every other element would cost more.
  const turned = tf.reshape(tf.matMul(tf.reshape(x, [-1, dim]), quarterTurn(dim, halves ? dim / 2 : 1)), x.shape); // [B, T, H, d]
  return tf.add(tf.mul(x, cos), tf.mul(turned, sin));
}
