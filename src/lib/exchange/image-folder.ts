/** Images as a folder of PNG files under their keys, with their classes in dataset.json. */
import { mkdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../errors.js';
import type { DecodedImage } from '../images/decode-images.js';
import { isImageName } from '../images/list.js';
import { encodePng } from '../images/png.js';
import { bytesOf } from '../numbers/typed-array.js';
import type { TensorColumn } from '../stream/schema.js';
import { writeLabels } from './preprocessed.js';
import { columnFor, type Row, type RowSource } from './rows.js';

/** Images that are encoded at once. */
const ENCODED_AT_ONCE = 16;

/**
 * Decoded images as rows.
 * @throws DataError when there are none, or they are of different sizes.
 */
export async function imageRows(images: AsyncIterable<DecodedImage>, where: string): Promise<RowSource> {
  const source = images[Symbol.asyncIterator]();
  const first = await source.next();
  if (first.done) throw new DataError(`${where}: holds no images`);
  const { width, height } = first.value.image;
  const column = columnFor({ shape: [height, width, 3], dtype: 'u8' }, where);
  const toRow = ({ key, label, image }: DecodedImage): Row => {
    if (image.width === width && image.height === height)
      return { key, label, tensors: { image: bytesOf(image.data) } };
    throw new DataError(
      `${where}: '${key}' is ${image.width}x${image.height}, those before are ${width}x${height}`,
      'Crop them to one size with --size.',
    );
  };
  async function* rows(): AsyncGenerator<Row> {
    for (let next: IteratorResult<DecodedImage> = first; !next.done; next = await source.next())
      yield toRow(next.value);
  }
  return { columns: [column], total: undefined, rows: rows() };
}

/** Writes rows of images as PNG files; `end` writes dataset.json, without which it is not done. */
export class ImageFolderWriter {
  readonly #folder: string;
  readonly #shape: readonly number[];
  readonly #labels: [string, number][] = [];
  readonly #made = new Set<string>();
  #pending: Promise<void>[] = [];

  constructor(folder: string, { shape }: TensorColumn) {
    this.#folder = folder;
    this.#shape = shape;
  }

  /** @throws DataError when the key is no name within the folder. */
  async append({ key, label, tensors }: Row): Promise<void> {
    const name = fileName(key);
    const folder = path.join(this.#folder, path.dirname(name));
    if (!this.#made.has(folder)) mkdirSync(folder, { recursive: true });
    this.#made.add(folder);
    const [height, width] = this.#shape;
    const data = Uint8Array.from(tensors.image); // the row is a view of a batch that passes by
    this.#pending.push(
      encodePng({ width, height, data }).then((bytes) => writeFile(path.join(this.#folder, name), bytes)),
    );
    this.#labels.push([name, label]);
    if (this.#pending.length === ENCODED_AT_ONCE) await this.#settle();
  }

  async end(): Promise<void> {
    await this.#settle();
    writeLabels(this.#folder, this.#labels);
  }

  async #settle(): Promise<void> {
    await Promise.all(this.#pending);
    this.#pending = [];
  }
}

function fileName(key: string): string {
  const name = isImageName(key) ? key.replace(/\.[^./]+$/, '.png') : `${key}.png`;
  const isInside = !path.posix.isAbsolute(name) && !path.posix.normalize(name).startsWith('..');
  if (isInside && !name.includes('\\') && !name.includes('\0')) return name;
  throw new DataError(`the key '${key}' is no name of a file in a folder`);
}
