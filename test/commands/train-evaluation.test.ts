import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { PROGRAM, repa, temporaryFolder } from './binary.js';
import { makeImages, makeTensors } from './support.js';
import { numbers, parseLog, RUN } from './training-run.js';

/** A folder with 40 images, their latents and features. */
async function prepared(t: TestContext): Promise<string> {
  const cwd = temporaryFolder(t);
  const keys = await makeImages(path.join(cwd, 'imgs'), 40);
  const { code, stdout } = await repa(['encode-vae', 'imgs/', '--vae', 'pixels', '--size', '16'], { cwd });
  assert.equal(code, 0);
  writeFileSync(path.join(cwd, 'latents'), stdout);
  await makeTensors(path.join(cwd, 'feats'), keys, { name: 'feature', dtype: 'f32', shape: [16, 8] });
  return cwd;
}

const HELD_OUT = ['--val-latents', 'latents', '--val-feats', 'feats', '--eval-batch-size', '9'];
const SAMPLES = ['--eval-grid', '9', '--eval-ref', 'imgs', '--eval-net', 'emoji-vit', '--eval-num', '20'].concat([
  '--eval-steps',
  '5',
]);
const MEASURED = ['--eval-every', '2', ...HELD_OUT, ...SAMPLES];

type Line = Record<string, unknown>;
const readLog = (cwd: string, out: string): Line[] =>
  parseLog(readFileSync(path.join(cwd, out, 'log.ndjson'), 'utf8')) as Line[];
const without = (lines: readonly Line[]): Line[] => numbers(lines as Record<string, number>[]);
const steps = (lines: readonly Line[]): Line[] => lines.filter((line) => !('evaluation' in line));

async function train(cwd: string, ...args: string[]): Promise<string> {
  const { code, stderr } = await repa(['train', ...RUN, ...args], { cwd });
  assert.equal(code, 0, stderr);
  return stderr;
}

async function measured(cwd: string, ...args: string[]): Promise<Line> {
  const { code, stdout, stderr } = await repa([...args, '--json', '--threads', '1'], { cwd });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout.toString().split('\n')[0]);
}

test('what is measured on the way is what the verbs measure of the checkpoint, and changes no loss', async (t) => {
  const cwd = await prepared(t);
  await train(cwd, '--steps', '4', ...MEASURED);
  await train(cwd, '--steps', '4', '--out', 'plain');
  const log = readLog(cwd, 'ckpt');
  assert.deepEqual(without(steps(log)), without(readLog(cwd, 'plain')));
  assert.deepEqual(
    log.map(({ step, evaluation }) => [step, evaluation]),
    [1, 2, 2, 2, 2, 3, 4, 4, 4, 4].map((step, i) => [
      step,
      [undefined, 'validation', 'representation', 'samples'][i % 5 === 0 ? 0 : (i % 5) - 1],
    ]),
  );
  const [validation, representation, samples] = log.slice(-3) as Record<string, number>[];

  const sampling = ['--steps', '5', '--threads', '1'];
  assert.equal((await repa(['sample', '--num', '20', ...sampling, '-o', 'samples'], { cwd })).code, 0);
  const distance = await measured(cwd, 'fid', 'samples', 'imgs', '--net', 'emoji-vit');
  assert.ok(Math.abs(samples['FD(emoji-vit)'] / (distance.value as number) - 1) < 1e-6);
  for (const fact of ['count', 'reference_count', 'image_size', 'network', 'network_sha256', 'resize']) {
    assert.equal(samples[fact], distance[fact], fact);
  }
  assert.equal((await repa(['sample', '--num', '9', ...sampling, '--grid', 'grid.png'], { cwd })).code, 0);
  assert.deepEqual(
    readFileSync(path.join(cwd, 'ckpt', String(samples.picture))),
    readFileSync(path.join(cwd, 'grid.png')),
  );
  assert.deepEqual(readdirSync(path.join(cwd, 'ckpt/samples')), ['step-00000002.png', 'step-00000004.png']);

  const hidden = ['--t', '0.5', '--null-label', '--dtype', 'f32', '--threads', '1', '-o', 'hidden'];
  assert.equal((await repa(['extract-hidden', ...hidden], { cwd })).code, 0);
  const cknna = await measured(cwd, 'cknna', 'hidden', 'feats');
  assert.ok(Math.abs(representation.cknna - (cknna.value as number)) < 1e-6);
  const probe = await measured(cwd, 'probe', '--train', 'hidden', '--metric', 'knn', '-k', '10');
  assert.equal(representation.knn_accuracy, probe.accuracy);
  assert.ok(
    Math.abs(validation.val_loss - (validation.val_velocity_loss + 0.5 * validation.val_projection_loss)) < 1e-5,
  );
  const plot = ['plot', 'ckpt', '--field', 'loss,val_loss,cknna,FD(emoji-vit)', '-o', 'curves.svg'];
  assert.equal((await repa(plot, { cwd })).code, 0);
});

test('a run that was stopped at an evaluation does what is missing, once', async (t) => {
  const cwd = await prepared(t);
  await train(cwd, '--steps', '4', ...MEASURED, '--out', 'whole');
  await train(cwd, '--steps', '2', ...MEASURED);
  const file = path.join(cwd, 'ckpt/log.ndjson');
  const lines = readFileSync(file, 'utf8').split('\n');
  writeFileSync(file, `${lines.slice(0, -3).join('\n')}\n{"step":2,"eval`); // killed while it measured
  await train(cwd, '--steps', '4', ...MEASURED);
  await train(cwd, '--steps', '4', ...MEASURED);
  assert.deepEqual(without(readLog(cwd, 'ckpt')), without(readLog(cwd, 'whole')));
});

test('a signal ends an evaluation, and the next run makes up for it', async (t) => {
  const cwd = await prepared(t);
  const long = ['--eval-every', '1', '--eval-ref', 'imgs', '--eval-net', 'emoji-vit', '--eval-num', '100000'];
  const child = spawn(process.execPath, [PROGRAM, 'train', ...RUN, '--steps', '2', ...long], {
    cwd,
    env: { ...process.env, REPA_HOME: path.join(cwd, '.repa') },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  child.stdout.once('data', () => child.kill('SIGTERM')).resume();
  const signal = await new Promise((resolve) => child.on('close', (_code, name) => resolve(name)));
  assert.equal(signal, 'SIGTERM');
  assert.deepEqual(
    readLog(cwd, 'ckpt').map(({ evaluation }) => evaluation),
    [undefined],
  );
  await train(cwd, '--steps', '2', ...long.slice(0, -1), '4', '--eval-steps', '2');
  assert.deepEqual(
    readLog(cwd, 'ckpt').map(({ step, evaluation }) => [step, evaluation]),
    [
      [1, undefined],
      [1, 'samples'],
      [2, undefined],
      [2, 'samples'],
    ],
  );
});

test('what cannot be measured is said before the first step', async (t) => {
  const cwd = await prepared(t);
  await makeTensors(
    path.join(cwd, 'other'),
    ['a', 'b'],
    { name: 'latent', dtype: 'f32', shape: [3, 8, 8] },
    {
      'repa.latent.scale': '1',
    },
  );
  const cases: [string[], number, RegExp][] = [
    [['--eval-grid', '4'], 2, /--eval-grid does nothing without --eval-every/],
    [['--eval-every', '1', '--eval-num', '9'], 2, /--eval-num does nothing without --eval-ref/],
    [['--eval-every', '1', '--eval-grid', '0'], 2, /nothing to measure/],
    [['--eval-every', '1', '--val-feats', 'feats'], 2, /--val-feats does nothing without --val-latents/],
    [['--eval-every', '1', '--eval-grid', '0', '--eval-cfg', '2', '--val-latents', 'latents'], 2, /--eval-cfg does/],
    [['--eval-every', '1', '--eval-ref', 'nowhere', '--eval-net', 'emoji-vit'], 66, /nowhere: no such file/],
    [['--eval-every', '1', '--eval-mode', 'ddpm'], 2, /ddpm is not for a SiT/],
    [['--eval-every', '1', '--val-latents', 'other'], 2, /--val-latents are \[3, 8, 8\]/],
  ];
  for (const [args, expected, message] of cases) {
    const { code, stdout, stderr } = await repa(['train', ...RUN, '--steps', '1', ...args], { cwd });
    assert.equal(code, expected, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, message);
    assert.equal(stdout.length, 0);
  }
});
