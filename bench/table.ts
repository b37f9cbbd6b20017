/**
 * The table of README.md: each piece of work by repa in each of its precisions, and by PyTorch in fp32, in bf16
 * (autocast), and compiled in both, all in turn; the step that warms up compiles, and does not count. Prints the
 * processor first, and a row as soon as it is known.
 *
 *     node dist/bench/table.js [--steps 5] [--only vit,cknna] [--contestants f32,bf16,fp32,autocast]
 *                              [--clock processor]
 *
 * `--clock processor` compares the time of all threads together: what counts where other programs run.
 */
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { productUnits } from '../src/lib/engine/onnx/native.js';
import { contest, type Summary } from './contest.js';

/** How each contestant is run; the first three are repa. */
const CONTESTANTS = {
  f32: '--precision f32',
  f32x2: '--precision f32x2',
  bf16: '--precision bf16',
  fp32: '',
  autocast: '--bf16',
  compiled: '--compile',
  'compiled-autocast': '--compile --bf16',
} as const;
type Contestant = keyof typeof CONTESTANTS;
const NAMES = Object.keys(CONTESTANTS) as Contestant[];
const OURS: readonly Contestant[] = ['f32', 'f32x2', 'bf16'];

const { values: flags } = parseArgs({
  options: {
    steps: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    contestants: { type: 'string', default: NAMES.join() },
    clock: { type: 'string', default: 'wall' },
  },
});
const units = productUnits();
const asked = flags.contestants.split(',');
const chosen = NAMES.filter(
  (name) => asked.includes(name) && (units !== null || name === 'f32' || !OURS.includes(name)),
);

interface Row {
  title: string;
  /** Contestant and options of both sides. */
  script: 'train-step' | 'network' | 'metric';
  options: string;
  /** Steps where those of the others would take too long. */
  steps?: number;
}

const ROWS: readonly Row[] = [
  { title: 'training step, SiT-S/2, batch 8', script: 'train-step', options: '--model SiT-S/2 --batch 8' },
  { title: 'training step, SiT-B/2, batch 4', script: 'train-step', options: '--model SiT-B/2 --batch 4' },
  network('sampling step with guidance, SiT-S/2, 4 images', 'sample', '--model S --batch 4'),
  network('the same, SiT-B/2, 4 images', 'sample', '--model B --batch 4'),
  network('the same, SiT-XL/2, 1 image', 'sample', '--model XL --batch 1'),
  network('DINOv2 ViT-S/14 at 224, 8 images', 'vit', '--model S --batch 8'),
  network('DINOv2 ViT-B/14 at 224, 8 images', 'vit', '--model B --batch 8'),
  network('SD autoencoder at 256, encode 1 image', 'vae-encode', '--batch 1'),
  network('SD autoencoder at 256, decode 1 image', 'vae-decode', '--batch 1'),
  network('Inception at 299, 8 images', 'inception', '--batch 8'),
  { title: 'CKNNA, 2,000 rows of 768', script: 'metric', options: '--metric cknna --rows 2000' },
  { title: 'CKNNA, 10,000 rows of 768', script: 'metric', options: '--metric cknna --rows 10000', steps: 2 },
  { title: 'Frechet distance, 2048 dimensions', script: 'metric', options: '--metric frechet', steps: 2 },
];

function network(title: string, name: string, options: string): Row {
  return { title, script: 'network', options: `--network ${name} ${options}` };
}

const PEERS: Readonly<Record<Row['script'], string>> = {
  'train-step': 'torch_train_step.py',
  network: 'torch_network.py',
  metric: 'torch_metric.py',
};

/**
 * PyTorch frees and asks for large blocks all the time: glibc is told to keep them, as new pages can cost more than the
 * work.
 */
const KEEP_MEMORY = 'MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000';
/** Its threads spin while they wait for each other, which is no work. */
const ASLEEP = flags.clock === 'processor' ? 'OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 ' : '';

/** Metrics are computed in one precision alone. */
const contestantsOf = ({ script }: Row): Contestant[] =>
  script === 'metric' ? chosen.filter((name) => name === 'f32' || name === 'fp32') : chosen;

function commandOf({ script, options }: Row, name: Contestant): string {
  const variant = script === 'metric' ? '' : CONTESTANTS[name];
  const isOurs = OURS.includes(name);
  const command = isOurs ? `node dist/bench/${script}.js` : `${ASLEEP}${KEEP_MEMORY} python bench/${PEERS[script]}`;
  return `${command} ${options} ${variant}`;
}

type Summaries = Partial<Record<Contestant, Summary>>;

const timeOf = (summary: Summary): number =>
  flags.clock === 'processor' ? summary.cpuMilliseconds : summary.milliseconds;

function ratio(summaries: Summaries, ours: Contestant, peer: Contestant, of: (summary: Summary) => number): string {
  const [a, b] = [summaries[ours], summaries[peer]];
  return a && b ? (of(a) / of(b)).toFixed(2) : '';
}

/** The cells of a row, by their headings. */
function cells(summaries: Summaries): Record<string, string> {
  const each = (of: (summary: Summary) => number) =>
    chosen.map((name) => (summaries[name] ? of(summaries[name]).toFixed(0) : ''));
  const times = each(timeOf);
  const title = (name: Contestant) => `${OURS.includes(name) ? 'repa' : 'PyTorch'} ${name}, ms`;
  return {
    ...Object.fromEntries(chosen.map((name, index) => [title(name), times[index]])),
    'f32 / fp32': ratio(summaries, 'f32', 'fp32', timeOf),
    'f32 / compiled': ratio(summaries, 'f32', 'compiled', timeOf),
    'bf16 / autocast': ratio(summaries, 'bf16', 'autocast', timeOf),
    'bf16 / compiled-autocast': ratio(summaries, 'bf16', 'compiled-autocast', timeOf),
    'memory, f32 / fp32': ratio(summaries, 'f32', 'fp32', ({ peakMiB }) => peakMiB),
    'memory, bf16 / autocast': ratio(summaries, 'bf16', 'autocast', ({ peakMiB }) => peakMiB),
    'peak MiB': each(({ peakMiB }) => peakMiB).join(' / '),
    'best GEMM, GFLOPS': each(({ gflops }) => gflops).join(' / '),
  };
}

const line = (words: readonly string[]): string => `| ${words.join(' | ')} |`;
const load = (): string => loadavg()[0].toFixed(1);

console.log(
  `${cpus().length} cores (${cpus()[0].model}), bf16 by ${units ?? 'no units'}; ${flags.clock} time; load ${load()}`,
);
const headings = Object.keys(cells({}));
console.log(`\n${line(['', ...headings])}\n${line(['---', ...headings.map(() => '---')])}`);
const only = flags.only.split(',').filter((word) => word !== '');
for (const row of ROWS) {
  if (only.length > 0 && !only.some((word) => `${row.title} ${row.options}`.includes(word))) continue;
  const names = contestantsOf(row);
  const results = await contest(
    names.map((name) => commandOf(row, name)),
    row.steps ?? Number(flags.steps),
  );
  const summaries: Summaries = Object.fromEntries(names.map((name, index) => [name, results[index]]));
  console.log(line([row.title, ...Object.values(cells(summaries))]));
}
console.log(`\nload at the end: ${load()}`);
