/** repa decode-vae: latents to a stream of images. */

import { Progress } from '../lib/cli/progress.js';
import { provenance } from '../lib/cli/provenance.js';
import { batchSize, ENGINE, OUT, ROUNDING } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { checkBinaryOutput, writeStream } from '../lib/cli/tensor-output.js';
import { operand, verb } from '../lib/cli/verb.js';
import { text } from '../lib/options/option.js';

const description = `Decodes a stream of latents into a stream of images: those that sample --latents writes, or those that
encode-vae makes, to see what the codec keeps. Of moments, the mean is decoded.`;

const examples = [
  { why: 'sample now, decode elsewhere', command: 'repa sample --num 64 --latents > z && repa decode-vae z > images' },
  { why: 'what the codec keeps of the images themselves', command: 'repa decode-vae latents | repa fid --ref imgs/' },
];

export const command = verb({
  description,
  examples,
  operands: [operand('[latents]', 'a stream of latents, a shard folder, or - for stdin')],
  options: {
    vae: text('--vae <name>', "a VAE's name, or pixels", { defaultText: "what the stream's header names" }),
    weights: text('--weights <file>', "the VAE's weights; its architecture is inferred"),
    statistics: text('--statistics <file>', 'statistics of latents that are encoder tokens, or none', {
      defaultText: 'as their header says',
    }),
    rounding: ROUNDING,
    batchSize: batchSize(4),
    out: OUT,
    ...ENGINE,
  },
  run: async (path, options) => {
    checkBinaryOutput(options);
    const input = inputOrStdin(path, 'latents');
    const { selectBackend } = await import('../lib/engine/index.js');
    const { checkDecoder, checkStandardised, decoderRecord, openCodec, statisticsFor } = await import(
      '../lib/pretrained/codec.js'
    );
    const { openLatents } = await import('../lib/pretrained/latent-stream.js');
    const { fromSignedUnit } = await import('../lib/images/normalise.js');
    const { inBatches } = await import('../lib/batches.js');

    const source = await openLatents(input);
    await selectBackend(options);
    const statistics = statisticsFor(source.metadata, options.statistics);
    const codec = await openCodec({ ...options, statistics, vae: options.vae ?? source.codec });
    const [channels, size] = source.shape;
    const { 'repa.codec': encoder, 'repa.model': model } = source.metadata;
    const where = input === '-' ? 'stdin' : input;
    checkDecoder(codec, channels, encoder ?? model, where);
    checkStandardised(codec, source.metadata, where);
    const side = size * codec.downsampling;
    const schema = {
      columns: [{ name: 'image', dtype: 'u8', shape: [side, side, 3], dimNames: ['H', 'W', 'C'] }] as const,
      metadata: provenance('images', {
        'repa.model': codec.name,
        'repa.model.sha256': codec.sha256,
        'repa.decoder': JSON.stringify(decoderRecord(codec, options.rounding)),
        'repa.sampler': source.metadata['repa.sampler'],
        'repa.reference': source.metadata['repa.reference'],
      }),
    };
    const progress = new Progress('decode-vae', { unit: 'images', quiet: options.quiet });
    const latents = new Float32Array(options.batchSize * channels * size * size); // [B, C, h, w]
    await writeStream(options, schema, async (writer) => {
      for await (const batch of inBatches(source.rows, options.batchSize)) {
        batch.forEach(({ latent }, row) => {
          latents.set(latent, row * latent.length);
        });
        const pixels = codec.decode(latents, options.batchSize, size); // [B, 3, H, W]
        for (const [row, { key, label }] of batch.entries()) {
          const planes = pixels.subarray(row * 3 * side * side, (row + 1) * 3 * side * side);
          await writer.append(key, label, { image: fromSignedUnit(planes, side, side, options.rounding).data });
        }
        progress.advance(batch.length);
      }
    });
    codec.dispose();
    progress.finish();
  },
});
