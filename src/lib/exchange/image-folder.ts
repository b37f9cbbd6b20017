/** Images as a folder of PNG files under their keys, with their classes in dataset.json. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DataError } from '../errors.js';
import { makeFolder } from '../files/folders.js';
import type { DecodedImage } from '../images/decode-images.js';
import { isImageName } from '../images/image-names.js';
import type { ImageInput } from '../images/open-images.js';
import { encodePng } from '../images/png.js';
import { bytesOf } from '../numbers/typed-array.js';
import type { TensorColumn } from '../stream/schema.js';
import { FreeNames, fileNameOf } from './file-names.js';
import { writeLabels } from './preprocessed.js';
import { columnFor, type Row, type RowSource } from './rows.js';

/** Images that are encoded at once. */
const ENCODED_AT_ONCE = 16;

/**
 * Decoded images as rows.
 * @throws DataError when there are none, or they are of different sizes.
 */
export async function imageRows(input: ImageInput, where: string): Promise<RowSource> {
  const source = input.images[Symbol.asyncIterator]();
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
  const { total, metadata, notes } = input;
  return { columns: [column], total, metadata, notes, rows: rows() };
}

/** Writes rows of images as PNG files into a folder; `end` writes dataset.json. */
export class ImageFolderWriter {
  readonly #folder: string;
  readonly #shape: readonly number[];
  readonly #labels: [string, number][] = [];
  readonly #made = new Set<string>();
  readonly #names = new FreeNames({ ignoreCase: true });
  #otherEndings = 0;
  #pending: Promise<void>[] = [];

  constructor(folder: string, { shape }: TensorColumn) {
    this.#folder = folder;
    this.#shape = shape;
  }

  /** @throws DataError when the key is no name within the folder, or came before */
  async append({ key, label, tensors }: Row): Promise<void> {
    const names = pngNames(fileNameOf(key));
    const name = `${this.#names.take(key, names)}.png`;
    const folder = path.join(this.#folder, path.dirname(name));
    if (!this.#made.has(folder)) makeFolder(folder);
    this.#made.add(folder);
    const [height, width] = this.#shape;
    const data = Uint8Array.from(tensors.image); // the row is a view of a batch that passes by
    this.#start(encodePng({ width, height, data }).then((bytes) => writeFile(path.join(this.#folder, name), bytes)));
    if (name !== `${names[0]}.png`) {
      this.#start(writeFile(path.join(this.#folder, name.replace(/png$/, 'json')), JSON.stringify({ key })));
    } else if (name !== key) this.#otherEndings++;
    this.#labels.push([name, label]);
    if (this.#pending.length >= ENCODED_AT_ONCE) await this.#settle();
  }

  /** @returns what may surprise, one sentence each */
  async end(): Promise<string[]> {
    await this.#settle();
    writeLabels(this.#folder, this.#labels);
    const { renamed } = this.#names;
    const notes: string[] = [];
    if (this.#otherEndings > 0) notes.push(`keys that do not end in .png, whose files do: ${this.#otherEndings}`);
    if (renamed > 0)
      notes.push(
        `keys whose files have other names, since others took theirs: ${renamed} (a .json beside each tells it)`,
      );
    return notes;
  }

  /** Waits for what is being written, so that the folder can be removed. */
  async abort(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }

  #start(work: Promise<void>): void {
    work.catch(() => {}); // it is reported when its turn comes, and must not end the process before
    this.#pending.push(work);
  }

  async #settle(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    const failed = (await Promise.allSettled(pending)).find(({ status }) => status === 'rejected');
    if (failed) throw (failed as PromiseRejectedResult).reason;
  }
}

/** Names for the file of a key, without .png, the best first. */
function pngNames(key: string): string[] {
  return isImageName(key) ? [key.replace(/\.[^./]+$/, ''), key] : [key];
}
