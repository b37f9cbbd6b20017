/**
 * The table of README.md: each piece of work by repa and by PyTorch in fp32, in bf16 and compiled, all four in turn. Prints
 * a row as soon as it is known.
 *
 *     node dist/bench/table.js [--steps 5] [--only vit,cknna]
 */
import { parseArgs } from 'node:util';
import { contest, type Summary } from './contest.js';

const { values: flags } = parseArgs({
  options: { steps: { type: 'string', default: '5' }, only: { type: 'string', default: '' } },
});

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

/** PyTorch frees and asks for large blocks all the time: glibc is told to keep them, as new pages can cost more than the work. */
const KEEP_MEMORY = 'MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000';

function commandsOf({ script, options }: Row): string[] {
  const peer = `${KEEP_MEMORY} python bench/${PEERS[script]} ${options}`;
  const variants = script === 'metric' ? [] : [`${peer} --bf16`, `${peer} --compile`];
  return [`node dist/bench/${script}.js ${options}`, peer, ...variants];
}

const whole = (value: number): string => value.toFixed(0);

function cells([ours, fp32, bf16, compiled]: readonly Summary[]): string[] {
  const ratio = (peer: Summary | undefined): string =>
    peer ? `${whole(peer.milliseconds)} (${(ours.milliseconds / peer.milliseconds).toFixed(2)})` : '';
  const memory = `${whole(ours.peakMiB)} / ${whole(fp32.peakMiB)} (${(ours.peakMiB / fp32.peakMiB).toFixed(2)})`;
  const ceiling = [ours, fp32, bf16].map((side) => (side ? whole(side.gflops) : '')).join(' / ');
  return [whole(ours.milliseconds), ratio(fp32), ratio(bf16), ratio(compiled), memory, ceiling];
}

console.log(
  '| | repa, ms | PyTorch fp32 | bf16 | compiled | peak MiB, repa / fp32 | GEMM GFLOPS, repa / fp32 / bf16 |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- |');
const only = flags.only.split(',').filter((word) => word !== '');
for (const row of ROWS) {
  if (only.length > 0 && !only.some((word) => `${row.title} ${row.options}`.includes(word))) continue;
  const summaries = await contest(commandsOf(row), row.steps ?? Number(flags.steps));
  console.log(`| ${row.title} | ${cells(summaries).join(' | ')} |`);
}
