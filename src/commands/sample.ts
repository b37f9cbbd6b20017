/** repa sample: a checkpoint to a stream of images. */
import path from 'node:path';
import { announce, DRY_RUN, printEstimate } from '../lib/cli/estimate.js';
import { Progress } from '../lib/cli/progress.js';
import { provenance } from '../lib/cli/provenance.js';
import { batchSize, ENGINE, OUT, ROUNDING, SEED, SHARD } from '../lib/cli/shared-options.js';
import { checkBinaryOutput, continueStream, isShardFolder, shardOf, writeStream } from '../lib/cli/tensor-output.js';
import { say } from '../lib/cli/terminal.js';
import { verb } from '../lib/cli/verb.js';
import { choice, flag, integer, text } from '../lib/options/option.js';
import { inUse } from '../lib/options/resolve.js';
import { options, pick, type Values } from '../lib/options/table.js';
import type { Job } from '../lib/sampling/job.js';
import { DIFFUSION_MODEL, SAMPLING } from '../lib/sampling/options.js';
import type { PictureOutput } from '../lib/sampling/picture-output.js';
import { rowBytes, type StreamSchema, showColumn } from '../lib/stream/schema.js';
import { partName, type Range, rangeOf, WHOLE } from '../lib/stream/shards.js';
import type { TensorWriter } from '../lib/stream/writer.js';

const description = `Samples images from a checkpoint: noise, integrated along the learned velocity from t = 1 to 0, decoded.

The checkpoint is a folder of train or import, or a file as the official code of REPA, SiT or DiT saves it or as its
weights are published; its architecture is inferred. Latents of 4 channels are taken for those of Stable Diffusion's VAE,
unless --vae names another codec. As their own samplers do, DiT and the original SiT guide 3 channels.

Image number i depends on the seed and on i alone: not on the batch size, the shard, or how many are sampled, up to the rounding
of f32 (about 1e-6 of the values; dopri5, which chooses its steps by errors, enlarges that to a part of its tolerance). The stream
goes to stdout or -o; with --grid or --png it is written only to an explicit -o (- is stdout). A shard folder (-o samples/) is
written in parts: the same command, run again after a crash, continues after the last part that was finished.`;

const examples = [
  { why: 'a sheet of 64 pictures to look at', command: 'repa sample --num 64 --grid samples.png' },
  {
    why: "the paper's best setting, measured without touching the disk",
    command:
      'repa sample --mode sde --steps 250 --cfg 1.8 --guidance-high 0.7 | repa fid --ref VIRTUAL_imagenet256_labeled.npz',
  },
  {
    why: 'published weights of DiT, as its own sampler does it',
    command: 'repa sample --ckpt DiT-XL-2-256x256.pt --model DiT-XL/2 --cfg 4 --rounding round --num 8 --grid dit.png',
  },
  {
    why: 'guided by an earlier checkpoint of the same run',
    command: 'repa sample --cfg 2 --guide-ckpt ckpt/step-0050000 --num 64 --grid autoguided.png',
  },
  {
    why: 'from text, with an MM-DiT',
    command: 'repa encode-text prompts.txt -o prompts && repa sample --text prompts --cfg 2 --num 16 --grid drawn.png',
  },
  {
    why: 'from one prompt, moved away from the empty caption',
    command: 'repa sample --prompt "a red bus on a bridge" --cfg 2 --num 16 --grid bus.png',
  },
  {
    why: 'a long job that can be killed and run again: one of 16 processes',
    command: 'repa sample --num 50000 --shard 2/16 -o samples/',
  },
];

const OPTIONS = options({
  ...DIFFUSION_MODEL,
  num: integer('--num <n>', 'how many images', { min: 1, defaultText: '50000, or 64 with --grid or --png' }),
  labels: text('--labels <plan>', 'random, balanced, none, or class numbers separated by commas, repeated', {
    defaultText: 'random, or none where training had no labels',
  }),
  text: text('--text <path>', 'of an MM-DiT: prompts made by encode-text, which take turns', { conflicts: ['labels'] }),
  prompt: text('--prompt <text>', 'of an MM-DiT: one prompt, encoded here', { conflicts: ['labels', 'text'] }),
  textEncoder: text('--text-encoder <name>', 'what encodes it', {
    defaultText: 'what the model was trained with, else clip-vit-l',
    needs: 'prompt',
  }),
  textWeights: text('--text-weights <file>', "the text encoder's weights", { needs: 'prompt' }),
  tokenizer: text('--tokenizer <folder>', 'of vocab.json and merges.txt', {
    defaultText: 'that of the weights',
    needs: 'prompt',
  }),
  ...SAMPLING,
  noise: text('--noise <file>', 'initial noise: an .npy or a stream of latents [N, C, h, w]; sets --num'),
  latents: flag('--latents', 'write latents instead of decoded images', { conflicts: ['grid', 'png'] }),
  dtype: choice('--dtype <type>', 'how latents are stored', ['f16', 'f32'], { defaultText: 'f32', needs: 'latents' }),
  vae: text('--vae <name>', 'decoder', { defaultText: 'the codec that made the training latents' }),
  vaeWeights: text('--vae-weights <file>', "the decoder's weights", { conflicts: ['latents'] }),
  vaeStatistics: text('--vae-statistics <file>', 'statistics of its latents, of a decoder of encoder tokens', {
    conflicts: ['latents'],
  }),
  rounding: ROUNDING,
  grid: text('--grid <file.png>', 'write a sheet of the images', { writes: 'file' }),
  png: text('--png <folder>', 'write each image as a PNG', { writes: 'folder' }),
  seed: SEED,
  batchSize: batchSize(16),
  shard: SHARD,
  out: OUT,
  partSize: integer('--part-size <n>', 'images of a part where the output is a shard folder', {
    min: 1,
    default: 1000,
  }),
  dryRun: DRY_RUN,
  ...ENGINE,
});

type Options = Values<typeof OPTIONS> & { quiet?: true };

const PROTOCOL_COUNT = 50_000;
const SHEET_COUNT = 64;

export const command = verb({
  description,
  examples,
  options: OPTIONS,
  run: async (given) => {
    const pictures = given.grid !== undefined || given.png !== undefined;
    const streams = !pictures || given.out !== undefined;
    const options = { ...given, shard: streams ? shardOf(given) : given.shard };
    if (streams && !options.dryRun) checkBinaryOutput(options);
    noteUnguided(options);
    const { selectBackend } = await import('../lib/engine/index.js');
    const { headerOf } = await import('../lib/sampling/header.js');
    const { openJob, samples } = await import('../lib/sampling/job.js');
    const { PictureOutput } = await import('../lib/sampling/picture-output.js');

    await selectBackend(options);
    const job = await openJob(options);
    if (job.labels === 'none' && given.labels === undefined && !options.quiet) {
      say(`note: ${job.model.source} was trained on images without labels: images of no class are drawn`);
    }
    noteShift(job.model.record.training.timeShift, options);
    const total = job.noise?.rows ?? options.num ?? (pictures ? SHEET_COUNT : PROTOCOL_COUNT);
    const share = rangeOf(options.shard ?? WHOLE, total);
    const count = share.end - share.first;
    if (options.dryRun) return estimate(job, share, options, pictures && !streams);
    const progress = new Progress('sample', {
      unit: 'images',
      total: count,
      batch: options.batchSize,
      quiet: options.quiet,
    });
    const { kind, column, metadata } = headerOf(job, options, total);
    const sheet = new PictureOutput(options, JSON.stringify(metadata));
    const produce = async (range: Range, writer?: TensorWriter): Promise<void> => {
      for await (const { key, label, latent, image } of samples(job, range, options)) {
        if (writer) await writer.append(key, label, image ? { image: image.data } : { latent });
        if (image) await sheet.add(key, image);
        progress.advance();
      }
    };
    const schema = { columns: [column], metadata: provenance(kind, metadata) };
    announce(progress, {
      unit: 'images',
      total: count,
      bytes: streams ? count * rowBytes(column) : undefined,
      output: streams
        ? `${showColumn(column)} of each`
        : `drawn as ${options.png === undefined ? 'a sheet' : 'PNG files'}`,
      out: streams ? (options.out ?? '-') : (options.png ?? options.grid!),
    });
    if (!streams) await produce(share);
    else if (isShardFolder(options.out ?? '-')) await writeParts(options, schema, total, { produce, sheet, progress });
    else await writeStream(options, schema, (writer) => produce(share, writer));
    job.decoder?.dispose();
    await sheet.end();
    progress.finish();
  },
});

/** Samples one batch, and tells how long all of them take. */
async function estimate(job: Job, { first, end }: Range, options: Options, onlyPictures: boolean): Promise<void> {
  const { samples } = await import('../lib/sampling/job.js');
  const count = Math.min(options.batchSize, end - first);
  const started = performance.now();
  let bytes = 0;
  for await (const { key, latent, image } of samples(job, { first, end: first + count }, options)) {
    bytes =
      Buffer.byteLength(key) + 8 + (image ? image.data.length : latent.length * (options.dtype === 'f16' ? 2 : 4));
  }
  printEstimate({
    unit: 'images',
    total: end - first,
    seconds: (performance.now() - started) / 1000 / Math.max(1, count),
    measured: `one batch of ${count}, with compilation`,
    bytes: onlyPictures ? undefined : (end - first) * bytes,
    output: onlyPictures ? 'PNG files' : `${bytes} bytes an image`,
    out: onlyPictures ? (options.png ?? options.grid!) : (options.out ?? '-'),
  });
  job.decoder?.dispose();
}

/** Notes options of guidance without guidance: allowed, so that --cfg alone may change from run to run. */
function noteUnguided({ quiet, ...options }: Options): void {
  const given = inUse(pick(SAMPLING, 'guidanceLow', 'guidanceHigh', 'guidanceChannels'), options);
  if (options.cfg > 1 || given.length === 0 || quiet) return;
  say(`note: ${given.map(({ long }) => long).join(', ')}: nothing is guided at --cfg 1`);
}

/** Notes a shift of times that is not that of training. */
function noteShift(trained: number | undefined, { timeShift, quiet }: Options): void {
  if (timeShift === undefined || timeShift === (trained ?? 1) || quiet) return;
  say(`note: --time-shift ${timeShift}: the model was trained at ${trained ?? 1}, which it is sampled at without it`);
}

interface PartsJob {
  produce(range: Range, writer: TensorWriter): Promise<void>;
  sheet: PictureOutput;
  progress: Progress;
}

/** Samples the parts that are missing in a folder. */
async function writeParts(options: Options, schema: StreamSchema, total: number, job: PartsJob): Promise<void> {
  const { partsOf } = await import('../lib/sampling/parts.js');
  const { produce, sheet, progress } = job;
  const parts = partsOf(options.shard ?? WHOLE, total, options.partSize);
  let finished = 0;
  for (const shard of parts) {
    const range = rangeOf(shard, total);
    if (await continueStream({ ...options, shard }, schema, (writer) => produce(range, writer))) continue;
    finished++;
    await sheet.addPart(path.join(options.out!, partName(shard)));
    progress.skip(range.end - range.first);
  }
  if (finished > 0) progress.say(`${options.out}: ${finished} of ${parts.length} parts were finished already`);
}
