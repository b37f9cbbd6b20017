import assert from 'node:assert/strict';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { encodeModel } from '../../src/lib/engine/onnx/model.js';
import { temporaryFolder } from '../support.js';
import { repa, shell } from './binary.js';
import { distance, near, run, sets } from './image-sets.js';

const cached = (cwd: string): string[] =>
  readdirSync(path.join(cwd, '.repa/cache'))
    .filter((name) => name.startsWith('reference-'))
    .map((name) => path.join(cwd, '.repa/cache', name));

const SUITE = ['--metrics', 'fid,pr,kid,fd-infinity', '--json'];

test('a reference is measured once for all metrics, whatever its name', async (t) => {
  const cwd = await sets(t);
  const values = async (...args: string[]) => {
    const { results } = await run(cwd, 'fid', 'samples', ...args, ...SUITE);
    return results.map(({ value }) => value);
  };
  const fresh = await values('reference', '--no-cache');
  assert.deepEqual(await values('reference'), fresh);
  const [file] = cached(cwd);
  cpSync(path.join(cwd, 'reference'), path.join(cwd, 'copy'), { recursive: true });
  assert.deepEqual(await values('copy'), fresh);
  assert.deepEqual(cached(cwd), [file], 'known by its content');

  // Whether it is used shows when it holds something else: the samples themselves.
  await values('samples');
  const [ofSamples] = cached(cwd).filter((name) => name !== file);
  copyFileSync(ofSamples, file);
  const [fd, precision, recall] = await values('reference');
  assert.ok(fd < 1e-6 && precision === 1 && recall === 1, `${fd} ${precision} ${recall}`);
  assert.deepEqual(await values('reference', '--no-cache'), fresh);

  truncateSync(file, 100);
  assert.deepEqual(await values('reference'), fresh, 'a damaged file is made again');
});

test('other content is noticed behind the same name, size and time', async (t) => {
  const cwd = await sets(t);
  const image = path.join(cwd, 'reference/class0/000.png');
  const write = (background: string) =>
    sharp({ create: { width: 32, height: 32, channels: 3, background } })
      .png({ compressionLevel: 0 }) // as large for any picture
      .toFile(image);
  await write('#102030');
  utimesSync(image, 1e9, 1e9);
  const { size, mtimeMs } = statSync(image);
  const before = await distance(cwd, 'samples', 'reference');
  await write('#d0c0b0');
  utimesSync(image, 1e9, 1e9);
  const now = statSync(image);
  assert.deepEqual([now.size, now.mtimeMs], [size, mtimeMs]);
  const after = await distance(cwd, 'samples', 'reference');
  assert.ok(!near(after, before));
  assert.ok(near(after, await distance(cwd, 'samples', 'reference', '--no-cache')));
});

test('streams and archives of images are references that are kept as well', async (t) => {
  const cwd = await sets(t);
  await run(cwd, 'encode-vae', 'reference', '--vae', 'pixels', '--size', '32', '-o', 'latents');
  await run(cwd, 'decode-vae', 'latents', '-o', 'images');
  await run(cwd, 'export', 'images', '-o', 'images.npz');
  const fresh = await distance(cwd, 'samples', 'images', '--no-cache');
  for (const reference of ['images', 'images.npz']) {
    assert.ok(near(await distance(cwd, 'samples', reference), fresh));
    assert.ok(near(await distance(cwd, 'samples', reference), fresh));
  }
  const { stdout } = await shell('repa fid samples <(cat images) --json', { cwd });
  assert.ok(near(JSON.parse(stdout.toString()).value, fresh), 'what can be read once is not kept');
  assert.equal(cached(cwd).length, 2);
});

test('processes that measure one reference at once all get its number, and leave one file', async (t) => {
  const cwd = await sets(t);
  const fresh = await distance(cwd, 'samples', 'reference', '--no-cache');
  const values = await Promise.all([1, 2, 3].map(() => distance(cwd, 'samples', 'reference')));
  assert.ok(values.every((value) => near(value, fresh)));
  assert.equal(cached(cwd).length, 1);
  assert.deepEqual(
    readdirSync(path.join(cwd, '.repa/cache')).filter((name) => name.endsWith('.tmp')),
    [],
  );
});

test('a cache that cannot be written costs no number', async (t) => {
  const cwd = await sets(t);
  mkdirSync(path.join(cwd, '.repa'));
  writeFileSync(path.join(cwd, '.repa/cache'), 'no folder');
  const { code, stdout, stderr } = await repa(['fid', 'samples', 'reference', '--json'], { cwd });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /could not be cached/);
  rmSync(path.join(cwd, '.repa/cache'));
  assert.ok(near(JSON.parse(stdout.toString()).value, await distance(cwd, 'samples', 'reference')));
});

test('what is kept of a network is of its output and its normalisation', async (t) => {
  const cwd = await sets(t);
  const node = (type: string, input: string, output: string, attributes = {}) => {
    return { type, domain: '', attributes, inputs: [input], outputs: [output] };
  };
  const maps = (name: string) => ({ name, dtype: 'float32' as const, shape: [-1, 3, 8, 8] });
  const model = encodeModel({
    nodes: [
      node('AveragePool', 'x', 'early', { kernel_shape: [4, 4], strides: [4, 4] }),
      node('Tanh', 'early', 'late'),
    ],
    inputs: [{ name: 'x', dtype: 'float32', shape: [-1, 3, 32, 32] }],
    outputs: [maps('early'), maps('late')],
    initializers: [],
  });
  writeFileSync(path.join(cwd, 'tiny.onnx'), model);
  const measured = async (...args: string[]): Promise<number> => {
    const { results } = await run(cwd, 'fid', 'samples', 'reference', '--net', 'tiny.onnx', ...args, '--json');
    assert.equal(results[0].preprocess.output, args[1], 'the number says of what it is');
    assert.equal(results[0].preprocess.normalise, args.includes('signed') ? 'signed' : 'imagenet');
    return results[0].value;
  };
  const ways = [
    ['--output', 'early'],
    ['--output', 'late'],
    ['--output', 'late', '--normalise', 'signed'],
  ];
  const kept: number[] = [];
  for (const way of ways) kept.push(await measured(...way));
  for (const [i, way] of ways.entries()) assert.ok(near(kept[i], await measured(...way, '--no-cache')), way.join(' '));
  assert.equal(cached(cwd).length, ways.length);
  await run(cwd, 'fid', 'reference', '--net', 'tiny.onnx', ...ways[0], '--save-stats', 'early.npz');
  const other = await repa(['fid', 'samples', 'early.npz', '--net', 'tiny.onnx', ...ways[1]], { cwd });
  assert.equal(other.code, 65, other.stderr);
  assert.match(other.stderr, /early\.npz: statistics of features whose output is "early", not "late"/);
});

test('a metric that is none is refused before any weights are looked at', async () => {
  const { code, stderr } = await repa(['fid', 'samples', '--ref', 'others', '--metrics', 'fid,constructor'], {
    cwd: temporaryFolder(),
  });
  assert.equal(code, 2, stderr);
  assert.match(stderr, /there is no metric 'constructor'/);
});
