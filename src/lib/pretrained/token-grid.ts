/** Turns the features of one image, in the layout of any network, into tokens, row by row of the grid. */
import { DataError } from '../errors.js';
import { showShape, sizeOf } from '../numbers/typed-array.js';

export interface Grid {
  tokens: number;
  dim: number;
  /** Values of one image's row, with the prefix. */
  rowSize: number;
  /** Tokens that stand before the grid: the class token first. */
  prefix: number;
  /** Whether a row is a map [C, h, w], to be turned to [h, w, C]. */
  channelsFirst: boolean;
}

/** What may precede the patches: nothing, a class token, or one and DINOv2's four registers. */
const PREFIXES = [0, 1, 5];

/**
 * What the features of shape [N, C, h, w] (or [N, h, w, C]), [N, T, D] or [N, D] hold; a vector is one token.
 * @param channels where the channels of a map are.
 * @throws DataError for any other shape, or a sequence that is no square grid.
 */
export function tokenGrid(shape: readonly number[], channels: 'first' | 'last', what: string): Grid {
  const [, ...row] = shape;
  const rowSize = sizeOf(row);
  if (row.length === 3) {
    const dim = channels === 'first' ? row[0] : row[2];
    return { tokens: rowSize / dim, dim, rowSize, prefix: 0, channelsFirst: channels === 'first' };
  }
  if (row.length === 1) return { tokens: 1, dim: rowSize, rowSize, prefix: 0, channelsFirst: false };
  const prefix = PREFIXES.find((count) => Number.isInteger(Math.sqrt(row[0] - count)) && row[0] >= 2 * count);
  if (row.length !== 2 || prefix === undefined) {
    throw new DataError(
      `${what} is ${showShape(shape)}: neither a map [N, C, h, w], nor a square grid of tokens [N, T, D], nor a vector [N, D]`,
      'Choose another output with --output.',
    );
  }
  return { tokens: row[0] - prefix, dim: row[1], rowSize, prefix, channelsFirst: false };
}

/** Tokens [T, D] of one image's row. */
export function toTokens(row: Float32Array, grid: Grid, out: Float32Array): void {
  const { tokens, dim, prefix, channelsFirst } = grid;
  if (!channelsFirst) {
    out.set(row.subarray(prefix * dim));
    return;
  }
  for (let token = 0; token < tokens; token++) {
    for (let channel = 0; channel < dim; channel++) out[token * dim + channel] = row[channel * tokens + token];
  }
}
