/** Writing PNG files, and sheets of many pictures in one. */
import sharp from 'sharp';
import { writeFileAtomic } from '../files/atomic-file.js';
import { sameShape } from '../numbers/typed-array.js';
import type { RgbImage } from './rgb-image.js';

/** The bytes of a PNG file. */
export async function encodePng({ width, height, data }: RgbImage): Promise<Uint8Array> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** Writes a PNG file; it appears only when it is complete. */
export async function writePng(path: string, image: RgbImage): Promise<void> {
  const bytes = await encodePng(image);
  writeFileAtomic(path, bytes);
}

/**
 * Pictures of one size in rows, as close to a square as they go, with black lines between and around them.
 * @param columns pictures a row; the square root of their number, rounded up, if absent.
 * @param gap width of the lines in pixels.
 */
export function contactSheet(
  images: readonly RgbImage[],
  columns = Math.ceil(Math.sqrt(images.length)),
  gap = 2,
): RgbImage {
  const [first] = images;
  if (!first) throw new RangeError('a contact sheet needs at least one image');
  const size = (image: RgbImage): number[] => [image.width, image.height];
  if (!images.every((image) => sameShape(size(image), size(first)))) {
    throw new RangeError('the images of a contact sheet must have one size');
  }
  const width = columns * (first.width + gap) + gap;
  const height = Math.ceil(images.length / columns) * (first.height + gap) + gap;
  const sheet = { width, height, data: new Uint8Array(width * height * 3) };
  images.forEach((image, i) => {
    paste(
      sheet,
      image,
      gap + (i % columns) * (first.width + gap),
      gap + Math.floor(i / columns) * (first.height + gap),
    );
  });
  return sheet;
}

function paste(sheet: RgbImage, { width, height, data }: RgbImage, left: number, top: number): void {
  for (let row = 0; row < height; row++) {
    const line = data.subarray(row * width * 3, (row + 1) * width * 3);
    sheet.data.set(line, ((top + row) * sheet.width + left) * 3);
  }
}
