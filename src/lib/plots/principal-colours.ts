/**
 * Tokens as colours: their first three principal components over all images as red, green and blue, as DINOv2's authors
 * show features (arXiv 2304.07193, figure 1). Tokens that the network takes for alike have like colours.
 */
import { DataError } from '../errors.js';
import type { RgbImage } from '../images/rgb-image.js';
import { openTensorStream } from '../stream/reader.js';
import { floatRow } from '../stream/rows.js';
import { valueColumns } from '../stream/schema.js';

export interface TokenPicture {
  key: string;
  label: number;
  image: RgbImage;
}

const COMPONENTS = 3;
/** Steps of the subspace iteration, enough for the components of features. */
const ITERATIONS = 24;
/** The share of values at either end that is drawn as dark or as bright as possible. */
const TAIL = 0.01;
/** Sides of the pictures are at least this many pixels: a token is a square of them. */
const SIDE = 64;

/**
 * The tokens of the first `count` rows of a stream as pictures.
 * @param column of the tokens; by default the first that lie on a square grid
 * @throws DataError when there are none
 */
export async function tokenPictures(input: string, count: number, column?: string): Promise<TokenPicture[]> {
  const reader = await openTensorStream(input);
  const isGrid = (shape: readonly number[]): boolean =>
    shape.length === 2 && shape[0] > 1 && Math.sqrt(shape[0]) % 1 === 0;
  const found = valueColumns(reader.schema.columns).find(({ name, dtype, shape }) => {
    return dtype !== 'u8' && isGrid(shape) && (column === undefined || name === column);
  });
  if (!found) {
    const which = column === undefined ? 'no tokens on a square grid' : `no tokens '${column}' on a square grid`;
    throw new DataError(
      `${reader.name}: has ${which}`,
      'repa extract-dino gives some, and extract-hidden with --pool none.',
    );
  }
  const [tokens, dim] = found.shape;
  const rows: { key: string; label: number; values: Float32Array }[] = [];
  for await (const batch of reader) {
    for (const [row, key] of batch.keys.entries()) {
      if (rows.length < count) rows.push({ key, label: batch.labels[row], values: floatRow(batch, found.name, row) });
    }
    if (rows.length === count) break;
  }
  if (rows.length === 0) throw new DataError(`${reader.name}: holds no rows`);
  const all = new Float32Array(rows.length * tokens * dim); // [N T, D]
  for (const [i, { values }] of rows.entries()) all.set(values, i * tokens * dim);
  const colours = principalColours(all, dim); // [N T, 3]
  return rows.map(({ key, label }, i) => ({
    key,
    label,
    image: enlarged(colours.subarray(i * tokens * COMPONENTS, (i + 1) * tokens * COMPONENTS), Math.sqrt(tokens)),
  }));
}

/**
 * Red, green and blue of each row: its place along the first three principal components.
 * @param rows [N, D]
 * @returns [N, 3]
 */
export function principalColours(rows: Float32Array, dim: number): Uint8Array {
  const count = rows.length / dim;
  const centred = new Float64Array(rows);
  for (let d = 0; d < dim; d++) {
    let mean = 0;
    for (let i = d; i < centred.length; i += dim) mean += centred[i] / count;
    for (let i = d; i < centred.length; i += dim) centred[i] -= mean;
  }
  const places = project(centred, dim, principalAxes(centred, dim));
  const colours = new Uint8Array(count * COMPONENTS);
  for (let c = 0; c < COMPONENTS; c++) {
    const sorted = places[c].toSorted();
    const [low, high] = [TAIL, 1 - TAIL].map((share) => sorted[Math.round(share * (count - 1))]);
    const span = high - low || 1;
    for (let i = 0; i < count; i++) {
      colours[i * COMPONENTS + c] = 255 * Math.min(1, Math.max(0, (places[c][i] - low) / span));
    }
  }
  return colours;
}

/** Dot products of every row of `x` [N, D] with each axis [D]: one array [N] an axis. */
function project(x: Float64Array, dim: number, axes: readonly Float64Array[]): Float64Array[] {
  return axes.map((axis) => {
    const out = new Float64Array(x.length / dim);
    for (let i = 0; i < x.length; i++) out[Math.floor(i / dim)] += x[i] * axis[i % dim];
    return out;
  });
}

/** Orthonormal axes of the largest variance of centred rows `x` [N, D], by subspace iteration: axes <- X^T (X axes). */
function principalAxes(x: Float64Array, dim: number): Float64Array[] {
  let axes = Array.from({ length: COMPONENTS }, (_, c) => {
    return Float64Array.from({ length: dim }, (_, d) => Math.sin(1 + (c + 1) * (d + 1))); // any start of no symmetry
  });
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const places = project(x, dim, orthonormal(axes));
    axes = places.map((place) => {
      const axis = new Float64Array(dim);
      for (let i = 0; i < x.length; i++) axis[i % dim] += x[i] * place[Math.floor(i / dim)];
      return axis;
    });
  }
  return orthonormal(axes);
}

/** Gram and Schmidt; an axis that is none (of fewer dimensions than axes) is left zero. */
function orthonormal(axes: readonly Float64Array[]): Float64Array[] {
  const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const done: Float64Array[] = [];
  for (const axis of axes) {
    const length = Math.sqrt(dot(axis, axis));
    const rest = done.reduce((left, other) => {
      const along = dot(left, other);
      return left.map((value, i) => value - along * other[i]);
    }, axis);
    const norm = Math.sqrt(dot(rest, rest));
    done.push(norm > 1e-9 * length ? rest.map((value) => value / norm) : new Float64Array(rest.length));
  }
  return done;
}

/** A grid of colours [side, side, 3] as a picture in which each is a square. */
function enlarged(colours: Uint8Array, side: number): RgbImage {
  const cell = Math.ceil(SIDE / side);
  const width = side * cell;
  const data = new Uint8Array(width * width * COMPONENTS);
  for (let i = 0; i < data.length; i++) {
    const pixel = Math.floor(i / COMPONENTS);
    const [row, column] = [Math.floor(Math.floor(pixel / width) / cell), Math.floor((pixel % width) / cell)];
    data[i] = colours[(row * side + column) * COMPONENTS + (i % COMPONENTS)];
  }
  return { width, height: width, data };
}
