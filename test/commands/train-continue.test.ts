/** Runs that go on under other settings: with other sizes of batches, and with some of their averages. */
import assert from 'node:assert/strict';
import { cpSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { readCheckpointRecord } from '../../src/lib/training/checkpoint.js';
import { TrainingSet } from '../../src/lib/training/data/set.js';
import { repa } from './binary.js';
import { parseLog, prepared, RUN } from './training-run.js';

test('with another size of batches, no image is left out of an epoch and none comes twice', async (t) => {
  const cwd = await prepared(t);
  const set = await TrainingSet.open(path.join(cwd, 'latents'), []);
  const whole = [...set.latents.rowsAfter(0, 30, 7)];
  const parts = [4, 4, 2, 3, 7, 5, 1, 4];
  let seen = 0;
  const joined = parts.flatMap((count) => {
    seen += count;
    return [...set.latents.rowsAfter(seen - count, count, 7)];
  });
  assert.deepEqual(joined, whole);
  for (const epoch of [0, 1, 2]) assert.equal(new Set(whole.slice(10 * epoch, 10 * epoch + 10)).size, 10);

  const run = ['train', ...RUN, '--lambda', '0'];
  const images = (step: number) => readCheckpointRecord(path.join(cwd, `ckpt/step-000000${step}`)).images;
  assert.equal((await repa([...run, '--steps', '2'], { cwd })).code, 0);
  assert.equal(images(2), 8);
  const other = [...run, '--batch-size', '2', '--resume'];
  // A run that ends with a report tells the images of its step.
  const report = await repa([...other, '--steps', '3', '--loss-limit', '1e-9'], { cwd });
  assert.equal(report.code, 65, report.stderr);
  const keys = JSON.parse(readFileSync(path.join(cwd, 'ckpt/diverged-step-0000003.json'), 'utf8')).images;
  assert.deepEqual(
    keys,
    [...set.latents.rowsAfter(8, 2, 0)].map((row) => set.keyOf(row)),
  );
  const { stdout, code, stderr } = await repa([...other, '--steps', '4'], { cwd });
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    parseLog(stdout.toString()).map(({ step, epoch }) => [step, epoch]),
    [
      [3, 0],
      [4, 1],
    ],
  );
  assert.equal(images(4), 12);
  await set.close();
});

test('averages go on by what they are, not by where they stand', async (t) => {
  const cwd = await prepared(t);
  const run = (out: string, ema: string, steps: string, ...more: string[]) =>
    repa(['train', ...RUN, '--lambda', '0', '--ema', ema, '--steps', steps, '--out', out, ...more], { cwd });
  assert.equal((await run('whole', '0.5,0.9', '2')).code, 0);
  for (const copy of ['one', 'turned', 'more'])
    cpSync(path.join(cwd, 'whole'), path.join(cwd, copy), { recursive: true });
  assert.equal((await run('whole', '0.5,0.9', '3')).code, 0);
  const part = (out: string, name: string) => readFileSync(path.join(cwd, out, 'step-0000003', `${name}.safetensors`));

  assert.equal((await run('one', '0.9', '3')).code, 2);
  const one = await run('one', '0.9', '3', '--resume');
  assert.equal(one.code, 0, one.stderr);
  assert.ok(part('one', 'ema').equals(part('whole', 'ema-0.9')));
  assert.ok(!part('one', 'ema').equals(part('whole', 'ema')));
  assert.equal((await run('turned', '0.9,0.5', '3', '--resume')).code, 0);
  assert.ok(part('turned', 'ema').equals(part('whole', 'ema-0.9')));
  assert.ok(part('turned', 'ema-0.5').equals(part('whole', 'ema')));
  const more = await run('more', '0.5,0.99', '3', '--resume');
  assert.equal(more.code, 2, more.stderr);
  assert.match(
    more.stderr,
    /training\.emaDecays \(\[0\.5,0\.9\], now \[0\.5,0\.99\]\)[\s\S]*averages that it has.*--init more/,
  );
});
