/** repa show: images to look at, in the terminal or as a sheet. */

import { imageInput } from '../lib/cli/image-input.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { printable } from '../lib/cli/terminal.js';
import { terminalPicture } from '../lib/cli/terminal-picture.js';
import { operand, verb } from '../lib/cli/verb.js';
import { DataError } from '../lib/errors.js';
import type { RgbImage } from '../lib/images/rgb-image.js';
import { flag, integer, text } from '../lib/options/option.js';

const description = `Shows the first images of a stream, a folder, a .tar or an .npz: in the terminal, two pixels a character, or with
--grid as a sheet in a PNG file.

With --pca it shows what a network makes of images: of a stream of tokens, such as extract-dino or extract-hidden --pool none
write, the first three principal components over all images that are shown, as red, green and blue.

In a sheet, images are cropped to squares of one size, of 256 pixels at most. Where there is no colour (NO_COLOR, a
pipe), only keys and labels are printed.`;

const examples = [
  { why: 'what a checkpoint draws', command: 'repa sample --num 8 | repa show' },
  { why: 'the first images of a folder as a sheet', command: 'repa show imgs/ --num 64 --grid sheet.png' },
  { why: 'what an encoder tells apart', command: 'repa show feats --pca --grid features.png' },
  {
    why: 'and what a block of a model does at half noise',
    command: 'repa extract-hidden --blocks 4 --pool none | repa show --pca --grid hidden.png',
  },
];

const PREVIEW_COUNT = 8;
const SHEET_COUNT = 64;
const SHEET_SIDE = 256;

export const command = verb({
  description,
  examples,
  operands: [operand('[images]', 'a stream of images or tokens, folder, .tar, .zip, .parquet or .npz of images, or -')],
  options: {
    num: integer('--num <n>', 'how many images', { min: 1, defaultText: '8, or 64 with --grid' }),
    columns: integer('--columns <n>', 'characters that a picture is wide', {
      min: 2,
      defaultText: '32, or as wide as the terminal',
    }),
    pca: flag('--pca', 'of a stream of tokens: their principal components as colours'),
    column: text('--column <name>', 'which tokens', { defaultText: 'the first', needs: 'pca' }),
    grid: text('--grid <file.png>', 'write a sheet of the images instead', { writes: 'file' }),
  },
  run: async (input, options) => {
    const source = inputOrStdin(input, 'images');
    const count = options.num ?? (options.grid ? SHEET_COUNT : PREVIEW_COUNT);
    const images: RgbImage[] = [];
    const { centerCrop } = await import('../lib/images/crop.js');
    const width = options.columns ?? Math.min(32, process.stdout.columns ?? 32);
    const pictures = options.pca
      ? await (await import('../lib/plots/principal-colours.js')).tokenPictures(source, count, options.column)
      : (await imageInput(source, undefined, {})).images;
    for await (const { key, label, image } of pictures) {
      const side = Math.min(image.width, image.height, SHEET_SIDE);
      images.push(options.grid ? centerCrop(image, side) : image);
      if (!options.grid) {
        const picture = terminalPicture(image, width);
        process.stdout.write(`${picture}${printable(key)}${label < 0 ? '' : `  class ${label}`}\n`);
      }
      if (images.length === count) break;
    }
    if (images.length === 0) throw new DataError(`${source}: holds no images`);
    if (!options.grid) return;
    const { contactSheet, writePng } = await import('../lib/images/png.js');
    const side = Math.min(...images.map((image) => image.width));
    await writePng(options.grid, contactSheet(images.map((image) => centerCrop(image, side))));
  },
});
