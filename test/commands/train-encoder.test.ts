import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
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
    assert.deepEqual(await trained(...FLY, '--images', images, '--out', `of-${images}`), stored, images);
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
