/** Options that mean the same in several verbs. */

import { choice, flag, integer, number, parsed, text, ValueProblem } from '../options/option.js';
import { options } from '../options/table.js';
import { coresPerProcess } from '../parallel/environment.js';
import type { Shard } from '../stream/shards.js';

export const SEED = integer('--seed <n>', 'seed of everything random', { default: 0 });

export const batchSize = (size: number) =>
  integer('--batch-size <n>', 'rows computed at a time; changes speed and memory', { min: 1, default: size });

/** `i/N` with 0 <= i < N: the part of the work that this process does. @throws ValueProblem */
export function parseShard(value: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(value.trim());
  const [index, count] = [Number(match?.[1]), Number(match?.[2])];
  if (match && count >= 1 && index < count) return { index, count };
  throw new ValueProblem('It takes i/N with 0 <= i < N, for instance 0/8.');
}

export const SHARD = parsed('--shard <i/N>', 'do only part i of N', parseShard, {
  defaultText: 'from a Slurm array, an Indexed Job or MPI',
});

/** What computes, and on how many threads. */
export const ENGINE = options({
  backend: choice(
    '--backend <name>',
    'what computes tensors; auto is tensorflow-gpu where that and an NVIDIA driver are installed, else onnx',
    ['auto', 'onnx', 'tensorflow', 'tensorflow-gpu'],
    { default: 'auto' },
  ),
  threads: integer('--threads <n>', 'threads of the tensor engine', {
    min: 1,
    default: coresPerProcess(),
    defaultText: 'all cores; under MPI, shared by the ranks of a machine',
  }),
});

export const DTYPE = choice('--dtype <type>', 'how floats are stored', ['f16', 'f32'], { default: 'f16' });

/** Of features, whose directions survive 8 bits. */
export const FEATURE_DTYPE = choice(
  '--dtype <type>',
  'how floats are stored; i8 with one f16 scale a token, half of f16',
  ['f16', 'f32', 'i8'],
  { default: 'f16' },
);

export const OUT = text('-o, --out <path>', 'write here instead of stdout; a path that ends in / is a shard folder', {
  writes: true,
});

export const ROUNDING = choice(
  '--rounding <how>',
  "pixels to bytes: as REPA's sampler, or as SiT's and DiT's",
  ['truncate', 'round'],
  { default: 'truncate' },
);

export const JSON_LINES = flag('--json', 'one JSON object a line instead of a table');

/** Of verbs that read images. */
export const SIZE = integer('--size <n>', 'side of the square that is cropped from each image', {
  min: 1,
  defaultText: '256, or what the network takes',
});

export const SKIP_BAD = flag(
  '--skip-bad',
  'leave out images that cannot be read, naming and counting them, instead of stopping',
);

/** A network of another kind, as an ONNX file. */
export const ONNX = options({
  output: text('--output <name>', 'the output of an ONNX file to take', {
    defaultText: 'the first that is a map, a sequence or a vector',
  }),
  normalise: choice(
    '--normalise <how>',
    "what an ONNX file takes: ImageNet's or CLIP's mean and deviation, [-1, 1], or [0, 1]",
    ['imagenet', 'clip', 'signed', 'unit'],
    { defaultText: 'imagenet' },
  ),
});

/** A frozen encoder of images. */
export const ENCODER = options({
  weights: text('--weights <file>', "the encoder's weights"),
  heads: integer('--heads <n>', 'attention heads', {
    min: 1,
    defaultText: 'those of published models of its width',
  }),
  posEmbed: choice(
    '--pos-embed <how>',
    'how positions are resampled to the grid: as the official REPA does, or as DINOv2',
    ['timm', 'dinov2'],
    { default: 'timm' },
  ),
  ...ONNX,
  size: SIZE,
});

/** A network whose features make a distance between sets of images. */
export const FEATURE_NETWORK = options({
  net: text('--net <name>', 'inception, the name of an encoder, or an .onnx file', { default: 'inception' }),
  weights: text('--weights <file>', "the network's weights"),
  ...ONNX,
});

/** What a checkpoint file of the official code may leave open. */
export const CHECKPOINT_FILE = options({
  model: text(
    '--model <name>',
    'what a checkpoint file holds, where its tensors do not tell: SiT-XL/2, DiT-XL/2, SiT, DiT',
  ),
  heads: integer('--heads <n>', 'attention heads of a checkpoint file', {
    min: 1,
    defaultText: 'those of the published model of its width',
  }),
  path: choice('--path <name>', 'path that a checkpoint file was trained on', ['linear', 'cosine'], {
    defaultText: 'as it says, or linear',
  }),
});

/** Which weights of a checkpoint. */
export const WEIGHTS = options({
  raw: flag('--raw', 'the weights themselves, not their moving average', { conflicts: ['ema'] }),
  ema: number('--ema <decay>', 'the moving average of this decay', {
    min: 0,
    max: 1,
    defaultText: 'the first that was trained',
  }),
});

/** A trained diffusion model. */
export const DIFFUSION_MODEL = options({
  ckpt: text(
    '--ckpt <path>',
    'a training folder, one checkpoint in it, a file of the official code (.pt, .safetensors), or a name that was pulled',
    { default: 'ckpt' },
  ),
  ...CHECKPOINT_FILE,
  ...WEIGHTS,
});
