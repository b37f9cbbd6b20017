/** `repa train` under a real mpirun: these tests need an MPI installation, and run by `npm run test:mpi`. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { openSafetensors } from '../../src/lib/formats/safetensors.js';
import { sizeOf } from '../../src/lib/numbers/typed-array.js';
import { atomicFileSink } from '../../src/lib/stream/sink.js';
import { TensorWriter } from '../../src/lib/stream/writer.js';
import { type Outcome, PROGRAM, repa, shell, temporaryFolder } from '../commands/binary.js';
import { makeImages, makeTensors } from '../commands/support.js';

const MODEL = ['--model', 'SiT-S/4', '--depth', '2', '--width', '32', '--projector-dim', '16', '--align-depth', '1'];
const RUN = [...MODEL, '--batch-size', '4', '--lr', '1e-3', '--log-every', '1', '--threads', '1'];
/** Open MPI refuses root and more ranks than cores unless told otherwise; other launchers do not read these. */
const LAUNCHER_ENVIRONMENT = {
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
  OMPI_MCA_rmaps_base_oversubscribe: '1',
  PRTE_MCA_rmaps_default_mapping_policy: ':oversubscribe',
};

/** Runs one program per rank: `commands[r]` are the arguments of rank r, which leaves its process id in `pid.r`. */
function mpirun(cwd: string, commands: readonly (readonly string[])[]): Promise<Outcome> {
  writeFileSync(path.join(cwd, 'rank.sh'), `echo $$ > pid.$1; shift; exec '${process.execPath}' '${PROGRAM}' "$@"`);
  const programs = commands.map((args, rank) => `-n 1 bash rank.sh ${rank} ${args.join(' ')}`);
  return shell(`timeout 60 mpirun ${programs.join(' : ')}`, { cwd, env: LAUNCHER_ENVIRONMENT });
}

/** Sends a signal to rank 1 as soon as the run has left `file`, and waits for the end of all. */
async function signalled(cwd: string, run: Promise<Outcome>, file: string, signal: NodeJS.Signals): Promise<Outcome> {
  let over = false;
  const finished = run.finally(() => {
    over = true;
  });
  while (!existsSync(path.join(cwd, file)) && !over) await pause(20);
  const pid = Number(readFileSync(path.join(cwd, 'pid.1'), 'utf8'));
  assert.ok(pid > 1);
  process.kill(pid, signal);
  return finished;
}

const onTwoRanks = (cwd: string, args: readonly string[]): Promise<Outcome> => mpirun(cwd, [args, args]);

const LATENT = { name: 'latent', dtype: 'f32', shape: [3, 16, 16] } as const;
const SCALE = { 'repa.latent.scale': '1' };

/** A folder with latents and features of some images. */
async function prepared(t: TestContext, images = 10): Promise<string> {
  const cwd = temporaryFolder(t);
  const keys = Array.from({ length: images }, (_, i) => `${i}.png`);
  await makeTensors(path.join(cwd, 'latents'), keys, LATENT, SCALE);
  await makeTensors(path.join(cwd, 'feats'), keys, { name: 'feature', dtype: 'f32', shape: [16, 8] });
  return cwd;
}

type Entry = Record<string, number>;
const readLog = (cwd: string, out: string): Entry[] =>
  readFileSync(path.join(cwd, out, 'log.ndjson'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

function assertSameNumbers(actual: Entry[], expected: Entry[], tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (const [i, entry] of actual.entries()) {
    for (const name of ['step', 'loss', 'velocity_loss', 'projection_loss', 'gradient_norm', 'learning_rate']) {
      const apart = Math.abs(entry[name] - expected[i][name]);
      assert.ok(
        apart <= tolerance * Math.max(Math.abs(expected[i][name]), 0.1),
        `step ${entry.step}: ${name} ${entry[name]}, expected ${expected[i][name]}`,
      );
    }
  }
}

const once = (text: string, pattern: RegExp): void =>
  assert.equal(text.match(new RegExp(pattern, 'g'))?.length, 1, `${pattern} in ${text}`);

test('two ranks give the numbers of one rank with the same global batch', async (t) => {
  const cwd = await prepared(t);
  const args = ['train', ...RUN, '--steps', '8'];
  const alone = await repa([...args, '--out', 'alone'], { cwd });
  assert.equal(alone.code, 0, alone.stderr);
  const expected = readLog(cwd, 'alone');
  for (const extra of [[], ['--micro-batch', '1']]) {
    const out = `ranks${extra.length}`;
    const { code, stdout, stderr } = await onTwoRanks(cwd, [...args, '--out', out, ...extra]);
    assert.equal(code, 0, stderr);
    assertSameNumbers(readLog(cwd, out), expected, 1e-5);
    assert.equal(stdout.toString().trim().split('\n').length, 8, 'only the first rank logs');
    for (const part of ['model', 'ema']) {
      const [ours, theirs] = [out, 'alone'].map((run) =>
        openSafetensors(path.join(cwd, run, `step-0000008/${part}.safetensors`)),
      );
      for (const name of theirs.names) {
        const [a, b] = [ours.read(name).data as Float32Array, theirs.read(name).data as Float32Array];
        const apart = a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
        assert.ok(apart < 1e-4, `${part}: ${name} differs by ${apart}`); // eight steps of 1e-3
      }
    }
  }
});

test('a run continues on another number of ranks', async (t) => {
  const cwd = await prepared(t);
  const args = ['train', ...RUN, '--save-every', '2'];
  assert.equal((await repa([...args, '--steps', '6', '--out', 'alone'], { cwd })).code, 0);
  assert.equal((await repa([...args, '--steps', '2'], { cwd })).code, 0);
  const { code, stderr } = await onTwoRanks(cwd, [...args, '--steps', '6']);
  assert.equal(code, 0, stderr);
  once(stderr, /continuing/);
  assertSameNumbers(readLog(cwd, 'ckpt'), readLog(cwd, 'alone'), 1e-5);
});

test('two ranks share the samples of an evaluation, and find the distance of one', async (t) => {
  const cwd = await prepared(t);
  await makeImages(path.join(cwd, 'imgs'), 20);
  const encoded = await repa(['encode-vae', 'imgs', '--vae', 'pixels', '--size', '16', '-o', 'encoded'], { cwd });
  assert.equal(encoded.code, 0, encoded.stderr);
  const measured = ['--eval-every', '2', '--eval-ref', 'imgs', '--eval-net', 'emoji-vit', '--eval-num', '9'];
  const args = [
    'train',
    ...RUN,
    '--latents',
    'encoded',
    '--lambda',
    '0',
    '--val-latents',
    'encoded',
    '--eval-steps',
    '2',
  ];
  const run = [...args, ...measured, '--eval-batch-size', '3', '--steps', '4'];
  const alone = await repa([...run, '--out', 'alone'], { cwd });
  assert.equal(alone.code, 0, alone.stderr);
  const shared = await onTwoRanks(cwd, run);
  assert.equal(shared.code, 0, shared.stderr);
  const [ours, theirs] = ['ckpt', 'alone'].map((out) => readLog(cwd, out));
  assert.deepEqual(
    ours.map(({ step, evaluation }) => [step, evaluation]),
    theirs.map(({ step, evaluation }) => [step, evaluation]),
  );
  const field = 'FD(emoji-vit)';
  const distances = (log: Entry[]): number[] => log.filter((entry) => field in entry).map((entry) => entry[field]);
  assert.equal(distances(ours).length, 2);
  for (const [i, distance] of distances(ours).entries())
    assert.ok(Math.abs(distance / distances(theirs)[i] - 1) < 1e-3);
});

test('a signal to any rank stops all after the same step, with a checkpoint', async (t) => {
  const cwd = await prepared(t);
  const args = ['train', ...RUN, '--steps', '100000'];
  const { code } = await signalled(cwd, onTwoRanks(cwd, args), 'ckpt/log.ndjson', 'SIGINT');
  assert.notEqual(code, 0);
  const steps = readdirSync(path.join(cwd, 'ckpt')).filter((name) => name.startsWith('step-'));
  assert.equal(steps.length, 1);
  assert.equal(Number(steps[0].slice(5)), readLog(cwd, 'ckpt').at(-1)?.step);
});

test('a rank that fails ends all and says which it was', async (t) => {
  const cwd = await prepared(t);
  const args = ['train', ...RUN, '--steps', '100000'];
  const { code, stderr } = await mpirun(cwd, [args, [...args, '--latents', 'nowhere']]);
  assert.equal(code, 66, stderr);
  once(stderr, /repa train \(rank 1\): .*nowhere/);
});

test('a rank that is killed ends all, and a rerun continues', async (t) => {
  const cwd = await prepared(t);
  const args = ['train', ...RUN, '--save-every', '2'];
  const run = onTwoRanks(cwd, [...args, '--steps', '100000']);
  assert.notEqual((await signalled(cwd, run, 'ckpt/step-0000004', 'SIGKILL')).code, 0);
  const saved = Math.max(
    ...readdirSync(path.join(cwd, 'ckpt')).map((name) => Number(/^step-(\d+)$/.exec(name)?.[1] ?? 0)),
  );
  const next = await onTwoRanks(cwd, [...args, '--steps', String(saved + 3)]);
  assert.equal(next.code, 0, next.stderr);
  assert.deepEqual(
    readLog(cwd, 'ckpt').map(({ step }) => step),
    Array.from({ length: saved + 3 }, (_, i) => i + 1),
  );
});

test('ranks with other settings are found out before the first step', async (t) => {
  const cwd = await prepared(t);
  const args = ['train', ...RUN, '--steps', '4'];
  const { code, stderr } = await mpirun(cwd, [args, [...args, '--seed', '1']]);
  assert.equal(code, 65, stderr);
  once(stderr, /the ranks disagree at step 0/);
});

test('a loss that is not finite on one rank stops all at that step, with one message', async (t) => {
  const cwd = await prepared(t, 2);
  const writer = new TensorWriter(await atomicFileSink(path.join(cwd, 'latents')), {
    columns: [LATENT],
    metadata: SCALE,
  });
  for (const [key, value] of [
    ['0.png', 1],
    ['1.png', Number.NaN],
  ] as const) {
    await writer.append(key, 0, { latent: new Float32Array(sizeOf(LATENT.shape)).fill(value) });
  }
  await writer.end();
  const { code, stderr } = await onTwoRanks(cwd, ['train', ...RUN, '--batch-size', '2', '--steps', '4']);
  assert.equal(code, 65, stderr);
  once(stderr, /step 1 is not finite/);
});

test('a batch that cannot be divided is refused once', async (t) => {
  const cwd = await prepared(t);
  const odd = await onTwoRanks(cwd, ['train', ...RUN, '--batch-size', '5', '--steps', '4']);
  assert.equal(odd.code, 2, odd.stderr);
  once(odd.stderr, /--batch-size 5 cannot be divided among 2 ranks/);
});

test('a launcher and a library that do not belong together are found out', async (t) => {
  const cwd = await prepared(t);
  const env = { SLURM_PROCID: '0', SLURM_STEP_NUM_TASKS: '2' }; // as srun without --mpi
  const { code, stderr } = await repa(['train', ...RUN, '--steps', '1'], { cwd, env });
  assert.equal(code, 69, stderr);
  assert.match(stderr, /started 2 processes, but .* sees only itself[\s\S]*--mpi=pmix/);
});
