/** The options of a training run: its network, its steps. What methods add, they declare themselves. */
import { type Average, parseAverage, sigmaOf } from '../optim/average.js';
import { choice, flag, integer, list, number, parsed, text, ValueProblem } from '../options/option.js';
import { options } from '../options/table.js';
import { PRESETS } from '../repa/methods.js';
import { DESIGN } from './design.js';
import { parseTermSchedule } from './term-schedule.js';
import { TIMES } from './time-options.js';

/** The network. */
export const MODEL = options({
  model: text(
    '--model <name>',
    'SiT-{S,B,L,XL}/{1,2,4,8,16,32}, DiT- of the same sizes, or MM-DiT/2, which draws from text',
    { default: 'SiT-XL/2' },
  ),
  preset: choice('--preset <name>', 'recipe of a paper, for options that are not given', [...PRESETS.keys()], {
    once: true,
  }),
  depth: integer('--depth <n>', 'blocks, if not those of the model', { min: 1 }),
  width: integer('--width <n>', 'width of a token, if not that of the model', { min: 4 }),
  heads: integer('--heads <n>', 'attention heads, if not those of the model', { min: 1 }),
  patchSize: integer('--patch-size <n>', 'side of a patch, if not that of the model', { min: 1 }),
  numClasses: integer('--num-classes <n>', 'classes', { min: 1, defaultText: 'as the labels need' }),
  alignDepth: integer('--align-depth <n>', 'block whose tokens are aligned, 1 is the first', {
    min: 1,
    defaultText: '8, or 4 for S and B',
  }),
  ...DESIGN,
});

/** Reads a range of steps, such as 50040-1000800. @throws ValueProblem */
function stepRange(value: string): readonly [from: number, to: number] {
  const [, from, to] = /^(\d+)-(\d+)$/.exec(value)?.map(Number) ?? [];
  if (from < to) return [from, to];
  throw new ValueProblem('It takes two steps, the earlier first, such as 50040-1000800.');
}

const isLinear = {
  words: '--lr-schedule linear',
  holds: ({ lrSchedule }: { lrSchedule: string }) => lrSchedule === 'linear',
};

/** The steps, and what is kept of them. */
export const STEPS = options({
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
  lr: number('--lr <rate>', 'learning rate', { min: 0, max: 10, default: 1e-4 }),
  lrSchedule: choice(
    '--lr-schedule <name>',
    'constant, along a cosine to 0 at --steps, or in a line to --lr-final (RAE)',
    ['constant', 'cosine', 'linear'],
    { default: 'constant' },
  ),
  lrFinal: number('--lr-final <rate>', 'where the line ends', { min: 0, max: 10, default: 0, needs: isLinear }),
  lrDecay: parsed('--lr-decay <from-to>', 'the steps between which it falls, such as 50040-1000800', stepRange, {
    defaultText: 'from the warm-up to --steps',
    needs: isLinear,
  }),
  warmup: integer('--warmup <steps>', 'steps over which the learning rate grows from 0', { default: 0 }),
  beta2: number('--beta2 <b>', "AdamW's second decay", { min: 0, below: 1, default: 0.999 }),
  weightDecay: number('--weight-decay <w>', "AdamW's weight decay", { min: 0, max: 100, default: 0 }),
  termSchedule: list(
    '--term-schedule <list>',
    "factors of terms' weights over the steps, a term as the log has it without _loss: projection:warmup:5000 grows in a line, " +
      'projection:cosine:100000-250000 falls to 0, projection:until:250000 ends',
    parseTermSchedule,
    { default: [] },
  ),
  clip: number('--clip <norm>', 'gradients of a larger norm are scaled down to it', { above: 0, default: 1 }),
  ema: list(
    '--ema <decays>',
    'moving averages of the weights, separated by commas: each a decay, or sigma: and the width of an average along a ' +
      'power of the time, such as sigma:0.05 (see repa ema); sample takes the first',
    parseAverage,
    { default: [0.9999] },
  ),
  averageDtype: choice(
    '--average-dtype <type>',
    'of averages along a power of the time, as they are kept for repa ema',
    ['f16', 'f32'],
    {
      default: 'f16',
      needs: { words: '--ema sigma:...', holds: ({ ema }) => ema.some((each: Average) => sigmaOf(each)) },
    },
  ),
  labelDropout: number('--label-dropout <p>', 'chance that a label is replaced by the null class', {
    min: 0,
    max: 1,
    default: 0.1,
  }),
  ...TIMES,
  resume: flag('--resume', 'continue the run in --out although settings changed'),
  saveEvery: integer('--save-every <steps>', 'steps between checkpoints', { min: 1, default: 10_000 }),
  lossLimit: number('--loss-limit <x>', 'a larger loss, or one that is not finite, ends the run with a report', {
    min: 0,
    default: 1000,
  }),
  keep: integer('--keep <n>', 'newest checkpoints kept', { min: 1, default: 2 }),
  logEvery: integer('--log-every <steps>', 'steps between lines of the log', { min: 1, default: 10 }),
  printConfig: flag(
    '--print-config',
    'print the whole configuration as JSON and stop; without the latents, the options',
  ),
});
