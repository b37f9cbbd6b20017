/** Decoding many pictures ahead, delivered in their order, with a bounded number in memory. */
import { existsSync } from 'node:fs';
import { DataError, RepaError } from '../errors.js';
import { decodeInThread } from './decode-pool.js';
import type { RgbImage } from './rgb-image.js';

/** A picture to decode: a file, or the bytes of one (a member of an archive). */
export interface ImageSource {
  key: string;
  label: number;
  path?: string;
  bytes?: Uint8Array;
}

export interface DecodedImage {
  key: string;
  label: number;
  image: RgbImage;
}

export interface DecodeOptions {
  /** How many pictures are decoded before they are asked for, and so how many are held. */
  ahead: number;
  /** Side of the centre crop that is cut from each picture as soon as it is decoded; without it they stay whole. */
  crop?: number;
  /** Asked about a picture that cannot be read; true leaves it out. Without it, the first one ends the run. */
  skip?: (error: RepaError) => boolean;
}

/** Bytes of decoded pictures that are held; two pictures are, however large. */
const MOST_HELD = 2 ** 29;

/**
 * Decodes in parallel and yields in the order of `sources`. No picture is started before there is room for it, so a
 * slow consumer holds `ahead` pictures and no more, and fewer of large ones.
 * @throws RepaError that names the picture, unless `skip` lets it pass.
 */
export async function* decodeImages(
  sources: Iterable<ImageSource> | AsyncIterable<ImageSource>,
  { ahead, crop, skip = () => false }: DecodeOptions,
): AsyncGenerator<DecodedImage> {
  const decode = async ({ key, label, path, bytes }: ImageSource): Promise<DecodedImage | undefined> => {
    try {
      if (!bytes) refuseMisreadName(path ?? key);
      else if (key.includes(MISREAD)) throw misreadName(path ?? key);
      return { key, label, image: await decodeInThread(bytes ?? path ?? key, path ?? key, crop) };
    } catch (error) {
      if (error instanceof RepaError && skip(error)) return undefined;
      throw error;
    }
  };
  const pending: Promise<DecodedImage | undefined>[] = [];
  let largest = 0; // bytes of a decoded picture
  const measure = (found: DecodedImage | undefined): void => {
    largest = Math.max(largest, found?.image.data.length ?? 0);
  };
  for await (const source of sources) {
    const decoded = decode(source);
    // A failure is reported when its turn comes, and must not end the process before.
    decoded.then(measure, () => {});
    pending.push(decoded);
    while (pending.length >= ahead || (pending.length > 1 && pending.length * largest > MOST_HELD)) {
      const image = await pending.shift();
      if (image) yield image;
    }
  }
  for (const decoded of pending) {
    const image = await decoded;
    if (image) yield image;
  }
}

/** What bytes that are no UTF-8 are read as. */
const MISREAD = '\ufffd';

/** A name that was misread leads to no file. */
function refuseMisreadName(file: string): void {
  if (file.includes(MISREAD) && !existsSync(file)) throw misreadName(file);
}

const misreadName = (file: string): DataError =>
  new DataError(`${file}: its name is not UTF-8, and keys are`, 'Rename it, for instance with convmv.');
