/** repa train: cached latents and features to a checkpoint folder. */
import { imageInput } from '../lib/cli/image-input.js';
import { answerFirstSignal, dieOf } from '../lib/cli/interrupt.js';
import { Progress } from '../lib/cli/progress.js';
import { ENGINE, SEED } from '../lib/cli/shared-options.js';
import { outliveReader } from '../lib/cli/standard-output.js';
import { verb } from '../lib/cli/verb.js';
import { checkMeasures, type MonitorOptions, WHILE_TRAINING } from '../lib/evaluation/while-training/options.js';
import {
  blockPair,
  choice,
  decimal,
  flag,
  integer,
  list,
  number,
  parsed,
  text,
  ValueProblem,
} from '../lib/options/option.js';
import { options } from '../lib/options/table.js';
import type { OpenMonitor } from '../lib/training/monitor.js';
import { PRESET_NAMES, presetValues } from '../lib/training/presets.js';

const description = `Trains a SiT on cached latents with the REPA loss: the mean squared error of the velocity, plus
lambda times the misalignment between the tokens of one early block (through a small perceptron) and the cached features
of a frozen encoder. With --lambda 0 it is a plain SiT, and no features are read. A DiT (--model DiT-XL/2) learns the
noise and its variance at the 1000 steps of DDPM instead of a velocity, and is aligned in the same way.

The follow-ups of REPA are options, and --preset gives the recipe of a paper: see it in full with --print-config. Of these, REG
and ReDi generate what the encoder sees along with the image (its class token, or components of its features), which sample
then leaves out; TREAD and SPRINT let a share of the tokens skip the middle blocks in training, and all of them see all
blocks in sampling.

Every logged step is one JSON object on stdout, also kept as log.ndjson in the output folder. Checkpoints are complete or
absent, whatever kills the run; running the same command again continues from the newest one and gives the same numbers
as a run that was never interrupted. The first ^C or SIGTERM saves a checkpoint, the second kills. A folder takes one run at a
time, told by run.lock in it. A loss that explodes ends the run before it harms the weights, and diverged-step-N.json tells
the losses, the gradients by block and the images of that step.

With --encoder and --images, no features are stored: they are computed of each step's images, as extract-dino does it, which
are decoded while the step before is computed.

With --eval-every, the moving average is measured on the way, each measure one line of the log with what makes it
comparable: pictures from the same noise each time; with --eval-ref the Frechet distance of samples, as sample and fid give it
of a checkpoint; with --val-latents the losses of held-out images under fixed noise and times, what probes read from the aligned
block, and with --val-feats its CKNNA with the features. It changes no number of the training. The steps' own lines
have no field 'evaluation', these have.

Under mpirun or srun --mpi=pmix the ranks share each step: --batch-size stays that of the whole step, its images are
divided among the ranks, their gradients summed, and the losses are those of one process, whatever the number of ranks;
only terms that compare the images of a batch with each other (NT-Xent, contrastive, dispersive) see those of one
micro-batch. Every machine must see the same files. A signal to any rank saves a checkpoint; Open MPI's mpirun leaves one
second for that after ^C, and more with --mca odls_base_sigkill_timeout 60. REPA_MPI_LIBRARY names the libmpi if it is not
found.`;

const examples = [
  { why: 'the recipe of the paper on ./latents and ./feats', command: 'repa train --lambda 0.5 --align-depth 8' },
  { why: 'a plain SiT for comparison', command: 'repa train --lambda 0 --out ckpt-plain' },
  { why: 'REG, on features with class tokens', command: 'repa train --preset reg --out ckpt-reg' },
  {
    why: 'features computed on the way, for a set whose features fit no disk',
    command: 'repa train --encoder dinov2-vit-b --images imagenet/train',
  },
  {
    why: 'measured every 5000 steps, in pictures and numbers',
    command:
      'repa train --eval-every 5000 --eval-ref imgs-val/ --val-latents latents-val --val-feats feats-val --eval-cfg 1.5',
  },
  {
    why: 'on four machines of a cluster, one process each',
    command: 'srun -N 4 --ntasks-per-node 1 --mpi=pmix repa train --batch-size 256',
  },
  {
    why: 'a small model for small images, watched with jq',
    command: 'repa train --model SiT-S/4 --depth 8 --width 192 --steps 2000 --batch-size 64 --lr 1e-3 | jq .loss',
  },
];

/** Where the data are, and what encodes them. */
const DATA = options({
  latents: text('--latents <path>', 'latents made by encode-vae', { default: 'latents' }),
  feats: list('--feats <paths>', 'features made by extract-dino; several encoders separated by commas', String, {
    default: ['feats'],
  }),
  encoder: text('--encoder <name>', 'in place of --feats: compute features on the way, with this network', {
    conflicts: ['feats'],
  }),
  images: text('--images <path>', 'the images that the latents were made of: a folder, a .tar or a stream of images', {
    needs: 'encoder',
  }),
  encoderWeights: text('--encoder-weights <file>', "the encoder's weights", { needs: 'encoder' }),
  encoderSize: integer('--encoder-size <n>', 'side of the square that is cropped for it', {
    min: 1,
    defaultText: 'its own',
    needs: 'encoder',
  }),
  encoderOutput: text('--encoder-output <name>', 'of an ONNX file: the output to take', { needs: 'encoder' }),
  encoderNormalise: choice(
    '--encoder-normalise <how>',
    'of an ONNX file: what it takes',
    ['imagenet', 'clip', 'signed', 'unit'],
    { defaultText: 'imagenet', needs: 'encoder' },
  ),
  out: text('--out <folder>', 'where checkpoints and the log go', { default: 'ckpt', writes: 'folder' }),
});

/** The network, and what it is aligned with. */
const MODEL = options({
  model: text('--model <name>', 'SiT-{S,B,L,XL}/{2,4,8}, or DiT- of the same sizes', { default: 'SiT-XL/2' }),
  preset: choice('--preset <name>', 'recipe of a paper, for options that are not given', PRESET_NAMES),
  depth: integer('--depth <n>', 'blocks, if not those of the model', { min: 1 }),
  width: integer('--width <n>', 'width of a token, if not that of the model', { min: 4 }),
  heads: integer('--heads <n>', 'attention heads, if not those of the model', { min: 1 }),
  patchSize: integer('--patch-size <n>', 'side of a patch, if not that of the model', { min: 1 }),
  numClasses: integer('--num-classes <n>', 'classes', { min: 1, defaultText: 'as the labels need' }),
  lambda: number('--lambda <w>', 'weight of the projection loss', { min: 0, default: 0.5 }),
  projectionLoss: choice(
    '--projection-loss <name>',
    'minus the cosine similarity, or telling each target from the others',
    ['cosine', 'nt-xent'],
    { default: 'cosine' },
  ),
  alignDepth: integer('--align-depth <n>', 'block whose tokens are aligned, 1 is the first', {
    min: 1,
    defaultText: '8, or 4 for S and B',
  }),
});

/** The steps, and what is kept of them. */
const STEPS = options({
  steps: integer('--steps <n>', 'optimiser steps in all', { min: 1, default: 400_000 }),
  batchSize: integer('--batch-size <n>', 'images of one step', { min: 1, default: 256 }),
  microBatch: integer('--micro-batch <n>', 'images computed at a time; a step accumulates their gradients', {
    min: 1,
    defaultText: 'all',
  }),
  checkpointBlocks: integer(
    '--checkpoint-blocks <n>',
    'blocks computed again in the backward pass instead of kept in memory: less memory, more time, the same numbers',
    { default: 0 },
  ),
  optimizer: choice(
    '--optimizer <name>',
    'AdamW, or Muon for the matrices of blocks and projectors and AdamW for the rest',
    ['adamw', 'muon'],
    { default: 'adamw' },
  ),
  lr: number('--lr <rate>', 'learning rate', { min: 0, default: 1e-4 }),
  lrSchedule: choice('--lr-schedule <name>', 'constant, or along a cosine to 0 at --steps', ['constant', 'cosine'], {
    default: 'constant',
  }),
  warmup: integer('--warmup <steps>', 'steps over which the learning rate grows from 0', { default: 0 }),
  beta2: number('--beta2 <b>', "AdamW's second decay", { min: 0, max: 1, default: 0.999 }),
  weightDecay: number('--weight-decay <w>', "AdamW's weight decay", { min: 0, default: 0 }),
  clip: number('--clip <norm>', 'gradients of a larger norm are scaled down to it', { min: 0, default: 1 }),
  ema: list(
    '--ema <decays>',
    'decay of the moving average of the weights; of several, separated by commas, sample takes the first',
    decimal(0, 1),
    { default: [0.9999] },
  ),
  labelDropout: number('--label-dropout <p>', 'chance that a label is replaced by the null class', {
    min: 0,
    max: 1,
    default: 0.1,
  }),
  path: choice('--path <name>', 'path between data and noise', ['linear', 'cosine'], { default: 'linear' }),
  time: choice('--time <name>', 'how times are drawn', ['uniform', 'lognormal'], { default: 'uniform' }),
  resume: flag('--resume', 'continue the run in --out although settings changed'),
  saveEvery: integer('--save-every <steps>', 'steps between checkpoints', { min: 1, default: 10_000 }),
  lossLimit: number('--loss-limit <x>', 'a larger loss, or one that is not finite, ends the run with a report', {
    min: 0,
    default: 1000,
  }),
  keep: integer('--keep <n>', 'newest checkpoints kept', { min: 1, default: 2 }),
  logEvery: integer('--log-every <steps>', 'steps between lines of the log', { min: 1, default: 10 }),
  printConfig: flag('--print-config', 'print the whole configuration as JSON and stop'),
});

function timeShift(value: string): number | 'auto' {
  if (value === 'auto') return value;
  try {
    return decimal(0.01, 100)(value);
  } catch {
    throw new ValueProblem('It takes a number from 0.01 to 100, or auto.');
  }
}

const weight = (flags: string, description: string) => number(flags, description, { min: 0, default: 0 });

/** What varies the network and what it learns: the follow-ups of REPA. */
const VARIANTS = options({
  qkNorm: flag('--qk-norm', 'normalise queries and keys'),
  norm: choice('--norm <kind>', 'layer norm, or RMS norm with a scale (LightningDiT)', ['layer', 'rms'], {
    default: 'layer',
  }),
  feedForward: choice(
    '--feed-forward <kind>',
    'a perceptron with GELU, or a gated one (LightningDiT)',
    ['gelu', 'swiglu'],
    { default: 'gelu' },
  ),
  rotary: flag('--rotary', 'turn queries and keys with their position on the grid (LightningDiT)'),
  projector: choice(
    '--projector <name>',
    'a perceptron on each token, or a 3 x 3 convolution of their grid (iREPA)',
    ['mlp', 'conv'],
    { default: 'mlp', needs: '--lambda' },
  ),
  projectorDim: integer('--projector-dim <n>', 'width of the perceptron', { min: 1, default: 2048 }),
  spatialNorm: number(
    '--spatial-norm <gamma>',
    'features lose gamma of their mean over the image, then are divided by their deviation (iREPA: 1)',
    { min: 0, needs: '--lambda' },
  ),
  manifold: number('--manifold <w>', 'weight, times lambda, of the similarities among tokens (U-REPA: 3)', {
    min: 0,
    default: 0,
    needs: '--lambda',
  }),
  alignUntil: integer('--align-until <step>', 'features are followed up to this step only (HASTE)', {
    min: 1,
    needs: '--lambda',
  }),
  classToken: weight(
    '--class-token <w>',
    "weight of generating the encoder's class token with the image; feats need their --cls (REG: 0.03)",
  ),
  representation: weight(
    '--representation <w>',
    'weight of generating components of the features with the image (ReDi: 1)',
  ),
  representationChannels: integer('--representation-channels <n>', 'how many components', {
    min: 1,
    defaultText: '8',
    needs: 'representation',
  }),
  direction: weight('--direction <w>', 'weight of the cosine between velocities (LightningDiT: 1)'),
  contrastive: weight(
    '--contrastive <w>',
    "weight of the distance to other images' velocities, which is made larger (Delta-FM: 0.05)",
  ),
  layerSync: weight('--layer-sync <w>', 'weight of a block following a later one (LayerSync: 0.2)'),
  layerSyncBlocks: blockPair('--layer-sync-blocks <pair>', 'which follows which, such as 8,16', {
    needs: 'layerSync',
  }),
  dispersive: weight('--dispersive <w>', "weight of images' hidden states repelling each other (Dispersive: 0.5)"),
  dispersiveBlock: integer('--dispersive-block <n>', 'at which block', {
    min: 1,
    defaultText: 'a quarter of them',
    needs: 'dispersive',
  }),
  sra: weight('--sra <w>', 'weight of a block following a later one of the moving average at less noise (SRA: 0.2)'),
  sraBlocks: blockPair('--sra-blocks <pair>', 'which follows which, such as 8,20', { needs: 'sra' }),
  route: number('--route <share>', 'share of the tokens that skip the middle blocks (TREAD: 0.5)', {
    min: 0,
    max: 0.99,
    default: 0,
  }),
  middleBlocks: blockPair('--middle-blocks <pair>', 'first and last of them, such as 3,24', {
    needs: ['route', 'fusion'],
  }),
  fusion: flag('--fusion', 'join what comes out of the middle blocks with what went in (SPRINT, with --route 0.75)'),
  pathDrop: number('--path-drop <p>', 'chance that they are left out for an image (SPRINT: 0.05)', {
    min: 0,
    max: 1,
    default: 0,
    needs: 'fusion',
  }),
  timeShift: parsed(
    '--time-shift <s>',
    'move the times towards the noise: t becomes s t / (1 + (s - 1) t); auto is by the size of the latents (SR-DiT)',
    timeShift,
    { default: 1 },
  ),
});

export const command = verb({
  description,
  examples,
  options: { ...DATA, ...MODEL, ...STEPS, ...VARIANTS, ...WHILE_TRAINING, seed: SEED, ...ENGINE },
  presetOf: ({ preset }) => (preset ? presetValues(preset) : undefined),
  run: async (options) => {
    checkMeasures(options);
    const { joinGroup, together } = await import('../lib/parallel/group.js');
    const { planRun } = await import('../lib/training/plan.js');
    const { runTraining } = await import('../lib/training/run.js');
    const { selectBackend } = await import('../lib/engine/index.js');
    const group = await joinGroup();
    let signal: NodeJS.Signals | undefined;
    await together(group, async () => {
      await selectBackend(options); // an encoder is opened by the plan
      const plan = await planRun(options, group);
      if (options.printConfig) {
        if (group.rank === 0) process.stdout.write(`${JSON.stringify(plan.record, null, 2)}\n`);
        return;
      }
      const progress = new Progress('train', {
        unit: 'steps',
        total: options.steps,
        done: plan.record.step,
        quiet: options.quiet,
      });
      const stopAnswering = answerFirstSignal((received) => {
        signal = received;
        progress.say('stopping after this step to save a checkpoint; once more to kill');
      });
      outliveReader(() => progress.say(`nobody reads stdout any more: the log goes on in ${options.out}/log.ndjson`));
      try {
        await runTraining(plan, group, {
          ...options,
          say: (line) => progress.say(line),
          print: (line) => progress.print(line),
          shouldStop: () => signal !== undefined,
          onStep: (entry) => progress.advance(1, `loss ${entry.loss.toFixed(4)}`),
          openMonitor: monitorOf(options),
        });
      } finally {
        stopAnswering();
      }
      progress.finish();
    });
    if (signal) dieOf(signal);
  },
});

/** How the run is measured on the way, if that was asked for. */
function monitorOf(options: MonitorOptions & { quiet?: true }): OpenMonitor | undefined {
  const { evalEvery, quiet } = options;
  if (evalEvery === undefined) return undefined;
  return async (run) => {
    const { openMonitor } = await import('../lib/evaluation/while-training/monitor.js');
    return openMonitor({ ...options, evalEvery }, run, {
      open: (path) => imageInput(path, undefined, {}),
      progress: (label, total) => new Progress(label, { unit: 'images', total, quiet }),
    });
  };
}
