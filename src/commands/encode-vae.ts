/** repa encode-vae: images to a stream of latents. */

import { DRY_RUN } from '../lib/cli/estimate.js';
import { checkSize, type ImageJob, type ImageJobOptions, overImages, runImageJob } from '../lib/cli/image-job.js';
import { batchSize, DTYPE, ENGINE, LABELS, OUT, SHARD, SKIP_BAD } from '../lib/cli/shared-options.js';
import { checkBinaryOutput, shardOf } from '../lib/cli/tensor-output.js';
import { operand, verb } from '../lib/cli/verb.js';
import { decimal, list, text } from '../lib/options/option.js';
import { SIZE } from '../lib/pretrained/options.js';

const description = `Encodes images with a VAE, once, so that training reads latents instead. Each image is cropped as ADM
does it (the centre, after a high-quality reduction) to --size pixels.

A VAE gives moments: the mean and standard deviation of a posterior, from which training draws a fresh sample at every
step. The codec 'pixels' gives the image itself, scaled to [-1, 1], for images small enough to be diffused as they are. The
VAE emoji-vae ships with repa: a small one, for pictures of 64 pixels.

The codec rae:NAME gives the tokens of an encoder that extract-dino knows (RAE), such as rae:dinov2reg-vit-b, after its last
block or, as rae:dinov2reg-vit-b/4, the mean of its last four (/6.9.12: of these), through a norm without scale and shift. Each position of them is
standardised by statistics over a set of images: --fit-statistics makes these in a pass of its own, and writes nothing else.`;

const examples = [
  {
    why: 'latents of ImageNet, as REPA prepares them',
    command: 'repa encode-vae imagenet/train --vae sd-vae-ft-ema -o latents/',
  },
  { why: 'small images without a VAE', command: 'repa encode-vae imgs/ --vae pixels --size 32 > latents' },
  {
    why: 'encoder tokens as latents: their statistics first',
    command:
      'repa encode-vae imgs/ --vae rae:dinov2reg-vit-b --fit-statistics stats.safetensors && repa encode-vae imgs/ --vae rae:dinov2reg-vit-b --statistics stats.safetensors > latents',
  },
  {
    why: 'with weights of your own, part 3 of 8',
    command: 'repa encode-vae imgs/ --weights vae.safetensors --shard 3/8 -o latents/',
  },
];

export const command = verb({
  description,
  examples,
  operands: [
    operand(
      '<images>',
      "a folder, .tar (several: 'imgs-{000..127}.tar'), .zip, .parquet, .npz or stream of images, or - for a stream on stdin",
    ),
  ],
  options: {
    vae: text('--vae <name>', "a VAE's name, pixels, or rae: and an encoder's name", { default: 'sd-vae-ft-ema' }),
    weights: text('--weights <file>', "the VAE's weights; its architecture is inferred"),
    size: SIZE,
    statistics: text(
      '--statistics <file>',
      'what encoder tokens are standardised by, or none, for train --path geodesic',
      {
        defaultText: 'the published ones of ImageNet, if they were pulled',
      },
    ),
    fitStatistics: text('--fit-statistics <file>', 'only find the statistics of these images, and write them here', {
      writes: 'file',
      conflicts: ['statistics', 'shard', 'out', 'dryRun'],
    }),
    latentScale: list('--latent-scale <list>', 'scale of the latents, one number or one a channel', decimal(0), {
      defaultText: "the VAE's own: 0.18215 of four channels, 1 for pixels",
    }),
    latentShift: list('--latent-shift <list>', 'what is subtracted before scaling', decimal(), { defaultText: '0' }),
    labels: LABELS,
    skipBad: SKIP_BAD,
    dtype: DTYPE,
    batchSize: batchSize(8),
    shard: SHARD,
    out: OUT,
    dryRun: DRY_RUN,
    ...ENGINE,
  },
  run: async (input, given) => {
    if (given.fitStatistics === undefined && !given.dryRun) checkBinaryOutput(given);
    const options = { ...given, shard: shardOf(given) };
    const { selectBackend } = await import('../lib/engine/index.js');
    const { latentSide, openCodec, settledScale, STATISTICS_KEY } = await import('../lib/pretrained/codec.js');
    const { toSignedUnit } = await import('../lib/images/normalise.js');

    const size = options.size ?? (options.vae === 'pixels' ? 32 : 256);
    await selectBackend(options);
    const codec = await openCodec({ ...options, half: 'encoder', raw: options.fitStatistics !== undefined });
    const side = latentSide(codec, size);
    const { scale, shift } = settledScale(codec);
    if (!options.quiet) for (const note of codec.notes ?? []) process.stderr.write(`note: ${note}\n`);
    const planes = codec.column === 'moments' ? 2 * codec.channels : codec.channels;
    checkSize(size, options.batchSize);
    const pixels = new Float32Array(options.batchSize * 3 * size * size); // [B, 3, H, W]
    const job: ImageJob = {
      name: 'encode-vae',
      kind: 'latents',
      size,
      columns: [{ name: codec.column, dtype: options.dtype, shape: [planes, side, side], dimNames: ['C', 'H', 'W'] }],
      metadata: {
        'repa.model': codec.name,
        'repa.model.sha256': codec.sha256,
        'repa.preprocess': JSON.stringify({ crop: 'adm', size }),
        [STATISTICS_KEY]: codec.statistics,
        'repa.latent.scale': JSON.stringify(scale),
        'repa.latent.shift': JSON.stringify(shift),
      },
      compute(crops) {
        crops.forEach((crop, row) => {
          toSignedUnit(crop, pixels.subarray(row * 3 * size * size, (row + 1) * 3 * size * size));
        });
        // A last, shorter batch is computed at full size: another size would have to be compiled.
        return { [codec.column]: codec.encode(pixels, options.batchSize, size) }; // [B, planes, h, w]
      },
    };
    if (options.fitStatistics) await fitStatistics(input, options.fitStatistics, options, job);
    else await runImageJob(input, options, job);
    codec.dispose();
  },
});

/** Computes the latents of a job and keeps their statistics alone. */
async function fitStatistics(input: string, file: string, options: ImageJobOptions, job: ImageJob): Promise<void> {
  const { StatisticsFit } = await import('../lib/pretrained/latent-statistics.js');
  const { provenance } = await import('../lib/cli/provenance.js');
  const [{ name, shape }] = job.columns;
  const fit = new StatisticsFit(shape);
  await overImages(input, options, job, (tensors) => fit.add(tensors[name]));
  fit.write(file, provenance('statistics of latents', job.metadata));
}
