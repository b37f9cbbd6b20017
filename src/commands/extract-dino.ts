/** repa extract-dino: images to a stream of encoder features. */

import { DRY_RUN } from '../lib/cli/estimate.js';
import { runImageJob } from '../lib/cli/image-job.js';
import { batchSize, ENGINE, FEATURE_DTYPE, LABELS, OUT, SHARD, SKIP_BAD } from '../lib/cli/shared-options.js';
import { checkBinaryOutput, shardOf } from '../lib/cli/tensor-output.js';
import { operand, verb } from '../lib/cli/verb.js';
import { UsageError } from '../lib/errors.js';
import { flag, text } from '../lib/options/option.js';
import { ENCODER } from '../lib/pretrained/options.js';
import type { TensorColumn } from '../lib/stream/schema.js';

const description = `Runs a frozen encoder (DINOv2 and its kin, CLIP, SigLIP) over images, once, and keeps the patch features that REPA
aligns to. Each image is cropped as encode-vae crops it, then prepared as the official code prepares it for that encoder.

The architecture is inferred from the weights. Two encoders ship with repa, small ones, for pictures of 64 pixels and for
trying things out: emoji-vit, a transformer of 8 x 8 tokens, and emoji-cnn, a convolutional network of 4 x 4.

Any other network can be brought as an .onnx file with one input of RGB images: maps [N, C, h, w] become tokens, and of
token sequences [N, T, D] the class token (and DINOv2's registers) in front of the grid is taken off. Input size and
layout are the model's own; where it leaves the size open, --size says it.`;

const examples = [
  {
    why: 'the features that the paper aligns to',
    command: 'repa extract-dino imagenet/train --encoder dinov2-vit-b -o feats/',
  },
  { why: 'with the encoder that ships with repa', command: 'repa extract-dino imgs/ --encoder emoji-vit > feats' },
  {
    why: "a network of another kind, values in [-1, 1], its layer 'feat14'",
    command: 'repa extract-dino imgs/ --encoder mobilenet.onnx --normalise signed --output feat14 > feats',
  },
  { why: 'from a weights file', command: 'repa extract-dino imgs/ --weights dinov2_vits14_pretrain.pth > feats' },
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
    encoder: text('--encoder <name>', 'name of the encoder, or an .onnx file', {
      defaultText: 'dinov2-vit-b, or what --weights tell',
    }),
    ...ENCODER,
    cls: flag('--cls', 'add a column with the class token'),
    labels: LABELS,
    skipBad: SKIP_BAD,
    dtype: FEATURE_DTYPE,
    batchSize: batchSize(8),
    shard: SHARD,
    out: OUT,
    dryRun: DRY_RUN,
    ...ENGINE,
  },
  run: async (input, given) => {
    if (!given.dryRun) checkBinaryOutput(given);
    const options = { ...given, shard: shardOf(given) };
    const { selectBackend } = await import('../lib/engine/index.js');
    const { openEncoder } = await import('../lib/pretrained/encoder.js');

    await selectBackend(options);
    const encoder = await openEncoder(options);
    if (options.cls && !encoder.hasCls) throw new UsageError(`--cls: ${encoder.name} has no class token`);
    const { tokens, dim } = encoder;
    const { dtype } = options;
    const columns: TensorColumn[] = [{ name: 'feature', dtype, shape: [tokens, dim], dimNames: ['tokens', 'dim'] }];
    if (options.cls)
      columns.push({ name: 'cls', dtype: dtype === 'i8' ? 'f16' : dtype, shape: [dim], dimNames: ['dim'] });
    await runImageJob(input, options, {
      name: 'extract-dino',
      kind: 'features',
      size: encoder.size,
      columns,
      engine: encoder.engine,
      metadata: {
        'repa.model': encoder.name,
        'repa.model.sha256': encoder.sha256,
        'repa.preprocess': JSON.stringify(encoder.preprocess),
      },
      compute(crops) {
        const { feature, cls } = encoder.encode(crops); // [N, T, D], [N, D]
        const tensors: Record<string, Float32Array> = { feature };
        if (cls) tensors.cls = cls;
        return tensors;
      },
    });
    encoder.dispose();
  },
});
