import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { repa } from './binary.js';
import { parseLog, prepared, RUN } from './training-run.js';

test('a dry run tells what a job takes and writes nothing; the run then does', async (t) => {
  const cwd = await prepared(t);
  const before = readdirSync(cwd).sort();
  const encode = await repa(['encode-vae', 'imgs/', '--vae', 'pixels', '--size', '16', '-o', 'l', '--dry-run'], {
    cwd,
  });
  assert.equal(encode.code, 0, encode.stderr);
  assert.match(encode.stdout.toString(), /^images {2}10\noutput {2}.*\(.* free\)\ntime .*a second.*\nmemory /);
  const train = await repa(['train', ...RUN, '--steps', '6', '--dry-run'], { cwd });
  assert.equal(train.code, 0, train.stderr);
  assert.match(train.stdout.toString(), /^steps {3}6\noutput {2}.* 1 checkpoint of \d+ bytes at a time, to ckpt/);
  assert.deepEqual(readdirSync(cwd).sort(), before);
  const small = ['encode-vae', 'imgs/', '--vae', 'pixels', '--size', '16', '-o', 'l'];
  const encoded = await repa(small, { cwd });
  assert.match(encoded.stderr, /^10 images: latent: f16 \[3, 16, 16\] of each, 15 kB in all, to l \(.* free\)\n/m);
  assert.equal((await repa([...small, '--quiet'], { cwd })).stderr, '');

  const run = await repa(['train', ...RUN, '--steps', '1'], { cwd });
  assert.match(run.stderr, /weights, gradients and averages take .* of memory/);
  assert.match(run.stderr, /a checkpoint takes .*, and \d+ are kept: .* are free/);
  const [line] = parseLog(run.stdout.toString()) as unknown as Record<string, unknown>[];
  assert.equal(line.log, '3');
  assert.equal(line.images_per_second, 4 / (line.seconds as number));
  assert.ok((line.model_flops_per_second as number) * (line.seconds as number) > 1e6);
  assert.equal(line.model_flops_utilization, undefined, 'of so short a run');
  assert.ok(Math.abs(Date.parse(line.at as string) - Date.now()) < 3_600_000);
  const verified = await repa(['verify', 'ckpt'], { cwd });
  assert.deepEqual([verified.code, /holds checkpoints/.test(verified.stdout.toString())], [1, true]);
  const sample = await repa(['sample', '--num', '3', '--dry-run', '--threads', '1'], { cwd });
  assert.equal(sample.code, 0, sample.stderr);
  assert.match(sample.stdout.toString(), /^images {2}3\noutput {2}.* to stdout\n/);
  const sampled = await repa(['sample', '--num', '3', '--steps', '1', '--threads', '1', '--grid', 'x.png'], { cwd });
  assert.match(sampled.stderr, /^3 images: drawn as a sheet, to x.png \(.* free\)\n/m);
});

test('a dry run ends with the error of the run', async (t) => {
  const cwd = await prepared(t);
  const diverging = await repa(['train', ...RUN, '--steps', '6', '--dry-run', '--loss-limit', '0.001'], { cwd });
  assert.equal(diverging.code, 65);
  assert.match(diverging.stderr, /the loss of step 1 is .*, more than --loss-limit 0.001/);
  assert.ok(!readdirSync(cwd).includes('ckpt'));
  writeFileSync(path.join(cwd, 'latents'), 'no stream');
  const { code } = await repa(['train', ...RUN, '--steps', '6', '--dry-run'], { cwd });
  assert.equal(code, 65);
});
