import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { LEASE_MS } from '../../src/lib/files/run-lock.js';
import { PROGRAM, repa } from './binary.js';
import { makeTensors } from './support.js';
import { parseLog, prepared, RUN } from './training-run.js';

const start = (cwd: string, ...args: string[]) =>
  spawn(process.execPath, [PROGRAM, 'train', ...RUN, ...args], { cwd, stdio: ['ignore', 'pipe', 'ignore'] });
const savedSteps = (cwd: string): string[] =>
  readdirSync(path.join(cwd, 'ckpt')).filter((name) => name.startsWith('step-'));

test('a folder takes one run at a time, and a killed one does not keep it', async (t) => {
  const cwd = await prepared(t);
  const first = start(cwd, '--steps', '100000', '--save-every', '1');
  await once(first.stdout, 'data');
  first.stdout.resume();
  const second = await repa(['train', ...RUN, '--steps', '4'], { cwd });
  assert.equal(second.code, 69, second.stderr);
  assert.match(second.stderr, new RegExp(`ckpt is in use by another run: process ${first.pid} on`));
  first.kill('SIGKILL');
  await once(first, 'close');
  const lock = path.join(cwd, 'ckpt/run.lock');
  const left = JSON.parse(readFileSync(lock, 'utf8'));
  const step = Math.max(...savedSteps(cwd).map((name) => Number(name.slice(5))));
  const third = await repa(['train', ...RUN, '--steps', String(step + 1)], { cwd });
  assert.equal(third.code, 0, third.stderr);
  assert.ok(!existsSync(lock));

  const again = ['train', ...RUN, '--steps', String(step + 2)];
  // The number of the killed process is another's by now: this one's.
  writeFileSync(lock, JSON.stringify({ ...left, pid: process.pid }));
  assert.equal((await repa(again, { cwd })).code, 0);
  writeFileSync(lock, JSON.stringify({ ...left, host: 'elsewhere' }));
  const other = await repa(again, { cwd });
  assert.equal(other.code, 69);
  assert.match(other.stderr, /on elsewhere[\s\S]*remove ckpt\/run\.lock/);
  // A machine that died touches its lock no more: a queued job takes the folder.
  const longAgo = new Date(Date.now() - LEASE_MS - 1000);
  utimesSync(lock, longAgo, longAgo);
  assert.equal((await repa(['train', ...RUN, '--steps', String(step + 2)], { cwd })).code, 0);
});

const skip = !existsSync('/proc/self/stat');
test('a killed run that its parent has not asked for does not keep the folder', { skip }, async (t) => {
  const cwd = await prepared(t);
  const parent = spawn('bash', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => parent.kill());
  const pid = Number((await once(parent.stdout, 'data'))[0]);
  const first = start(cwd, '--steps', '100000');
  await once(first.stdout, 'data');
  first.stdout.resume();
  const lock = path.join(cwd, 'ckpt/run.lock');
  const held = JSON.parse(readFileSync(lock, 'utf8'));
  first.kill('SIGKILL');
  await once(first, 'close');
  const [, fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
  writeFileSync(lock, JSON.stringify({ ...held, pid, started: fields.split(' ')[19] }));
  const refused = await repa(['train', ...RUN, '--steps', '1'], { cwd });
  assert.equal(refused.code, 69, refused.stderr);
  process.kill(pid, 'SIGKILL');
  const { code, stderr } = await repa(['train', ...RUN, '--steps', '1'], { cwd });
  assert.equal(code, 0, stderr);
});

test('a run whose lock was taken saves nothing more', async (t) => {
  const cwd = await prepared(t);
  const child = start(cwd, '--steps', '100000');
  await once(child.stdout, 'data');
  child.stdout.resume();
  rmSync(path.join(cwd, 'ckpt/run.lock'));
  child.kill('SIGTERM');
  const [code] = await once(child, 'close');
  assert.equal(code, 69);
  assert.deepEqual(savedSteps(cwd), []);
});

test('a full disk leaves the checkpoint before as it was, and says so', async (t) => {
  const cwd = await prepared(t);
  const full = path.join(cwd, 'full');
  mkdirSync(full);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', full], { stdio: 'ignore' });
  } catch {
    t.skip('needs the right to mount a small file system');
    return;
  }
  try {
    await fillDisk(cwd, full);
  } finally {
    execFileSync('umount', ['-l', full]);
  }
});

async function fillDisk(cwd: string, full: string): Promise<void> {
  const args = ['train', ...RUN, '--save-every', '2', '--out', 'full/ckpt'];
  const first = await repa([...args, '--steps', '2'], { cwd });
  assert.equal(first.code, 0, first.stderr);
  const { bavail, bsize } = statfsSync(full);
  writeFileSync(path.join(full, 'ballast'), Buffer.alloc(bavail * bsize - 100_000));
  const { code, stderr } = await repa([...args, '--steps', '4'], { cwd });
  assert.equal(code, 69, stderr);
  assert.match(stderr, /step 4 could not be saved in full\/ckpt: no space left[\s\S]*That of step 2 is as it was/);
  assert.deepEqual(readdirSync(path.join(full, 'ckpt')).sort(), ['log.ndjson', 'step-0000002']);
  rmSync(path.join(full, 'ballast'));
  const next = await repa([...args, '--steps', '4', '--keep', '1'], { cwd });
  assert.equal(next.code, 0, next.stderr);
  assert.match(next.stderr, /continuing full\/ckpt\/step-0000002/);
}

test('a loss that explodes ends the run with a report of the step', async (t) => {
  const cwd = await prepared(t);
  const { code, stdout, stderr } = await repa(['train', ...RUN, '--steps', '50', '--lr', '10', '--save-every', '1'], {
    cwd,
  });
  assert.equal(code, 65, stderr);
  const [, step] = /the loss of step (\d+) is [\d.e+]+, more than --loss-limit 1000: total .*, velocity/.exec(stderr)!;
  assert.equal(parseLog(stdout.toString()).length, Number(step) - 1);
  const name = `diverged-step-${step.padStart(7, '0')}.json`;
  const report = JSON.parse(readFileSync(path.join(cwd, 'ckpt', name), 'utf8'));
  assert.equal(report.images.length, 4);
  assert.ok(report.losses.total > 1000);
  for (const part of ['x_embedder', 'blocks.0', 'blocks.1', 'final_layer', 'projectors.0']) {
    assert.ok(report.gradient_norms[part] > 0, part);
  }
  assert.deepEqual([report.first_broken_gradient, report.broken_images], [null, []]);
});

test('values with which no optimiser works are refused', async (t) => {
  const cwd = await prepared(t);
  for (const [flag, value] of [
    ['--beta2', '1'],
    ['--lr', '1e39'],
    ['--weight-decay', '1e3'],
    ['--ema', '1'],
    ['--clip', '0'],
  ]) {
    const { code, stderr } = await repa(['train', ...RUN, flag, value], { cwd });
    assert.equal(code, 2, stderr);
    assert.match(stderr, new RegExp(`option '${flag} .*is invalid`));
  }
});

test('a loss that is not finite is traced to the image and the gradient', async (t) => {
  const cwd = await prepared(t);
  const keys = ['a.png', 'b.png', 'c.png'];
  const latent = { name: 'latent', dtype: 'f32', shape: [3, 16, 16] } as const;
  await makeTensors(path.join(cwd, 'latents'), keys, latent, { 'repa.latent.scale': '1' }, (values, row) => {
    if (row === 1) values[7] = Number.NaN;
  });
  const { code, stderr } = await repa(['train', ...RUN, '--lambda', '0', '--batch-size', '3', '--steps', '2'], { cwd });
  assert.equal(code, 65);
  assert.match(stderr, /the loss of step 1 is not finite: .*; the data of 'b\.png' is not finite; the first gradient/);
  const report = JSON.parse(readFileSync(path.join(cwd, 'ckpt/diverged-step-0000001.json'), 'utf8'));
  assert.deepEqual(report.broken_images, ['b.png']);
  assert.deepEqual(report.images.sort(), keys);
  assert.equal(report.losses.total, 'NaN');
  assert.equal(report.first_broken_weight, null);
});

test('SIGTERM saves a checkpoint as ^C does, and the newest that --keep says stay', async (t) => {
  const cwd = await prepared(t);
  const child = start(cwd, '--steps', '100000', '--save-every', '1', '--keep', '3');
  let steps = 0;
  child.stdout.on('data', () => {
    if (++steps === 5) child.kill('SIGTERM');
  });
  const [, signal] = await once(child, 'close');
  assert.equal(signal, 'SIGTERM');
  const last = parseLog(readFileSync(path.join(cwd, 'ckpt/log.ndjson'), 'utf8')).at(-1)!.step;
  assert.deepEqual(
    savedSteps(cwd).sort(),
    [last - 2, last - 1, last].map((step) => `step-${String(step).padStart(7, '0')}`),
  );
});
