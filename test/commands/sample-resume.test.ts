import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { fixtureWeights, fixtureWeightsFile, writeWeights } from '../fixture-weights.js';
import { temporaryFolder } from '../support.js';
import { PROGRAM, repa } from './binary.js';

const ckpt = fixtureWeightsFile('sit');
const JOB = ['sample', '--ckpt', ckpt, '--heads', '3', '--threads', '1', '--batch-size', '2', '-q'];

/** A job of 12 latents in 6 parts that takes long enough to be killed. */
const LONG = [...JOB, '--num', '12', '--part-size', '2', '--steps', '60', '--latents', '-o', 'samples/'];

const parts = (cwd: string, folder = 'samples'): string[] =>
  existsSync(path.join(cwd, folder))
    ? readdirSync(path.join(cwd, folder)).filter((name) => name.endsWith('.arrows'))
    : [];

const contents = (cwd: string, folder: string) =>
  parts(cwd, folder).map((name) => [name, readFileSync(path.join(cwd, folder, name)).toString('base64')]);

/** Kills the job without warning, a while after it has finished `count` parts. */
async function killAfter(cwd: string, count: number, milliseconds: number): Promise<void> {
  const child = spawn(process.execPath, [PROGRAM, ...LONG], { cwd, stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('close', (_code, signal) => resolve(signal)));
  while (parts(cwd).length < count && child.exitCode === null) await sleep(5);
  await sleep(milliseconds);
  child.kill('SIGKILL');
  assert.equal(await ended, 'SIGKILL', 'it was not done yet');
}

test('a job that is killed again and again ends with the bytes of one that was not', async () => {
  const cwd = temporaryFolder();
  for (const [count, milliseconds] of [
    [0, 300],
    [1, 20],
    [2, 60],
    [4, 0],
  ]) {
    await killAfter(cwd, count, milliseconds);
    assert.ok(parts(cwd).length < 6);
  }
  const finished = parts(cwd).length;
  const last = await repa(LONG, { cwd });
  assert.equal(last.code, 0, last.stderr);
  assert.ok(finished >= 4 && parts(cwd).length === 6);
  renameSync(path.join(cwd, 'samples'), path.join(cwd, 'killed'));
  assert.deepEqual(
    readdirSync(path.join(cwd, 'killed')).filter((name) => name.endsWith('.tmp')),
    [],
    'what the killed ones left is gone',
  );
  assert.equal((await repa(LONG, { cwd })).code, 0);
  assert.deepEqual(contents(cwd, 'killed'), contents(cwd, 'samples'));
});

test('a folder is continued only with the settings that it was begun with', async () => {
  const cwd = temporaryFolder();
  const short = [...JOB, '--num', '4', '--steps', '2', '--part-size', '2', '--latents', '-o', 'samples/'];
  assert.equal((await repa(short, { cwd })).code, 0);
  rmSync(path.join(cwd, 'samples/part-00001-of-00002.arrows'));
  for (const [more, message] of [
    [['--seed', '1'], /samples\/: part-00000-of-00002\.arrows was made with other settings: .*"seed":0.*"seed":1/],
    [['--cfg', '2'], /other settings: repa\.sampler is .*"cfg":1,.*"cfg":2,/],
    [['--num', '40'], /other settings: .*"count":4.*"count":40/],
    [['--part-size', '1'], /holds parts of 2, not of 4/],
  ] as const) {
    const { code, stderr } = await repa([...short, ...more], { cwd });
    assert.equal(code, 65, stderr);
    assert.match(stderr, message);
  }
  // Other weights under the same name, and other noise.
  const own = short.map((arg) => (arg === ckpt ? 'own.safetensors' : arg.replace('samples/', 'own/')));
  const weights = fixtureWeights('sit');
  writeWeights(path.join(cwd, 'own.safetensors'), weights);
  assert.equal((await repa(own, { cwd })).code, 0);
  rmSync(path.join(cwd, 'own/part-00001-of-00002.arrows'));
  weights.get('final_layer.linear.bias')!.data[0] += 1;
  writeWeights(path.join(cwd, 'own.safetensors'), weights);
  const changed = await repa(own, { cwd });
  assert.equal(changed.code, 65, changed.stderr);
  assert.match(changed.stderr, /own\/: .* was made with other settings: repa\.model\.sha256 is/);
  const { code, stderr } = await repa(
    short.filter((arg) => arg !== '-q'),
    { cwd },
  );
  assert.equal(code, 0);
  assert.match(stderr, /samples\/: 1 of 2 parts were finished already/);
});

async function latents(input: string): Promise<Map<string, Float32Array>> {
  const rows = new Map<string, Float32Array>();
  for await (const batch of await openTensorStream(input)) {
    const values = batch.tensors.latent as Float32Array;
    const size = values.length / batch.rows;
    for (const [row, key] of batch.keys.entries()) rows.set(key, values.slice(row * size, (row + 1) * size));
  }
  return rows;
}

test('ranks of a launcher share the images of one process, with the same noise', async () => {
  const cwd = temporaryFolder();
  const job = [...JOB, '--num', '5', '--steps', '2', '--mode', 'sde', '--latents', '--batch-size', '1'];
  assert.equal((await repa([...job, '-o', 'whole'], { cwd })).code, 0);
  for (const rank of ['0', '1']) {
    const env = { OMPI_COMM_WORLD_RANK: rank, OMPI_COMM_WORLD_SIZE: '2' };
    const { code, stderr } = await repa([...job, '--part-size', '1', '-o', 'ranks/'], { cwd, env });
    assert.equal(code, 0, stderr);
  }
  assert.deepEqual(await latents(path.join(cwd, 'ranks')), await latents(path.join(cwd, 'whole')));
});

test('the noise of an image is the same for any checkpoint', async () => {
  const cwd = temporaryFolder();
  const weights = fixtureWeights('sit');
  // Without a velocity, the samples are the noise.
  for (const [name, { data }] of weights) if (name.startsWith('final_layer.linear.')) data.fill(0);
  const shallow = new Map([...weights].filter(([name]) => !name.startsWith('blocks.3.')));
  const found: Map<string, Float32Array>[] = [];
  for (const variant of [weights, shallow]) {
    writeWeights(path.join(cwd, 'still.safetensors'), variant);
    const args = ['--ckpt', 'still.safetensors', '--num', '3', '--steps', '2', '--latents', '-o', 'z'];
    const { code, stderr } = await repa([...JOB, ...args], { cwd });
    assert.equal(code, 0, stderr);
    found.push(await latents(path.join(cwd, 'z')));
  }
  assert.deepEqual(found[0], found[1]);
  const [first, second] = found[0].values();
  assert.notDeepEqual(first, second);
});

test('a sheet shows the images of finished parts too, and latents of another codec are refused', async () => {
  const cwd = temporaryFolder();
  const images = [...JOB, '--num', '3', '--steps', '2', '--part-size', '2', '-o', 'samples/'];
  const job = [...images, '--vae-weights', fixtureWeightsFile('vae')];
  const sheet = async (name: string): Promise<Buffer> => {
    const { code, stderr } = await repa([...job, '--grid', name], { cwd });
    assert.equal(code, 0, stderr);
    return readFileSync(path.join(cwd, name));
  };
  const first = await sheet('first.png');
  rmSync(path.join(cwd, 'samples/part-00001-of-00002.arrows'));
  assert.deepEqual(await sheet('second.png'), first);
  const { code, stderr } = await repa([...images, '--vae', 'pixels'], { cwd });
  assert.equal(code, 65, stderr);
  assert.match(stderr, /pixels decodes latents of 3 channels, but those of .* have 4/);
});
