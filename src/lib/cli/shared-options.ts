/** Options that mean the same in several verbs. */

import { choice, flag, integer, list, parsed, text, ValueProblem } from '../options/option.js';
import { options } from '../options/table.js';
import { coresPerProcess } from '../parallel/environment.js';
import type { Shard } from '../stream/shards.js';

export const SEED = integer('--seed <n>', 'seed of everything random', { default: 0 });

export const RESULTS = list('--results <files>', 'lines of --json, in files separated by commas', String, {
  default: [],
});

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

const ON_XLA = {
  words: '--backend xla',
  holds: ({ backend }: { backend: string }): boolean => backend === 'auto' || backend === 'xla',
};

const NOT_TENSORFLOW = {
  words: '--backend onnx, xla or webgpu',
  holds: ({ backend }: { backend: string }): boolean => !backend.startsWith('tensorflow'),
};

/** What computes, and on how many threads or devices. */
export const ENGINE = options({
  backend: choice(
    '--backend <name>',
    'what computes tensors; auto is xla where a plugin and an accelerator are, tensorflow-gpu where that and an NVIDIA driver are installed, else onnx',
    ['auto', 'onnx', 'webgpu', 'xla', 'tensorflow', 'tensorflow-gpu'],
    { default: 'auto' },
  ),
  plugin: text('--plugin <file>', 'the PJRT plugin of the xla backend', {
    defaultText: '$REPA_PJRT_PLUGIN, or the first that is installed',
    needs: ON_XLA,
  }),
  devices: integer('--devices <n>', 'accelerators of xla that share the work', {
    min: 1,
    defaultText: 'all of the machine',
    needs: ON_XLA,
  }),
  precision: choice(
    '--precision <type>',
    'operands of matrix products: f32; bf16 (onnx by AVX512-BF16 or AMX, xla); f32x2, the sum of two bf16 (onnx); f16 (webgpu)',
    ['f32', 'f32x2', 'bf16', 'f16'],
    { defaultText: 'bf16 on accelerators of xla, else f32', needs: NOT_TENSORFLOW },
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
  'how floats are stored; i8 with one f16 scale per token, half the size of f16',
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
export const LABELS = text(
  '--labels <file>',
  "classes of the images: lines of a file name and a class, as of ImageNet's validation set (val.txt, LOC_val_solution.csv)",
);

/** Of verbs that read images. */
export const SKIP_BAD = flag(
  '--skip-bad',
  'leave out images that cannot be read, naming and counting them, instead of stopping',
);
