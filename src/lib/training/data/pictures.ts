/**
 * Pictures in place of cached latents, for networks that learn pixels: decoded and cropped when a batch asks for them.
 * The values are those that `encode-vae --vae pixels` would have stored in f32.
 */
import { readdirSync, statSync } from 'node:fs';
import { DataError, UsageError } from '../../errors.js';
import { portablePath } from '../../files/portable-path.js';
import { sha256OfText } from '../../files/sha256.js';
import type { ImagePlace, ImageReader } from '../../images/image-store.js';
import { isTarPattern } from '../../images/tar-files.js';
import { sizeOf } from '../../numbers/typed-array.js';
import { CONTENT_DIGITS, type OpenedFile, type TensorFile } from '../../stream/file.js';
import { hashKeys } from '../../stream/key-table.js';
import type { StreamSchema } from '../../stream/schema.js';
import { parsePartName } from '../../stream/shards.js';

/** What training needs of the file of its latents. */
export type LatentFile = Pick<
  TensorFile,
  'name' | 'rows' | 'schema' | 'keys' | 'keyHashes' | 'content' | 'keyOf' | 'labels' | 'forget' | 'read' | 'close'
> & { readonly opened: OpenedFile | OpenedPictures };

/** Pictures as plain data, by which another thread opens them. */
export interface OpenedPictures {
  readonly input: string;
  /** Side of the square that each is cropped to. */
  readonly side: number;
  readonly keys: readonly string[];
  readonly labels: Int32Array;
  readonly places: readonly ImagePlace[];
  readonly classes: readonly string[] | undefined;
}

export const isOpenedPictures = (opened: object): opened is OpenedPictures => 'places' in opened && 'side' in opened;

/** Pictures that are decoded and cropped at a time. */
const AT_A_TIME = 4;

/** Pictures as if they were a file of latents: [3, side, side] each, in [-1, 1]. */
export class PictureFile implements LatentFile {
  readonly opened: OpenedPictures;
  readonly schema: StreamSchema;
  #reader: Promise<ImageReader> | undefined;

  constructor(opened: OpenedPictures) {
    const { input, side, classes } = opened;
    this.opened = opened;
    this.schema = {
      columns: [{ name: 'latent', dtype: 'f32', shape: [3, side, side], dimNames: ['C', 'H', 'W'] }],
      metadata: {
        'repa.model': 'pixels',
        'repa.preprocess': JSON.stringify({ crop: 'adm', size: side }),
        'repa.latent.scale': '[1]',
        'repa.latent.shift': '[0]',
        'repa.reference': portablePath(input),
        ...(classes && { 'repa.classes': JSON.stringify(classes) }),
      },
    };
  }

  get name(): string {
    return this.opened.input;
  }

  get rows(): number {
    return this.opened.keys.length;
  }

  keys = (): readonly string[] => this.opened.keys;
  keyHashes = (): Float64Array => hashKeys(this.opened.keys);
  keyOf = (row: number): string => this.opened.keys[row];
  labels = (): Int32Array => this.opened.labels;
  forget(): void {}

  /** A hash of keys and labels: the pictures themselves are read only when a batch needs them. */
  get content(): string {
    const { keys, labels } = this.opened;
    return sha256OfText(keys.map((key, row) => `${key}\0${labels[row]}\n`).join('')).slice(0, CONTENT_DIGITS);
  }

  /** Pixels of rows, [n, 3, side, side]. @throws DataError for a picture that cannot be read, naming it */
  async read(_column: string, rows: ArrayLike<number>, out: Float32Array): Promise<void> {
    // Imported here: what decodes images takes longest to start.
    const { ImageReader } = await import('../../images/image-store.js');
    const { centerCrop } = await import('../../images/crop.js');
    const { toSignedUnit } = await import('../../images/normalise.js');
    this.#reader ??= Promise.resolve(new ImageReader());
    const reader = await this.#reader;
    const { side, places } = this.opened;
    const size = sizeOf([3, side, side]);
    for (let start = 0; start < rows.length; start += AT_A_TIME) {
      const count = Math.min(AT_A_TIME, rows.length - start);
      const images = await Promise.all(Array.from({ length: count }, (_, i) => reader.read(places[rows[start + i]])));
      for (const [i, image] of images.entries()) {
        toSignedUnit(centerCrop(image, side), out.subarray((start + i) * size, (start + i + 1) * size));
      }
    }
  }

  async close(): Promise<void> {
    (await this.#reader)?.close();
  }
}

/** Whether a path is a folder or an archive of pictures, or a pattern of some; a stream tells by its columns. */
export function isPictureSet(input: string): boolean {
  if (isTarPattern(input)) return true;
  const found = statSync(input, { throwIfNoEntry: false });
  if (found?.isDirectory()) return !readdirSync(input).some((name) => parsePartName(name) !== undefined);
  return found !== undefined && /\.(tar|tar\.gz|tgz|zip|parquet)$/i.test(input);
}

/**
 * Opens pictures whose pixels are to be latents.
 * @throws UsageError for pictures without a side, and pictures that cannot be read in any order
 */
export async function openPictures(input: string, side: number | undefined): Promise<PictureFile> {
  if (side === undefined) {
    throw new UsageError(
      `${input}: holds pictures, not latents`,
      'Train on their pixels with --pixels SIDE, or make latents of them with repa encode-vae.',
    );
  }
  // Imported here: what decodes images takes longest to start.
  const { listPictures } = await import('../../images/image-store.js');
  const { pictures, classes } = await listPictures(input);
  if (pictures.length === 0) throw new DataError(`${input}: holds no pictures`);
  const labels = Int32Array.from(pictures, ({ label }) => label);
  const places = pictures.map(({ place }) => place);
  return new PictureFile({ input, side, keys: pictures.map(({ key }) => key), labels, places, classes });
}
