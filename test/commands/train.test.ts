import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fillUniform, PURPOSE } from '../../src/lib/numbers/random.js';
import { PROGRAM, repa, shell } from './binary.js';
import { makeTensors } from './support.js';
import { type Entry, numbers, parseLog, prepared, RUN } from './training-run.js';

const fileBytes = (cwd: string, out: string, step: number, name: string): Buffer =>
  readFileSync(path.join(cwd, out, `step-${String(step).padStart(7, '0')}`, name));

test('training lowers both losses, logs them, and leaves a complete checkpoint', async (t) => {
  const cwd = await prepared(t);
  const { code, stdout, stderr } = await repa(['train', ...RUN, '--steps', '40'], { cwd });
  assert.equal(code, 0, stderr);
  const log = parseLog(stdout.toString());
  assert.equal(log.length, 40);
  assert.deepEqual(parseLog(readFileSync(path.join(cwd, 'ckpt/log.ndjson'), 'utf8')), log);
  const mean = (entries: Entry[], name: string) =>
    entries.reduce((sum, entry) => sum + entry[name], 0) / entries.length;
  for (const name of ['velocity_loss', 'projection_loss']) {
    assert.ok(mean(log.slice(-8), name) < mean(log.slice(0, 8), name), name);
  }
  for (const { loss, velocity_loss, projection_loss } of log) {
    assert.ok(Math.abs(loss - (velocity_loss + 0.5 * projection_loss)) < 1e-5);
  }
  assert.deepEqual(readdirSync(path.join(cwd, 'ckpt/step-0000040')).sort(), [
    'SHA256SUMS',
    'config.json',
    'ema.safetensors',
    'model.safetensors',
    'optimizer.safetensors',
  ]);
});

test('a resumed run is bit for bit the uninterrupted one', async (t) => {
  const cwd = await prepared(t);
  const whole = await repa(['train', ...RUN, '--steps', '12', '--out', 'whole'], { cwd });
  assert.equal(whole.code, 0, whole.stderr);
  for (const steps of ['5', '9', '12']) {
    const part = await repa(['train', ...RUN, '--steps', steps, '--out', 'parts'], { cwd });
    assert.equal(part.code, 0, part.stderr);
  }
  assert.deepEqual(
    numbers(parseLog(readFileSync(path.join(cwd, 'parts/log.ndjson'), 'utf8'))),
    numbers(parseLog(whole.stdout.toString())),
  );
  for (const name of ['model', 'ema', 'optimizer']) {
    const file = `${name}.safetensors`;
    assert.deepEqual(fileBytes(cwd, 'parts', 12, file), fileBytes(cwd, 'whole', 12, file), name);
  }
});

test('micro-batches give the gradients of the whole batch', async (t) => {
  const cwd = await prepared(t);
  const logs = [];
  for (const [out, extra] of [
    ['whole', []],
    ['split', ['--micro-batch', '2']],
  ] as const) {
    const { code, stdout, stderr } = await repa(['train', ...RUN, '--steps', '6', '--out', out, ...extra], { cwd });
    assert.equal(code, 0, stderr);
    logs.push(parseLog(stdout.toString()));
  }
  for (const [i, entry] of logs[0].entries()) {
    for (const name of ['loss', 'gradient_norm']) {
      const relative = Math.abs(entry[name] - logs[1][i][name]) / Math.abs(entry[name]);
      assert.ok(relative < 1e-4, `step ${entry.step}: ${name} differs by ${relative}`);
    }
  }
});

test('a run that is killed ten times at random moments is bit for bit the uninterrupted one', async (t) => {
  const cwd = await prepared(t);
  const args = ['train', ...RUN, '--steps', '300'];
  const whole = await repa([...args, '--out', 'whole'], { cwd });
  assert.equal(whole.code, 0, whole.stderr);
  const often = [...args, '--save-every', '1', '--out', 'killed']; // most of the time goes into saving: so do most kills
  const moments = new Float32Array(10);
  fillUniform(moments, 7, PURPOSE.noise, 0);
  for (const moment of moments) {
    const child = spawn(process.execPath, [PROGRAM, ...often], { cwd, stdio: ['ignore', 'pipe', 'ignore'] });
    child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), 200 * moment)).resume();
    await new Promise((resolve) => child.on('close', resolve));
  }
  // However far the killed ones came, these two steps are the last that are saved.
  const last = await repa([...args, '--save-every', '299', '--out', 'killed'], { cwd });
  assert.equal(last.code, 0, last.stderr);
  assert.deepEqual(
    numbers(parseLog(readFileSync(path.join(cwd, 'killed/log.ndjson'), 'utf8'))),
    numbers(parseLog(whole.stdout.toString())),
  );
  for (const name of ['model', 'ema', 'optimizer']) {
    const file = `${name}.safetensors`;
    assert.deepEqual(fileBytes(cwd, 'killed', 300, file), fileBytes(cwd, 'whole', 300, file), name);
  }
  const names = readdirSync(path.join(cwd, 'killed')).sort(); // --keep 2, and nothing that a killed run left
  assert.deepEqual(names, ['log.ndjson', 'step-0000299', 'step-0000300']);
});

test('a checkpoint that does not fit leaves the one before as it was', async (t) => {
  const cwd = await prepared(t);
  const run = `train ${RUN.join(' ')}`;
  assert.equal((await shell(`repa ${run} --steps 2`, { cwd })).code, 0);
  const before = fileBytes(cwd, 'ckpt', 2, 'optimizer.safetensors');
  const full = await shell(`ulimit -f 200; repa ${run} --steps 4`, { cwd }); // blocks of 1024 bytes
  assert.equal(full.code, 69, full.stderr);
  assert.match(full.stderr, /ulimit -f/);
  assert.deepEqual(readdirSync(path.join(cwd, 'ckpt')).sort(), ['log.ndjson', 'step-0000002']);
  assert.deepEqual(fileBytes(cwd, 'ckpt', 2, 'optimizer.safetensors'), before);
  const freed = await shell(`repa ${run} --steps 4`, { cwd });
  assert.equal(freed.code, 0, freed.stderr);
  assert.match(freed.stderr, /continuing ckpt\/step-0000002/);
});

test('the first SIGINT saves a checkpoint and dies of the signal', async (t) => {
  const cwd = await prepared(t);
  const child = spawn(process.execPath, [PROGRAM, 'train', ...RUN, '--steps', '100000'], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.once('data', () => child.kill('SIGINT'));
  const signal = await new Promise((resolve) => child.on('close', (_code, name) => resolve(name)));
  assert.equal(signal, 'SIGINT');
  const steps = readdirSync(path.join(cwd, 'ckpt')).filter((name) => name.startsWith('step-'));
  assert.equal(steps.length, 1);
});

test('other settings do not silently continue a run', async (t) => {
  const cwd = await prepared(t);
  assert.equal((await repa(['train', ...RUN, '--steps', '2'], { cwd })).code, 0);
  const changed = await repa(['train', ...RUN, '--steps', '4', '--lambda', '1'], { cwd });
  assert.equal(changed.code, 2);
  assert.match(changed.stderr, /methods\.repa\.lambda \(0\.5, now 1\)[\s\S]*--resume/);
  assert.equal((await repa(['train', ...RUN, '--steps', '4', '--lambda', '1', '--resume'], { cwd })).code, 0);
  const wider = await repa(['train', ...RUN, '--steps', '6', '--lambda', '1', '--width', '64', '--resume'], { cwd });
  assert.equal(wider.code, 2);
  assert.match(wider.stderr, /model\.hiddenSize \(32, now 64\)/);
});

test('data that does not fit is named', async (t) => {
  const cwd = await prepared(t);
  const keys = ['class0/000.png', 'class1/001.png'];
  const cases: [string, () => Promise<void>, number, RegExp][] = [
    [
      'features of other images',
      () => makeTensors(path.join(cwd, 'feats'), keys, { name: 'feature', dtype: 'f32', shape: [16, 8] }),
      65,
      /8 of the 10 images[\s\S]*extract-dino/,
    ],
    [
      'latents for features',
      async () => writeFileSync(path.join(cwd, 'feats'), readFileSync(path.join(cwd, 'latents'))),
      65,
      /has no features, but latent/,
    ],
    [
      'a truncated stream',
      async () => writeFileSync(path.join(cwd, 'feats'), readFileSync(path.join(cwd, 'latents')).subarray(0, -9)),
      65,
      /feats.*(truncated|end)/,
    ],
    ['nothing', async () => rmSync(path.join(cwd, 'feats')), 66, /feats/],
  ];
  for (const [what, damage, expected, message] of cases) {
    await damage();
    const { code, stderr } = await repa(['train', ...RUN, '--steps', '1'], { cwd });
    assert.equal(code, expected, `${what}: ${stderr}`);
    assert.match(stderr, message, what);
  }
  await makeTensors(path.join(cwd, 'unscaled'), keys, { name: 'latent', dtype: 'f32', shape: [3, 16, 16] });
  const unscaled = await repa(['train', ...RUN, '--latents', 'unscaled', '--lambda', '0', '--steps', '1'], { cwd });
  assert.equal(unscaled.code, 65);
  assert.match(unscaled.stderr, /repa\.latent\.scale/);
});

test('features on another grid than the tokens are refused', async (t) => {
  const cwd = await prepared(t);
  const keys = Array.from({ length: 10 }, (_, i) => `class${i % 2}/${String(i).padStart(3, '0')}.png`);
  await makeTensors(path.join(cwd, 'feats'), keys, { name: 'feature', dtype: 'f32', shape: [64, 8] });
  const { code, stderr } = await repa(['train', ...RUN, '--steps', '1'], { cwd });
  assert.equal(code, 2);
  assert.match(stderr, /64 tokens an image, the model has 16/);
});

test('a loss that explodes stops training at the step that shows it', async (t) => {
  const cwd = await prepared(t);
  const { code, stderr } = await repa(['train', ...RUN, '--steps', '50', '--lr', '10'], { cwd });
  assert.equal(code, 65);
  assert.match(stderr, /step \d+/);
});
