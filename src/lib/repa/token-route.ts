/** Tokens that skip blocks, a random share of each image's: how they are drawn, taken out and put back. */
import { reorder, tf } from '../engine/index.js';
import type { Stream } from '../models/passage.js';
import type { RotaryAngles } from '../nn/rotary.js';
import { PURPOSE, permutation } from '../numbers/random.js';
import type { Draw } from './method.js';

export interface Route {
  /** [B, T] int32: the tokens of each image in a random order, of which the first `kept` are kept. */
  order: tf.Tensor;
  /** [B, T] int32: the place of each token in that order. */
  places: tf.Tensor;
  kept: number;
}

/** Draws the tokens of each image in a random order, then the place of each token in that order: [B, 2, T] int32. */
export const drawRoute = (tokens: number): Draw => ({
  shape: [2, tokens],
  dtype: 'int32',
  values({ rows, seed, step, position }) {
    const out = new Int32Array(rows * 2 * tokens);
    for (let row = 0; row < rows; row++) {
      const order = out.subarray(2 * row * tokens, (2 * row + 1) * tokens);
      const places = out.subarray((2 * row + 1) * tokens, (2 * row + 2) * tokens);
      order.set(permutation(tokens, seed, PURPOSE.route, step, position + row));
      order.forEach((token, place) => {
        places[token] = place;
      });
    }
    return out;
  },
});

/** Squares of tokens, and how many of each are kept. */
export interface TokenGroups {
  side: number;
  kept: number;
}

/** The smallest squares, 2 x 2 or 4 x 4, of which this share is a whole number of tokens; undefined if neither is. */
export function groupsOf(share: number): TokenGroups | undefined {
  const all = [2, 4].map((side) => ({ side, kept: side * side * (1 - share) }));
  return all.find(({ side, kept }) => Number.isInteger(kept) && kept >= 1 && kept < side * side);
}

/**
 * The same for a grid of `columns` x `columns` tokens of which each square keeps as many, drawn at random: the kept
 * ones come first, square by square. [B, 2, T] int32.
 */
export const drawGroupedRoute = (columns: number, { side, kept }: TokenGroups): Draw => ({
  shape: [2, columns * columns],
  dtype: 'int32',
  values({ rows, seed, step, position }) {
    const tokens = columns * columns;
    const across = columns / side;
    const out = new Int32Array(rows * 2 * tokens);
    for (let row = 0; row < rows; row++) {
      const order = out.subarray(2 * row * tokens, (2 * row + 1) * tokens);
      const places = out.subarray((2 * row + 1) * tokens, (2 * row + 2) * tokens).fill(-1);
      let count = 0;
      const take = (token: number): void => {
        order[count] = token;
        places[token] = count++;
      };
      for (let group = 0; group < across * across; group++) {
        const [top, left] = [side * Math.floor(group / across), side * (group % across)];
        const number = (position + row) * across * across + group;
        for (const cell of permutation(side * side, seed, PURPOSE.routeGroups, step, number).subarray(0, kept)) {
          take((top + Math.floor(cell / side)) * columns + left + (cell % side));
        }
      }
      for (let token = 0; token < tokens; token++) if (places[token] < 0) take(token);
    }
    return out;
  },
});

/** How many of `tokens` a method keeps where `share` of them skip blocks: the published codes round differently. */
export type CountKept = (tokens: number, share: number) => number;

/** The route that was drawn, [B, 2, T], where `share` of the tokens skip blocks. */
export function routeOf(drawn: tf.Tensor, share: number, kept: CountKept): Route {
  const [order, places] = tf.unstack(drawn, 1); // [B, T] each
  return { order, places, kept: kept(order.shape[1]!, share) };
}

/** Turns indices of tokens within an image, [B, T], into indices of tokens within the batch, [B * T]. */
function acrossBatch(indices: tf.Tensor): tf.Tensor {
  const [batch, tokens] = indices.shape;
  const first = tf.tensor(
    Int32Array.from({ length: batch }, (_, row) => row * tokens),
    [batch, 1],
    'int32',
  );
  return tf.reshape(tf.add(indices, first), [batch * tokens]);
}

/** `x` [B, T, D] with the tokens of each image in the order of `order`, whose inverse is `places`. */
function reordered(x: tf.Tensor, order: tf.Tensor, places: tf.Tensor): tf.Tensor {
  const rows = tf.reshape(x, [-1, x.shape[2]!]); // [B * T, D]
  return tf.reshape(reorder(rows, acrossBatch(order), acrossBatch(places)), x.shape); // [B, T, D]
}

/** Parts `x` [B, T, D] into the kept tokens [B, K, D] and those that skip [B, T - K, D]. */
export function partTokens(x: tf.Tensor, { order, places, kept }: Route): [kept: tf.Tensor, skipping: tf.Tensor] {
  const [keeping, skipping] = tf.split(reordered(x, order, places), [kept, x.shape[1]! - kept], 1);
  return [keeping, skipping];
}

/** Puts both parts back into the order of the image: [B, T, D]. */
export const joinTokens = (kept: tf.Tensor, skipping: tf.Tensor, { order, places }: Route): tf.Tensor =>
  reordered(tf.concat([kept, skipping], 1), places, order);

/** Of values of all tokens [B, T, D], those of the kept ones [B, K, D]. */
export const seenTokens = (values: tf.Tensor, route: Route): tf.Tensor => partTokens(values, route)[0];

/** The rotary angles of the kept tokens, [B, K, 1, d]. */
function keptAngles({ cos, sin }: RotaryAngles, { order, kept }: Route): RotaryAngles {
  const chosen = tf.slice(order, [0, 0], [-1, kept]); // [B, K]
  return { cos: tf.gather(cos, chosen), sin: tf.gather(sin, chosen) };
}

/** The stream of the kept tokens alone, those that skip [B, T - K, D], and the angles of all. */
export function partStream({ tokens, angles }: Stream, route: Route) {
  const [keeping, skipping] = partTokens(tokens, route);
  const kept: Stream = { tokens: keeping, angles: angles && keptAngles(angles, route) };
  return { kept, skipping, angles };
}
