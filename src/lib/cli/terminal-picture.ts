/** Pictures drawn with coloured characters in a terminal. */
import { resizePillow } from '../images/pillow-resize.js';
import type { RgbImage } from '../images/rgb-image.js';
import { styleOut } from './terminal.js';

/**
 * A picture of `columns` characters, two pixels each: the upper half of a character has the one's colour, its
 * background the other's. Larger pictures are shrunk, smaller ones are shown as they are.
 * @returns lines that end in a line feed; empty where stdout has no colours
 */
export function terminalPicture(image: RgbImage, columns: number): string {
  if (styleOut.level === 0) return '';
  const width = Math.min(columns, image.width);
  const height = 2 * Math.max(1, Math.round((image.height * width) / image.width / 2));
  const { data } = resizePillow(image, width, height, 'bicubic');
  const pixel = (x: number, y: number) => data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3);
  let text = '';
  for (let y = 0; y < height; y += 2) {
    for (let x = 0; x < width; x++) {
      const [upper, lower] = [pixel(x, y), pixel(x, y + 1)];
      text += styleOut.rgb(upper[0], upper[1], upper[2]).bgRgb(lower[0], lower[1], lower[2])('\u2580');
    }
    text += '\n';
  }
  return text;
}
