/**
 * Captions that belong to latents, joined by the keys of their pictures: each step draws one of a picture's captions.
 */
import type { Draw } from '../../diffusion/draws.js';
import { DataError } from '../../errors.js';
import { NULL_CAPTION, pictureOf } from '../../images/captions.js';
import { fillUniform, PURPOSE, randomInteger } from '../../numbers/random.js';
import { showShape } from '../../numbers/typed-array.js';
import { type OpenedFile, openTensorFile, reopenTensorFile, type TensorFile } from '../../stream/file.js';
import { type DataFacts, factsOf } from './facts.js';

/** Vectors of texts, as a network takes them. */
export interface ContextShape {
  /** Words of a text. */
  tokens: number;
  dim: number;
}

/** Captions as plain data, by which another thread opens them without joining keys again. */
export interface OpenedCaptions extends ContextShape {
  file: OpenedFile;
  first: Uint32Array;
  rows: Uint32Array;
  empty: Float32Array;
}

export class Captions implements ContextShape {
  readonly tokens: number;
  readonly dim: number;
  /** The empty caption, which stands for none: [L, D]. */
  readonly empty: Float32Array;
  readonly #file: TensorFile;
  /** `rows` are rows of the file; those of latent `row` stand from first[row] up to, without, first[row + 1]. */
  readonly #first: Uint32Array;
  readonly #rows: Uint32Array;

  private constructor(file: TensorFile, { tokens, dim, first, rows, empty }: Omit<OpenedCaptions, 'file'>) {
    this.tokens = tokens;
    this.dim = dim;
    this.empty = empty;
    this.#file = file;
    this.#first = first;
    this.#rows = rows;
  }

  /** @throws DataError when a latent has no caption, or the stream holds something else */
  static async open(path: string, latents: Pick<TensorFile, 'name' | 'keys'>): Promise<Captions> {
    const file = await openTensorFile(path);
    const { tokens, dim } = contextShape(file);
    const byPicture = new Map<string, number[]>();
    for (const [row, key] of file.keys().entries()) {
      const picture = pictureOf(key);
      if (picture !== undefined) byPicture.set(picture, [...(byPicture.get(picture) ?? []), row]);
    }
    const keys = latents.keys();
    const missing = keys.filter((key) => !byPicture.has(key));
    if (missing.length > 0) {
      throw new DataError(
        `${path}: ${missing.length} of the ${keys.length} images in ${latents.name} have no caption, first '${missing[0]}'`,
        'Run repa encode-text on the captions of the images that repa encode-vae was run on.',
      );
    }
    const rows = Uint32Array.from(keys.flatMap((key) => byPicture.get(key)!));
    const first = new Uint32Array(keys.length + 1);
    for (const [row, key] of keys.entries()) first[row + 1] = first[row] + byPicture.get(key)!.length;
    return new Captions(file, { tokens, dim, first, rows, empty: readContext(file, emptyCaption(file)) });
  }

  /** Opens what another thread has opened and joined. */
  static reopen({ file, ...known }: OpenedCaptions): Captions {
    return new Captions(reopenTensorFile(file), known);
  }

  get opened(): OpenedCaptions {
    const { tokens, dim, empty } = this;
    return { file: this.#file.opened, tokens, dim, empty, first: this.#first, rows: this.#rows };
  }

  get facts(): DataFacts {
    return factsOf(this.#file);
  }

  /**
   * One caption of each picture: drawn, as everything is, by seed, step and position in the global batch.
   * @returns [B, L, D]
   */
  read(rows: Uint32Array, seed: number, step: number, position: number): Float32Array {
    const chosen = Uint32Array.from(rows, (row, b) => {
      const [start, end] = [this.#first[row], this.#first[row + 1]];
      return this.#rows[start + randomInteger(end - start, seed, PURPOSE.caption, position + b, step)];
    });
    const out = new Float32Array(rows.length * this.tokens * this.dim);
    this.#file.read('text', chosen, out);
    return out;
  }

  close(): void {
    this.#file.close();
  }
}

/** Captions [B, L, D]; those that are dropped with chance `dropout` are the empty one, [L, D]. */
export const texts = (dropout: number, { tokens, dim }: ContextShape, empty: Float32Array): Draw => ({
  shape: [tokens, dim],
  dtype: 'float32',
  values({ texts, rows, seed, step, position }) {
    const chance = new Float32Array(1);
    const kept = texts!.slice(); // the batch may be read again
    for (let row = 0; row < rows; row++) {
      fillUniform(chance, seed, PURPOSE.labelDropout, position + row, step);
      if (chance[0] < dropout) kept.set(empty, row * tokens * dim);
    }
    return kept;
  },
});

/** @throws DataError when a stream holds no vectors of texts */
export function contextShape({ name, schema }: TensorFile): ContextShape {
  const column = schema.columns.find((each) => each.name === 'text');
  if (column?.shape.length === 2) return { tokens: column.shape[0], dim: column.shape[1] };
  const found = schema.columns.map((each) => `${each.name} ${showShape(each.shape)}`).join(', ');
  throw new DataError(`${name}: has no captions, but ${found}`, 'Make them with repa encode-text.');
}

/** The row of the empty caption. @throws DataError when there is none */
export function emptyCaption(file: TensorFile): number {
  const row = file.keys().indexOf(NULL_CAPTION);
  if (row >= 0) return row;
  throw new DataError(`${file.name}: lacks the empty caption, '${NULL_CAPTION}'`, 'repa encode-text writes it last.');
}

/** The vectors of one row: [L, D]. */
export function readContext(file: TensorFile, row: number): Float32Array {
  const { tokens, dim } = contextShape(file);
  const out = new Float32Array(tokens * dim);
  file.read('text', [row], out);
  return out;
}
