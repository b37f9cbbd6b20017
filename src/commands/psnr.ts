/** repa psnr: what a codec loses. */

import { imageInput } from '../lib/cli/image-input.js';
import { Progress } from '../lib/cli/progress.js';
import { JSON_LINES } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { printResult } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { MissingInputError } from '../lib/errors.js';
import type { ReconstructionScore } from '../lib/evaluation/reconstruction.js';
import { text } from '../lib/options/option.js';

const description = `Measures what an autoencoder loses: the peak signal-to-noise ratio of decoded images to their originals, in
dB, of 8 bits and all three colours together. Printed are the mean over the images, as it is published (an image without any error
has an infinite ratio, and is counted apart); the ratio of the mean error, which gives bad images more weight; and the worst image.

Both sets are gone through side by side, so that they have to hold the same keys in the same order, as a set and what encode-vae and
decode-vae make of it do. Originals of another size are cropped to a square of the images' size as encode-vae crops them.

The originals are the second argument or --ref, else the images that the header names. The Frechet distance of the same pair (rFID) is
what repa fid gives of them.`;

const examples = [
  { why: 'what a codec keeps', command: 'repa encode-vae imgs/ --size 256 | repa decode-vae | repa psnr --ref imgs/' },
  {
    why: 'PSNR and rFID of one decoding',
    command: 'repa decode-vae latents > back && repa psnr back imgs/ && repa fid back --ref imgs/',
  },
];

export const command = verb({
  description,
  examples,
  operands: [
    operand('[images]', 'a stream, folder, .tar, .zip, .parquet or .npz of images, or - for stdin'),
    operand('[originals]', 'the set that they were made of, any of the same'),
  ],
  options: {
    ref: text('--ref <path>', 'the originals'),
    json: JSON_LINES,
  },
  run: async (input, second, options) => {
    const { scoreReconstruction } = await import('../lib/evaluation/reconstruction.js');
    const images = await imageInput(inputOrStdin(input, 'images'), undefined, options);
    const named = second ?? options.ref ?? images.metadata['repa.reference'];
    if (named === undefined) throw new MissingInputError('there are no originals', 'Name them by --ref.');
    const originals = await imageInput(named, undefined, options);
    const total = images.total ?? originals.total;
    const progress = new Progress('psnr', { unit: 'images', total, quiet: options.quiet });
    const score = await scoreReconstruction(images, originals, () => progress.advance(1));
    progress.finish();
    printResult({ ...score, originals: named }, inWords(score), options.json);
  },
});

function inWords({ psnr, psnr_of_mean, count, equal, worst }: ReconstructionScore): string {
  const decibels = (ratio: number | null): string => (ratio === null ? 'infinite' : `${ratio.toFixed(3)} dB`);
  return [
    `PSNR           ${decibels(psnr)}`,
    `of mean error  ${decibels(psnr_of_mean)}`,
    `images         ${count}${equal > 0 ? `, of which ${equal} equal their originals` : ''}`,
    ...(worst ? [`worst          ${decibels(worst.psnr)}  ${worst.key}`] : []),
  ].join('\n');
}
