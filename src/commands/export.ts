/** repa export: our checkpoints and streams to the formats of other tools. */

import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { say } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { UsageError } from '../lib/errors.js';
import { choice, text } from '../lib/options/option.js';
import { WEIGHTS } from '../lib/sampling/options.js';

const description = `Writes a checkpoint or a tensor stream in a format of other tools, which the output's name says.

A checkpoint: .safetensors holds the moving average of its weights (--raw: the weights themselves); .pt all that the official
train.py saves: model, ema, opt, args, steps. Names and layouts are those of the official code, which loads them with
strict=True and continues the run.

A stream: .npy holds one column [N, ...]; .npz every column and the labels, images as ADM's arr_0 and arr_1; .tar is a WebDataset; .parquet
has a row a sample, whose tensors pyarrow, polars, DuckDB and Hugging Face's datasets read in their shape; a name that ends in / is a folder, of PNG files and dataset.json from images, of the files of the official preprocessing
(img-mean-std-*.npy and dataset.json) from moments.

A training folder, with --to: tensorboard writes its log, samples and settings as an event file into the folder -o, which TensorBoard
shows; wandb writes an offline run of Weights & Biases into the folder -o, which wandb sync uploads and wandb leet shows; mlflow
writes a run, its settings and samples into the file store -o. Run again, each brings up to date what it wrote of a run that goes on. csv
writes the log as a table.`;

const examples = [
  { why: 'weights for Python', command: 'repa export ckpt -o model.safetensors' },
  { why: 'go on with the official code', command: 'repa export ckpt -o 0400000.pt' },
  { why: "samples for ADM's evaluator", command: 'repa sample --num 50000 | repa export -o samples.npz' },
  { why: 'features for polars or DuckDB', command: 'repa export feats -o feats.parquet' },
  { why: 'curves and samples in TensorBoard', command: 'repa export ckpt --to tensorboard -o runs/repa/' },
  {
    why: 'the same for Weights & Biases: wandb sync wandb/offline-run-* uploads it',
    command: 'repa export ckpt --to wandb -o wandb/',
  },
  {
    why: 'and for MLflow: mlflow ui --backend-store-uri mlruns shows it',
    command: 'repa export ckpt --to mlflow -o mlruns/',
  },
  { why: 'latents for the official training code', command: 'repa export latents -o data/vae-sd/' },
];

/** How a log is written for each of --to. */
const LOG_EXPORTS = {
  tensorboard: async () => (await import('../lib/exchange/export-log.js')).exportEvents,
  csv: async () => (await import('../lib/exchange/export-log.js')).exportLogTable,
  wandb: async () => (await import('../lib/exchange/export-wandb.js')).exportWandb,
  mlflow: async () => (await import('../lib/exchange/export-mlflow.js')).exportMlflow,
} as const;

export const command = verb({
  description,
  examples,
  operands: [
    operand('[input]', 'a training folder, a checkpoint in it, a stream, a shard folder, or - for a stream on stdin'),
  ],
  options: {
    out: text(
      '-o, --out <path>',
      '.safetensors, .pt, .npy, .npz, .tar, .parquet, or a folder (a name that ends in /)',
      {
        required: true,
        writes: true,
      },
    ),
    ...WEIGHTS,
    to: choice('--to <what>', 'of a training folder, its log: for other tools, or as a table', [
      'tensorboard',
      'wandb',
      'mlflow',
      'csv',
    ]),
    column: text('--column <name>', 'of a stream, only this column'),
  },
  run: async (given, options) => {
    if (options.to !== undefined) {
      if (options.out === '-' && options.to !== 'csv') {
        throw new UsageError(`-o -: --to ${options.to} writes a folder`, 'Name one.');
      }
      const exportRun = await LOG_EXPORTS[options.to]();
      exportRun(given ?? 'ckpt', options.out);
      return;
    }
    const input = inputOrStdin(given, 'checkpoint or stream');
    if (/\.(pt|safetensors)$/.test(options.out) || (await isCheckpoint(input))) {
      refuseFile(input, options.out);
      const { exportCheckpoint } = await import('../lib/exchange/export-checkpoint.js');
      await exportCheckpoint(input, options.out, options);
      return;
    }
    const { exportTensors } = await import('../lib/exchange/export-tensors.js');
    const notes = await exportTensors(input, options.out, options);
    if (!options.quiet) for (const note of notes) say(`note: ${note}`);
  },
});

/** @throws UsageError for a file where weights are to be written, which are of a folder */
function refuseFile(input: string, out: string): void {
  if (!statSync(input, { throwIfNoEntry: false })?.isFile()) return;
  throw new UsageError(
    `${input}: is a file, and ${out} is made of a checkpoint, which is a folder`,
    'repa import makes a checkpoint of weights; a tensor stream becomes an .npy, .npz, .parquet, .tar or a folder.',
  );
}

async function isCheckpoint(input: string): Promise<boolean> {
  if (!statSync(input, { throwIfNoEntry: false })?.isDirectory()) return false;
  const { checkpointSteps } = await import('../lib/training/checkpoint.js');
  return existsSync(path.join(input, 'config.json')) || checkpointSteps(input).length > 0;
}
