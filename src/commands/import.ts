/** repa import: checkpoints and data of other tools to ours. */

import { Progress } from '../lib/cli/progress.js';
import { provenance } from '../lib/cli/provenance.js';
import { OUT } from '../lib/cli/shared-options.js';
import { checkBesideInput, checkBinaryOutput, writeStream } from '../lib/cli/tensor-output.js';
import { say } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { decimal, integer, list, text } from '../lib/options/option.js';
import { CHECKPOINT_FILE } from '../lib/sampling/options.js';
import type { RunRecord } from '../lib/training/record.js';

const description = `Makes ours of what other tools keep. What comes out depends on what goes in.

A checkpoint of the official code of REPA, SiT or DiT (.pt, .safetensors), with its moving average and its optimiser where it
has them, becomes a checkpoint folder, ./ckpt or -o, from which train continues and sample samples. Its architecture is
inferred; weights alone become the start of a run at step 0 (those of the original SiT, which predicts a variance beside the velocity,
the start of another, by train --init). Checkpoints of other training loops are read too: averages are found
under the names that are usual (model_ema, shadow, Lightning's), what is no weight (arguments, paths, objects of any class) is not
run and not needed, and an optimiser that is not Adam is left out, with a note.

Data becomes a tensor stream, on stdout or in -o: images of one size (or --size) in a folder, a .zip or Parquet, a WebDataset .tar of images and
.npy files, Parquet with columns of lists of numbers, an .npy of one row an image, an .npz (ADM's arr_0, or a column an array), or the folder of official
preprocessing (img-mean-std-*.npy and dataset.json), whose moments get the keys of the images that they were made of.`;

const examples = [
  { why: 'continue a run of the official code', command: 'repa import 0400000.pt -o ckpt && repa train --resume' },
  { why: 'train on what the official preprocessing made', command: 'repa import data/vae-sd > latents' },
  { why: 'one of several sets of weights in a file', command: 'repa import run.ckpt --key state_dict.model_ema' },
  {
    why: 'features that Python computed, row by row of the latents',
    command: 'repa import feats.npy --like latents > feats',
  },
];

export const command = verb({
  description,
  examples,
  operands: [
    operand('<input>', 'a checkpoint file, a name that was pulled, a folder, a .tar, .zip, .parquet, .npy or .npz'),
  ],
  options: {
    ...CHECKPOINT_FILE,
    vae: text('--vae <name>', 'the codec that latents are of', {
      defaultText: 'by their channels: 4 sd-vae-ft-ema, 3 pixels',
    }),
    latentScale: list('--latent-scale <list>', 'scale of the latents, one number or one a channel', decimal(0), {
      defaultText: "the codec's",
    }),
    latentShift: list('--latent-shift <list>', 'what is subtracted before scaling', decimal(), { defaultText: '0' }),
    column: text('--column <name>', 'the column that an array becomes', { defaultText: 'by its shape' }),
    like: text('--like <stream>', 'take the keys and labels of these rows, in their order'),
    size: integer('--size <n>', 'crop images to squares of this size', { min: 1 }),
    out: OUT,
  },
  run: async (input, options) => {
    const { isData } = await import('../lib/exchange/import-tensors.js');
    const codec = { name: options.vae, scale: options.latentScale, shift: options.latentShift };
    if (!isData(input)) {
      const { importCheckpoint } = await import('../lib/exchange/import-checkpoint.js');
      const { folder, record, hasMoments, notes } = importCheckpoint(input, options.out ?? 'ckpt', {
        ...options,
        codec,
      });
      if (options.quiet) return;
      for (const note of notes) say(`note: ${input}: ${note}`);
      say(`${folder}: a ${record.architecture} ${startOf(record, hasMoments)}`);
      return;
    }
    checkBinaryOutput(options);
    checkBesideInput(options, input);
    const { openRows } = await import('../lib/exchange/import-tensors.js');
    const { latentMetadata, kindOf } = await import('../lib/exchange/rows.js');
    const { columns, rows, total, metadata: told, notes = [] } = await openRows(input, options);
    if (!options.quiet) for (const note of notes) say(`note: ${note}`);
    const metadata = provenance(kindOf(columns), { ...told, ...latentMetadata(columns, codec, input, told) });
    const progress = new Progress('import', { unit: 'rows', total, quiet: options.quiet });
    await writeStream(options, { columns, metadata }, async (writer) => {
      for await (const { key, label, tensors } of rows) {
        await writer.append(key, label, tensors);
        progress.advance();
      }
    });
    progress.finish();
  },
});

/** What training makes of an imported checkpoint. */
function startOf({ architecture, model, step }: RunRecord, hasMoments: boolean): string {
  if (architecture === 'SiT' && model.outChannels > model.inChannels) {
    return 'that predicts a variance beside the velocity, which train does not: sample it, or train --init starts a run from it';
  }
  return hasMoments ? `at step ${step}, with its optimiser` : 'to be trained on from step 0';
}
