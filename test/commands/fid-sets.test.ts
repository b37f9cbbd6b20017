import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import sharp, { type Sharp } from 'sharp';
import type { HostTensor } from '../../src/lib/formats/host-tensor.js';
import { openNpz, writeNpz } from '../../src/lib/formats/npz.js';
import { openSafetensors, writeSafetensors } from '../../src/lib/formats/safetensors.js';
import { findWeights } from '../../src/lib/hub/locate.js';
import { listImages } from '../../src/lib/images/list.js';
import { readOrigin, readStatistics, writeStatistics } from '../../src/lib/metrics/statistics-file.js';
import { repa } from './binary.js';
import { distance, near, run, sets } from './image-sets.js';
import { makeImages } from './support.js';

test('statistics of parts merge to those of the whole, and other statistics are refused', async (t) => {
  const cwd = await sets(t);
  for (const index of [0, 1, 2]) {
    await run(cwd, 'fid', 'reference', '--shard', `${index}/3`, '--save-stats', `part-${index}.npz`);
  }
  const { stderr } = await run(cwd, 'merge-stats', 'part-2.npz', 'part-0.npz', 'part-1.npz', '-o', 'ref.npz');
  assert.match(stderr, /ref\.npz: statistics of 12 images/);
  const whole = await distance(cwd, 'samples', 'reference');
  assert.ok(near(await distance(cwd, 'samples', 'ref.npz'), whole));
  assert.ok(!near(await distance(cwd, 'samples', 'part-0.npz'), whole));

  await run(cwd, 'fid', 'reference', '--size', '16', '--save-stats', 'small.npz');
  const cases: [string[], number, RegExp][] = [
    [['merge-stats', 'part-0.npz', 'small.npz', '-o', 'x.npz'], 65, /small\.npz cannot .* image_size is 16, not 32/],
    [['merge-stats', 'part-0.npz', 'missing.npz', '-o', 'x.npz'], 66, /missing\.npz/],
    [['fid', 'samples', 'reference', '--shard', '0/2'], 2, /--shard .*[\s\S]*--save-stats/],
  ];
  for (const [args, expected, message] of cases) {
    const outcome = await repa(args, { cwd });
    assert.equal(outcome.code, expected, outcome.stderr);
    assert.match(outcome.stderr, message);
  }
  const { stderr: warned } = await run(cwd, 'fid', 'samples', 'small.npz');
  assert.match(warned, /reference is of images of 16x16 pixels, the samples have 32x32/);
});

test("an .npz of images and statistics, as ADM's references are", async (t) => {
  const cwd = await sets(t);
  await makeImages(path.join(cwd, 'reference'), 40, { side: 32, classes: 7 });
  await run(cwd, 'fid', 'reference', '--save-stats', 'ref.npz');
  const archive = openNpz(path.join(cwd, 'ref.npz'));
  const statistics = ['mu', 'sigma'].map((name) => [name, archive.read(name)] as const);
  archive.close();
  const images: number[] = [];
  for (const { path: file } of listImages(path.join(cwd, 'reference'))) {
    images.push(...(await sharp(file).raw().toBuffer()));
  }
  const data = Uint8Array.from(images);
  await writeNpz(path.join(cwd, 'images.npz'), [['arr_0', { shape: [40, 32, 32, 3], dtype: 'u8', data }]]);
  await writeNpz(path.join(cwd, 'adm.npz'), [
    ['arr_0', { shape: [10, 32, 32, 3], dtype: 'u8', data: data.subarray(0, 10 * 32 * 32 * 3) }],
    ...statistics,
  ]);
  const whole = await distance(cwd, 'samples', 'reference');
  assert.ok(near(await distance(cwd, 'samples', 'images.npz'), whole));
  const { results } = await run(cwd, 'fid', 'samples', 'adm.npz', '--metrics', 'fid,pr', '--json');
  assert.ok(near(results[0].value, whole));
  // How many images the statistics are of, such files do not say.
  assert.deepEqual(
    results.map(({ reference_count }) => reference_count),
    [null, 10, 10],
  );
  const { code, stdout } = await repa(['info', 'ref.npz', '--json'], { cwd });
  assert.equal(code, 0);
  const facts = JSON.parse(stdout.toString());
  assert.deepEqual([facts.holds, facts.images, facts.network], ['feature statistics', 40, 'emoji-vit']);
  assert.deepEqual([facts.features, facts.image_size], [['pooled: 128'], 32]);
});

test('statistics of another network or another resize are refused by name', async (t) => {
  const cwd = await sets(t);
  await run(cwd, 'fid', 'reference', '--save-stats', 'ref.npz');
  const archive = openNpz(path.join(cwd, 'ref.npz'));
  const [pooled, origin] = [readStatistics(archive, 'ref.npz', 'pooled'), readOrigin(archive, 'ref.npz')!];
  archive.close();
  assert.equal(origin.network, 'emoji-vit');
  const refused = async (change: Partial<typeof origin>, message: RegExp) => {
    await writeStatistics(path.join(cwd, 'other.npz'), { pooled }, { ...origin, ...change });
    const { code, stderr } = await repa(['fid', 'samples', 'other.npz'], { cwd });
    assert.equal(code, 65);
    assert.match(stderr, message);
  };
  await refused(
    { network: 'dinov2-vit-l', network_sha256: 'ab'.repeat(32) },
    /features of dinov2-vit-l \(SHA-256 abababab\.\.\.\), not of emoji-vit/,
  );
  await refused({ resize: 'clean' }, /resized as 'clean', not 'adm crop to/);
});

test('images of other sizes: named among the samples, cropped in the reference', async (t) => {
  const cwd = await sets(t);
  const blank = (width: number, height: number) =>
    sharp({ create: { width, height, channels: 3, background: '#345' } }).png();
  await blank(48, 40).toFile(path.join(cwd, 'samples/class1/100.png'));
  const refused = await repa(['fid', 'samples', 'reference'], { cwd });
  assert.equal(refused.code, 65);
  assert.match(refused.stderr, /'class1\/100\.png' is 48x40, others are 32x32[\s\S]*--size N/);
  assert.equal((await run(cwd, 'fid', 'samples', 'reference', '--size', '32', '--json')).results[0].count, 13);
  const { results, stderr } = await run(cwd, 'fid', 'reference', 'samples', '--json');
  assert.equal(results[0].reference_count, 13);
  const warning = /one image of the reference had another size, and were cropped and resized to 32x32/;
  assert.match(stderr, warning);
  assert.match((await run(cwd, 'fid', 'reference', 'samples', '--json')).stderr, warning, 'of cached statistics too');
  await blank(48, 40).toFile(path.join(cwd, 'samples/class0/000.png'));
  const oblong = await repa(['fid', 'samples', 'reference'], { cwd });
  assert.match(oblong.stderr, /'class0\/000\.png' is 48x40, which is no square/);
});

test('greyscale is taken as colour, alpha is dropped', async (t) => {
  const cwd = await sets(t);
  const raw = (channels: 1 | 3) => ({ raw: { width: 32, height: 32, channels } });
  for (const name of ['grey', 'colour', 'alpha']) mkdirSync(path.join(cwd, name));
  for (const key of await makeImages(path.join(cwd, 'originals'), 12, { side: 32 })) {
    const original = path.join(cwd, 'originals', key);
    const write = (image: Sharp, folder: string) => image.png().toFile(path.join(cwd, folder, path.basename(key)));
    const values = await sharp(original).greyscale().raw().toBuffer();
    const { channels } = await write(sharp(values, raw(1)).toColourspace('b-w'), 'grey');
    assert.equal(channels, 1);
    await write(sharp(Buffer.from([...values].flatMap((value) => [value, value, value])), raw(3)), 'colour');
    await write(sharp(original).ensureAlpha(0.3), 'alpha');
  }
  assert.ok((await distance(cwd, 'grey', 'colour')) < 1e-6);
  assert.ok((await distance(cwd, 'alpha', 'samples')) < 1e-6);
  assert.ok((await distance(cwd, 'grey', 'samples')) > 1e-3);
});

/** NaN in half precision. */
const notANumber = ({ data, dtype }: HostTensor): Uint16Array => {
  assert.equal(dtype, 'f16');
  return new Uint16Array(data.length).fill(0x7e00);
};

test('a network that gives NaN is named, with the image', async (t) => {
  const cwd = await sets(t);
  const weights = openSafetensors(findWeights('emoji-vit')!);
  const broken = path.join(cwd, 'broken.safetensors');
  writeSafetensors(
    broken,
    weights.names.map((name) => {
      const tensor = weights.read(name);
      return [name, name === 'norm.bias' ? { ...tensor, data: notANumber(tensor) } : tensor];
    }),
  );
  weights.close();
  const { code, stderr } = await repa(['fid', 'samples', 'reference', '--weights', 'broken.safetensors'], { cwd });
  assert.equal(code, 65, stderr);
  assert.match(stderr, /samples: broken\.safetensors gives NaN for 'class0\/000\.png'/);
});

test('FD-infinity is below the distance of the same samples', async (t) => {
  const cwd = await sets(t);
  const { results } = await run(cwd, 'fid', 'samples', 'reference', '--metrics', 'fid,fd-infinity', '--json');
  assert.deepEqual(
    results.map(({ metric }) => metric),
    ['FD(emoji-vit)', 'FD-infinity(emoji-vit)'],
  );
  assert.ok(results[1].value < results[0].value, `${results[1].value}`);
  await run(cwd, 'fid', 'samples', '--save-stats', 'samples.npz');
  const { code, stderr } = await repa(['fid', 'samples.npz', 'reference', '--metrics', 'fd-infinity'], { cwd });
  assert.equal(code, 65);
  assert.match(stderr, /samples\.npz: holds statistics, but not images[\s\S]*fd-infinity need images/);
});

test('MIND of equal sets is nothing, and that of others depends on the seed alone', async (t) => {
  const cwd = await sets(t);
  const mind = async (...args: string[]) => {
    const { results } = await run(cwd, 'fid', ...args, '--metrics', 'mind', '--json');
    assert.deepEqual(
      results.map(({ metric }) => metric),
      ['MD(emoji-vit)'],
    );
    return results[0].value;
  };
  assert.equal(await mind('samples', 'samples'), 0);
  const whole = await mind('samples', 'reference');
  assert.ok(whole > 0);
  assert.equal(await mind('samples', 'reference', '--seed', '0'), whole);
  assert.notEqual(await mind('samples', 'reference', '--seed', '1'), whole);
});
