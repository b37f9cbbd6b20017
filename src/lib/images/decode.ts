/**
 * Decoding with sharp to the bytes that Pillow's `Image.open(f).convert('RGB')` gives, which the official preprocessing
 * is built on: alpha is dropped, not composited; colour profiles and EXIF orientation are not applied; CMYK is
 * converted by the plain formula; of 16 bits the upper 8 are kept; of an animation the first frame.
 */
import './quiet-vips.js';
import sharp, { type Sharp } from 'sharp';
import { DataError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { readWhole } from '../files/whole-file.js';
import { firstGifFrame, placeFrame } from './gif.js';
import type { PixelBudget } from './pixel-budget.js';
import type { RgbImage } from './rgb-image.js';
import { pictureFormat } from './signature.js';

// One thread a picture, many pictures at once: small images gain nothing from more, and nothing is decoded twice.
sharp.concurrency(1);
sharp.cache(false);

/** Pixels of one picture: as many as sharp decodes. */
const LARGEST = 0x3fff ** 2;

/**
 * @param source a path, or the bytes of a file.
 * @param where names the picture in messages.
 * @param budget of pixels that are decoded at once, outside the main thread.
 * @throws MissingInputError when there is no such file; DataError when it is not a sound picture.
 */
export async function decodeImage(source: string | Uint8Array, where: string, budget?: PixelBudget): Promise<RgbImage> {
  try {
    return await decodeBytes(typeof source === 'string' ? await readWhole(source) : source, budget);
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw missingInput(where);
    const [reason] = message.trim().split('\n'); // the decoders repeat themselves
    throw new DataError(`${where}: cannot be decoded (${reason.trim().replace(/:$/, '')})`);
  }
}

async function decodeBytes(bytes: Uint8Array, budget: PixelBudget | undefined): Promise<RgbImage> {
  const format = pictureFormat(bytes);
  if (!format) throw new Error('its first bytes are of no picture format that is read here');
  const frame = format === 'gif' ? firstGifFrame(bytes) : undefined;
  const input = sharp(frame?.bytes ?? bytes, { failOn: 'error', ignoreIcc: true });
  const { width, height, space } = await input.metadata();
  const pixels = Math.max(width * height, frame ? frame.width * frame.height : 0);
  if (pixels > LARGEST) throw new Error(`${width}x${height} pixels, more than ${LARGEST}`);
  const taken = budget?.take(pixels);
  try {
    const image = await (space === 'cmyk' ? decodeCmyk(input) : decodeRgb(input));
    return frame ? placeFrame(image, frame) : image;
  } finally {
    if (taken !== undefined) budget!.give(taken);
  }
}

async function decodeRgb(input: Sharp): Promise<RgbImage> {
  const { data, info } = await input
    .removeAlpha()
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data };
}

/** C, M, Y, K are amounts of ink; each is taken off what black leaves, in Pillow's integer arithmetic. */
async function decodeCmyk(input: Sharp): Promise<RgbImage> {
  const { data, info } = await input
    .pipelineColourspace('cmyk')
    .toColourspace('cmyk')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  const pixels = info.width * info.height;
  const rgb = new Uint8ClampedArray(pixels * 3);
  for (let i = 0; i < pixels; i++) {
    const light = 255 - data[i * 4 + 3];
    for (let channel = 0; channel < 3; channel++) {
      rgb[i * 3 + channel] = light - multiplyBytes(data[i * 4 + channel], light);
    }
  }
  return { width: info.width, height: info.height, data: new Uint8Array(rgb.buffer) };
}

/** a b / 255, rounded, without a division. */
function multiplyBytes(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}
