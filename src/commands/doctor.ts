/** repa doctor: what of this machine repa can use. */

import { JSON_LINES } from '../lib/cli/shared-options.js';
import { styleOut } from '../lib/cli/terminal.js';
import { verb } from '../lib/cli/verb.js';
import type { BackendFacts, Diagnosis } from '../lib/diagnosis/diagnose.js';
import { EXIT } from '../lib/errors.js';

const description = `Says which backends compute tensors on this machine and how fast, why the others do not and how to get
them; how many threads and how much memory there are; and whether an MPI library is found for training on several machines.
Exits 1 when the backend that would be chosen does not work.`;

const examples = [
  { why: 'is everything in place?', command: 'repa doctor' },
  { why: 'on each node of a cluster', command: 'srun --ntasks-per-node 1 repa doctor --json' },
  { why: 'the speed of matrix products, for a script', command: "repa doctor --json | jq '.backends[0].gflops'" },
];

export const command = verb({
  description,
  examples,
  options: { json: JSON_LINES },
  run: async (options) => {
    const { diagnose } = await import('../lib/diagnosis/diagnose.js');
    const diagnosis = await diagnose();
    process.stdout.write(options.json ? `${JSON.stringify(diagnosis)}\n` : `${report(diagnosis).join('\n')}\n`);
    const chosen = diagnosis.backends.find(({ name }) => name === diagnosis.backend);
    if (!chosen?.works) process.exitCode = EXIT.checkFailed;
  },
});

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
const LABEL_WIDTH = 16;

/** A label and what there is to say about it; further lines are indented to the same column. */
const entry = (label: string, ...lines: (string | undefined)[]): string[] =>
  lines
    .filter((line) => line !== undefined)
    .map((line, i) => `${styleOut.bold((i === 0 ? label : '').padEnd(LABEL_WIDTH))}${line}`);

function report(found: Diagnosis): string[] {
  const { mpi, rank } = found;
  return [
    ...entry('repa', `${found.repa} on Node.js ${found.node}, ${found.platform}`),
    ...entry('processor', `${found.processor}: ${found.cores} cores, ${found.threads} threads by default`),
    ...entry('memory', `${gibibytes(found.memory_bytes)}, ${gibibytes(found.free_bytes)} free`),
    ...entry('gpu', found.gpu ? 'NVIDIA driver found' : 'no NVIDIA driver: the CPU computes'),
    ...found.backends.flatMap((backend) => describeBackend(backend, backend.name === found.backend)),
    ...found.plugins.flatMap(({ file, from }) => entry('pjrt plugin', `${file} (${from})`)),
    ...(mpi.works
      ? entry('mpi', `${styleOut.green('works')}: ${mpi.version} (${mpi.library})`)
      : entry('mpi', `${styleOut.yellow('missing')}: ${mpi.problem}`, mpi.hint)),
    ...(rank ? entry('rank', `${rank.index} of ${rank.count}`) : []),
  ];
}

function describeBackend(backend: BackendFacts, chosen: boolean): string[] {
  if (!backend.works) return entry(backend.name, `${styleOut.yellow('unavailable')}: ${backend.problem}`, backend.hint);
  const { name, version, gflops, gflops_bf16, units, devices, plugin } = backend;
  const speed = `${gflops} GFLOPS in f32 products${gflops_bf16 === undefined ? '' : `, ${gflops_bf16} in bf16${units ? ` by ${units}` : ''}`}`;
  const choice = chosen ? ' (chosen by --backend auto)' : '';
  return entry(
    name,
    `${styleOut.green('works')}: version ${version}, ${speed}${choice}`,
    plugin && `plugin ${plugin}`,
    ...(devices ?? []).map(({ kind, memory_bytes }, i) => {
      return `device ${i}: ${kind}${memory_bytes === undefined ? '' : `, ${gibibytes(memory_bytes)}`}`;
    }),
  );
}
