import assert from 'node:assert/strict';
import { rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { repa, shell, temporaryFolder } from './binary.js';
import { makeImages } from './support.js';
import { type Entry, numbers, parseLog, RUN } from './training-run.js';

const FLY = ['--encoder', 'emoji-vit'];

test('features computed on the way give the numbers of stored ones, whatever holds the images', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 10, { side: 40 });
  const made = await shell(
    [
      'repa encode-vae imgs --vae pixels --size 32 > latents',
      'repa extract-dino imgs --encoder emoji-vit --dtype f32 --batch-size 4 --threads 1 > feats',
      'tar cf imgs.tar -C imgs class0 class1',
      'repa import imgs -o imgs.arrows',
      'gzip -k imgs.tar',
    ].join(' && '),
    { cwd },
  );
  assert.equal(made.code, 0, made.stderr);
  const trained = async (...args: string[]): Promise<Entry[]> => {
    const { code, stdout, stderr } = await repa(['train', ...RUN, '--steps', '4', ...args], { cwd });
    assert.equal(code, 0, stderr);
    return numbers(parseLog(stdout.toString()));
  };
  const stored = await trained('--out', 'stored');
  for (const images of ['imgs', 'imgs.tar', 'imgs.arrows']) {
    const computed = await trained(...FLY, '--images', images, '--out', `of-${images}`);
    if (process.env.REPA_BACKEND !== 'tensorflow') assert.deepEqual(computed, stored, images);
    // TensorFlow adds up in another order from run to run.
    for (const [i, { loss }] of computed.entries()) assert.ok(Math.abs(loss - stored[i].loss) < 1e-5, images);
  }
  // In two halves of the batch, and stopping where features are no longer followed.
  const halves = ['--micro-batch', '2', '--align-until', '2'];
  const apart = await trained(...halves, '--out', 'halves-stored');
  const together = await trained(...halves, ...FLY, '--images', 'imgs', '--out', 'halves');
  for (const [i, { loss }] of together.entries()) assert.ok(Math.abs(loss - apart[i].loss) < 1e-5);

  rmSync(path.join(cwd, 'imgs/class0/000.png'));
  const cases: [string[], number, RegExp][] = [
    [[...FLY, '--images', 'imgs'], 65, /imgs: 1 of the 10 images that have latents are not there, first 'class0\/000/],
    [[...FLY, '--images', 'imgs.tar.gz'], 2, /cannot be read in any order/],
    [[...FLY, '--images', 'nowhere'], 66, /nowhere/],
    [FLY, 2, /--encoder does nothing without --images/],
    [['--images', 'imgs'], 2, /--images does nothing without --encoder/],
    [[...FLY, '--images', 'imgs', '--feats', 'feats'], 2, /--encoder.* cannot be used with option .--feats/],
    [[...FLY, '--images', 'imgs', '--lambda', '0'], 2, /--encoder does nothing without --lambda/],
  ];
  for (const [args, expected, message] of cases) {
    const { code, stderr } = await repa(['train', ...RUN, '--steps', '1', ...args, '--out', 'none'], { cwd });
    assert.equal(code, expected, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, message);
  }
});

test('features in 8 bits are half as large, verified, compared and trained on like others', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 20, { side: 40 });
  const made = await shell(
    [
      'repa encode-vae imgs --vae pixels --size 32 > latents',
      'repa extract-dino imgs --encoder emoji-vit --cls --dtype f32 --threads 1 > f32',
      'repa extract-dino imgs --encoder emoji-vit --cls --dtype i8 --threads 1 > i8',
      'repa verify i8',
      'repa cat i8 > again && cmp i8 again',
    ].join(' && '),
    { cwd },
  );
  assert.equal(made.code, 0, made.stderr);
  assert.ok(statSync(path.join(cwd, 'i8')).size < 0.28 * statSync(path.join(cwd, 'f32')).size);
  const compared = await repa(['cknna', 'i8', 'f32', '--metric', 'cka', '--json'], { cwd });
  const [feature] = compared.stdout.toString().trim().split('\n');
  const { column, value } = JSON.parse(feature);
  assert.equal(column, 'feature ~ feature');
  assert.ok(value > 0.999, `${value}`);
  const losses = async (feats: string): Promise<number[]> => {
    const args = ['train', ...RUN, '--steps', '3', '--feats', feats, '--out', `of-${feats}`];
    const { code, stdout, stderr } = await repa(args, { cwd });
    assert.equal(code, 0, stderr);
    return parseLog(stdout.toString()).map(({ projection_loss }) => projection_loss);
  };
  const [exact, compact] = [await losses('f32'), await losses('i8')];
  for (const [i, loss] of compact.entries()) assert.ok(loss !== exact[i] && Math.abs(loss - exact[i]) < 1e-3);
});
