/** What a codec loses, by its images and by their originals. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { repa, shell, temporaryFolder } from './binary.js';
import { makeImages } from './support.js';

const EQUAL = '{"psnr":null,"psnr_of_mean":null,"count":6,"equal":6,"worst":null,"originals":"imgs"}\n';

test('pixels come back without an error where they are rounded, and the header tells of what', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 6, { side: 32 });
  const { code, stdout, stderr } = await shell(
    'repa encode-vae imgs --vae pixels --size 32 | repa decode-vae --rounding round | repa psnr --json',
    { cwd },
  );
  assert.equal(code, 0, stderr);
  assert.equal(stdout.toString(), EQUAL);
});

test('the ratio of a known error, of originals of another size, and of sets that do not pair', async (t) => {
  const cwd = temporaryFolder(t);
  const write = async (file: string, width: number, value: number) => {
    const image = sharp({ create: { width, height: 8, channels: 3, background: { r: value, g: value, b: value } } });
    await image.png().toFile(path.join(cwd, file));
  };
  for (const set of ['a', 'b', 'wide', 'other']) await shell(`mkdir ${set}`, { cwd });
  for (const [file, width, value] of [
    ['a/1.png', 8, 100],
    ['a/2.png', 8, 100],
    ['b/1.png', 8, 105],
    ['b/2.png', 8, 100],
    ['wide/1.png', 12, 105],
    ['wide/2.png', 12, 110],
    ['other/1.png', 8, 100],
    ['other/3.png', 8, 100],
  ] as const) {
    await write(file, width, value);
  }
  const score = async (...args: string[]) =>
    JSON.parse((await repa(['psnr', ...args, '--json'], { cwd })).stdout.toString());
  const of = (error: number): number => 10 * Math.log10(255 ** 2 / error);
  const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9, `${a} for ${b}`);
  const { psnr, psnr_of_mean, count, equal, worst } = await score('a', 'b');
  near(psnr, of(25));
  near(psnr_of_mean, of(12.5));
  assert.deepEqual([count, equal, worst.key], [2, 1, '1.png']);
  near((await score('a', 'wide')).psnr, (of(25) + of(100)) / 2);
  assert.match((await repa(['psnr', 'a', 'b'], { cwd })).stdout.toString(), /^PSNR {11}34\.151 dB\n/);
  for (const [args, message, exit] of [
    [['a', 'other'], /row 1 is '2\.png' of the images, but '3\.png' of the originals/, 65],
    [['a', 'missing'], /missing: no such file or folder/, 66],
    [['a'], /there are no originals/, 66],
    [['wide', 'a'], /'1\.png' has 12x8 pixels, its original 8x8/, 65],
  ] as const) {
    const { code, stderr } = await repa(['psnr', ...args], { cwd });
    assert.equal(code, exit, stderr);
    assert.match(stderr, message);
  }
  await shell('rm other/3.png', { cwd });
  const { code, stderr } = await repa(['psnr', 'a', 'other'], { cwd });
  assert.equal(code, 65);
  assert.match(stderr, /the originals end after 1, the images go on with '2\.png'/);
});
