/** repa fid: how far a set of images is from another. */

import { imageInput } from '../lib/cli/image-input.js';
import { Progress } from '../lib/cli/progress.js';
import { batchSize, ENGINE, JSON_LINES, parseShard, SEED, SKIP_BAD } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { printable, say } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import type { Measurement } from '../lib/evaluation/measure.js';
import { choice, integer, list, off, parsed, text } from '../lib/options/option.js';
import { FEATURE_NETWORK } from '../lib/pretrained/options.js';

const description = `Measures how far a set of images is from a reference set: the Frechet distance between the Gaussians that fit
the features of a network on each. It is called FID only in the features of the Inception network of 2015; with any
other network the result is called FD(network), and the two are not comparable. An encoder or an .onnx file is compared
by the class token of each image, or by the mean of its tokens where it has none. With --net dinov2-vit-l it is FD-DINOv2
(arXiv 2306.04675): images resized to 224 pixels, bicubic and antialiased.

The reference is the second argument or --ref, else ./ref, else the images that the samples' header names. It may be
images, or an .npz of statistics (mu, sigma). Images of a reference are cropped to the size of the samples first. Their
features are kept in $REPA_HOME/cache by the content of the files, so that they are computed once; statistics that
--save-stats writes are used only with the network and the resize they were made with.

The samples have to be squares of one size, unless --size crops them. Greyscale images are taken as colour, and alpha
is dropped, as Pillow does it.

fd-infinity is the Frechet distance extrapolated to infinitely many samples (arXiv 1911.07023). mind is the Monge
inception distance (arXiv 2605.06797), the mean over 1,000 random directions of how far the sets are apart along each: it needs
fewer samples (the paper takes 5,000 of each set) and no covariances. It falls with the number of images of the smaller set, so
that only values from equally many images can be compared; in another network's features it is called MD(network).

fdr6 (arXiv 2604.28190) is the mean over six networks (Inception, ConvNeXt V2-B, DINOv2-L, MAE-L, SigLIP 2 so400m, CLIP-L) of the Frechet
distance divided by that of ImageNet's validation images; each network's input is prepared as in the published code. The images and the
reference are read once for each network; the weights have to be pulled first. All six distances are reported too.

Everything that makes the number comparable is part of the result: the sampler of the images and their decoder, their
number, the network and the hash of its weights, how images are resized. Where the images do not say it, it is unknown
(null in --json): pictures in a folder or an .npz do not say how they were made. Where published numbers have other
settings, a warning says so.`;

const examples = [
  { why: 'measure samples as they are made', command: 'repa sample --cfg 1.8 | repa fid' },
  {
    why: 'two folders, in the features of the encoder that ships with repa',
    command: 'repa fid samples/ imgs/ --net emoji-vit',
  },
  {
    why: 'the whole suite against the reference of ADM',
    command: 'repa fid samples.npz --ref VIRTUAL_imagenet256_labeled.npz --metrics fid,sfid,is,pr',
  },
  { why: 'keep the statistics of a reference', command: 'repa fid imgs/ --size 256 --save-stats ref.npz' },
];

export const command = verb({
  description,
  examples,
  operands: [
    operand(
      '[images]',
      'a stream, folder, .tar, .zip, .parquet or .npz of images, an .npz of statistics, or - for stdin',
    ),
    operand('[reference]', 'the reference set, any of the same'),
  ],
  options: {
    ref: text('--ref <path>', 'the reference set'),
    ...FEATURE_NETWORK,
    metrics: list(
      '--metrics <names>',
      'fid, sfid, is, pr (precision and recall), kid, mind, fd-infinity, fdr6',
      String,
      {
        default: ['fid'],
      },
    ),
    kidSubsets: integer('--kid-subsets <n>', 'subsets that KID is the mean over', { min: 1, default: 100 }),
    kidSubsetSize: integer('--kid-subset-size <n>', 'images of each', {
      min: 2,
      defaultText: '1000, or all but a tenth of fewer',
    }),
    resize: choice(
      '--resize <how>',
      "Inception's input, resized as one of the published evaluators does it",
      ['adm', 'pytorch-fid', 'clean'],
      { default: 'adm' },
    ),
    size: integer('--size <n>', 'crop all images to squares of this side', { min: 1 }),
    saveStats: text('--save-stats <file.npz>', "write the images' statistics; no reference is needed then", {
      writes: 'seekable',
    }),
    shard: parsed('--shard <i/N>', 'with --save-stats: only of part i of N; repa merge-stats joins them', parseShard),
    cache: off('--no-cache', 'neither use nor keep the features of the reference'),
    skipBad: SKIP_BAD,
    seed: SEED,
    batchSize: batchSize(32),
    json: JSON_LINES,
    ...ENGINE,
  },
  run: async (images, reference, options) => {
    const { measureMetrics } = await import('../lib/evaluation/six-spaces.js');
    const progress = (label: string, total?: number) =>
      new Progress(label, { unit: 'images', total, quiet: options.quiet });
    const { measurements, warnings } = await measureMetrics(inputOrStdin(images, 'images'), reference ?? options.ref, {
      ...options,
      open: (path) => imageInput(path, undefined, options),
      progress,
    });
    for (const warning of warnings) say(`warning: ${warning}`);
    if (options.json) for (const one of measurements) process.stdout.write(`${JSON.stringify(one)}\n`);
    else if (measurements.length > 0) process.stdout.write(`${printable(table(measurements))}\n`);
  },
});

/** The numbers, then the protocol that they share, nested facts indented. */
function table(measurements: readonly Measurement[]): string {
  const numbers = measurements.map(({ metric, value, deviation, reference_count }) => {
    const spread = deviation === undefined ? '' : ` +- ${deviation.toPrecision(3)}`;
    const of = reference_count === null ? '' : `  (reference: ${reference_count} images)`;
    return `${metric.padEnd(22)}  ${value.toPrecision(6)}${spread}${of}`;
  });
  const { metric: _metric, value: _value, deviation: _deviation, ...protocol } = measurements[0];
  return [...numbers, ...facts(protocol)].join('\n');
}

/** One fact a line; what is not known says so. */
function facts(record: Readonly<Record<string, unknown>>, indent = ''): string[] {
  return Object.entries(record).flatMap(([name, fact]) => {
    if (typeof fact === 'object' && fact !== null && !Array.isArray(fact)) {
      return [`${indent}${name}`, ...facts(fact as Record<string, unknown>, `${indent}  `)];
    }
    const shown = fact === null ? 'unknown' : typeof fact === 'string' ? fact : JSON.stringify(fact);
    return [`${`${indent}${name}`.padEnd(22)}  ${shown}`];
  });
}
