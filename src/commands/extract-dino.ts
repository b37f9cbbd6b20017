/** repa extract-dino: images to a stream of encoder features. */
import { Option } from '@commander-js/extra-typings';
import { sizeOption, skipBadOption } from '../lib/cli/image-input.js';
import { runImageJob } from '../lib/cli/image-job.js';
import { normaliseOption, onnxOutputOption } from '../lib/cli/onnx-options.js';
import { integer } from '../lib/cli/parse.js';
import { checkBinaryOutput, shardOf } from '../lib/cli/tensor-output.js';
import {
  backendOption,
  batchSizeOption,
  featureTypeOption,
  outputOption,
  shardOption,
  threadsOption,
  verb,
} from '../lib/cli/verb.js';
import { UsageError } from '../lib/errors.js';
import type { TensorColumn } from '../lib/stream/schema.js';

const description = `Runs a frozen encoder (DINOv2 and its kin, CLIP, SigLIP) over images, once, and keeps the patch features that REPA
aligns to. Each image is cropped as encode-vae crops it, then prepared as the official code prepares it for that encoder.

The architecture is inferred from the weights. The encoder emoji-vit ships with repa: a small one, for small pictures
and for trying things out.

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

export const command = () =>
  verb('extract-dino', { summary: 'extract patch features with a frozen encoder', description, examples })
    .argument('<images>', 'a folder, a .tar, an .npz, a stream of images, or - for one on stdin')
    .option('--encoder <name>', 'name of the encoder, or an .onnx file (default: dinov2-vit-b, or what --weights tell)')
    .option('--weights <file>', "the encoder's weights")
    .option('--heads <n>', 'attention heads (default: those of published models of its width)', integer(1))
    .addOption(
      new Option(
        '--pos-embed <how>',
        'how positions are resampled to the grid: as the official REPA does, or as DINOv2',
      )
        .choices(['timm', 'dinov2'] as const)
        .default('timm' as const),
    )
    .addOption(onnxOutputOption())
    .addOption(normaliseOption())
    .option('--cls', 'add a column with the class token')
    .addOption(sizeOption())
    .addOption(skipBadOption())
    .addOption(featureTypeOption())
    .addOption(batchSizeOption(8))
    .addOption(shardOption())
    .addOption(outputOption())
    .addOption(backendOption())
    .addOption(threadsOption())
    .action(async (input, given) => {
      checkBinaryOutput(given);
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
    });
