/** repa ema: averages kept in training, and others made of them. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { exponentOf } from '../../src/lib/optim/average.js';
import { readTensors } from '../fixture-weights.js';
import { largestError } from '../tensors.js';
import { repa } from './binary.js';
import { prepared, RUN } from './training-run.js';

const AVERAGES = ['--ema', '0.9,sigma:0.05,sigma:0.1,sigma:0.08'];

/** The largest distance of two files of weights, over all tensors. */
function distance(a: string, b: string): number {
  const [first, second] = [readTensors(a), readTensors(b)];
  assert.deepEqual([...first.keys()].sort(), [...second.keys()].sort());
  return Math.max(...[...first].map(([name, { data }]) => largestError(data, second.get(name)!.data)));
}

test('averages are kept with checkpoints, and mixed to those of other widths; a resumed run has the same', async (t) => {
  const cwd = await prepared(t);
  const told = async (...args: string[]): Promise<string> => {
    const { code, stderr } = await repa(args, { cwd });
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    return stderr;
  };
  const refused = async (expected: number, message: RegExp, ...args: string[]): Promise<void> => {
    const { code, stderr } = await repa(args, { cwd });
    assert.equal(code, expected, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, message);
  };
  const at = (...parts: string[]): string => path.join(cwd, ...parts);

  const run = ['train', ...RUN, ...AVERAGES, '--average-dtype', 'f32', '--save-every', '2', '--keep', '1'];
  await told(...run, '--steps', '12', '--out', 'whole');
  for (const steps of ['5', '12']) await told(...run, '--steps', steps, '--out', 'parts');
  const kept = readdirSync(at('whole/averages')).sort();
  assert.deepEqual(
    kept,
    [2, 4, 6, 8, 10, 12].map((step) => `step-00000${String(step).padStart(2, '0')}`),
  );
  const files = [
    'config.json',
    'SHA256SUMS',
    ...['0.05', '0.08', '0.1'].map((width) => `ema-sigma-${width}.safetensors`),
  ];
  assert.deepEqual(readdirSync(at('whole/averages/step-0000006')).sort(), files.sort());
  for (const folder of ['step-0000012', 'averages/step-0000012', 'averages/step-0000004']) {
    for (const file of ['ema-sigma-0.05.safetensors', 'ema-sigma-0.1.safetensors']) {
      assert.deepEqual(readFileSync(at('parts', folder, file)), readFileSync(at('whole', folder, file)));
    }
  }

  // A larger batch is more of the time that has passed: 12 of 4 images, and one of 8.
  await told(...run, '--steps', '13', '--batch-size', '8', '--out', 'parts', '--resume');
  const [earlier, later] = [12, 13].map((step) => at('parts', `averages/step-00000${step}`));
  const ofTen = (folder: string) => readTensors(path.join(folder, 'ema-sigma-0.1.safetensors'));
  const [before, after] = [ofTen(earlier), ofTen(later)];
  const decay = (1 - 8 / 56) ** (exponentOf(0.1) + 1);
  for (const [name, { data }] of readTensors(at('parts/step-0000013/model.safetensors'))) {
    const old = before.get(name)!.data;
    const wanted = data.map((value, i) => decay * old[i] + (1 - decay) * value);
    assert.ok(largestError(after.get(name)!.data, wanted) < 1e-6, name);
  }

  // The average of a width that was tracked is that one.
  const said = await told('ema', 'whole', '--sigma-rel', '0.1', '-o', 'ema-10');
  assert.match(said, /ema-10\/step-0000012: 18 averages mixed; its profile is .* % off/);
  const final = (name: string): string => at('whole/step-0000012', `${name}.safetensors`);
  assert.ok(distance(at('ema-10/step-0000012/ema.safetensors'), final('ema-sigma-0.1')) < 1e-6);
  await told('ema', 'whole', '--sigma-rel', '0.1', '-o', 'ema-10'); // again, as it was

  // One that was not: 0.08 is tracked besides, and left out of the mixture.
  cpSync(at('whole'), at('without'), { recursive: true });
  for (const step of kept) {
    const folder = at('without/averages', step);
    for (const file of ['ema-sigma-0.08.safetensors', 'SHA256SUMS']) rmSync(path.join(folder, file));
    const config = JSON.parse(readFileSync(path.join(folder, 'config.json'), 'utf8'));
    config.training.emaDecays = [0.9, 'sigma:0.05', 'sigma:0.1'];
    writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config));
  }
  await told('ema', 'without', '--sigma-rel', '0.08', '-o', 'ema-8');
  const made = at('ema-8/step-0000012/ema.safetensors');
  const off = distance(made, final('ema-sigma-0.08'));
  assert.ok(off < 0.1 * distance(final('ema-sigma-0.05'), final('ema-sigma-0.1')), `${off}`);

  await told('sample', '--ckpt', 'ema-8', '--num', '1', '--steps', '2', '-o', 'samples');
  assert.match((await repa(['info', 'samples'], { cwd })).stdout.toString(), /ema sigma:0.08/);
  await told('sample', '--ckpt', 'whole', '--ema', 'sigma:0.05', '--num', '1', '--steps', '2', '-o', 'tracked');
  await told('export', 'ema-8', '-o', 'weights.safetensors');
  assert.equal(distance(at('weights.safetensors'), made), 0);

  await refused(
    2,
    /--step 5: whole\/averages holds averages of steps 2, 4/,
    'ema',
    'whole',
    '--sigma-rel',
    '0.1',
    '--step',
    '5',
    '-o',
    'x',
  );
  await refused(2, /whole holds checkpoints already/, 'ema', 'whole', '--sigma-rel', '0.1', '-o', 'whole');
  await refused(2, /ema-10 holds checkpoints already/, 'ema', 'whole', '--sigma-rel', '0.2', '-o', 'ema-10');
  await refused(66, /holds a moving average alone, and no model/, 'sample', '--ckpt', 'ema-8', '--raw', '-o', 'x');
  await refused(2, /--sigma-rel.*0.288/s, 'ema', 'whole', '--sigma-rel', '0.5', '-o', 'x');
  assert.ok(!existsSync(at('x')));
  const flipped = readFileSync(at('whole/averages/step-0000002/ema-sigma-0.05.safetensors'));
  flipped[flipped.length - 1] ^= 1;
  writeFileSync(at('whole/averages/step-0000002/ema-sigma-0.05.safetensors'), flipped);
  await refused(65, /is damaged/, 'ema', 'whole', '--sigma-rel', '0.2', '-o', 'x');
  flipped.set([0x80, 0x7f], flipped.length - 2); // its last number is not finite, and no hash tells
  writeFileSync(at('whole/averages/step-0000002/ema-sigma-0.05.safetensors'), flipped);
  rmSync(at('whole/averages/step-0000002/SHA256SUMS'));
  await refused(65, /the average of '.*' is not finite/, 'ema', 'whole', '--sigma-rel', '0.2', '-o', 'x');
});

test('a new run does not add its averages to those of another', async (t) => {
  const cwd = await prepared(t);
  const run = (...args: string[]) => repa(['train', ...RUN, '--steps', '1', ...args], { cwd });
  assert.equal((await run('--ema', 'sigma:0.1')).code, 0);
  rmSync(path.join(cwd, 'ckpt/step-0000001'), { recursive: true });
  const { code, stderr } = await run('--ema', 'sigma:0.1', '--seed', '5');
  assert.equal(code, 2, stderr);
  assert.match(stderr, /ckpt\/averages holds a run with other settings or data: training.seed/);
  const plain = await run('--ema', '0.9', '--average-dtype', 'f32', '--out', 'decayed');
  assert.match(plain.stderr, /--average-dtype f32 does nothing without --ema sigma:/);
  const other = await run('--out', 'decayed');
  assert.equal(other.code, 0, other.stderr);
  const none = await repa(['ema', 'decayed', '--sigma-rel', '0.1', '-o', 'x'], { cwd });
  assert.equal(none.code, 66, none.stderr);
  assert.match(none.stderr, /decayed keeps no averages along a power of the time.*sigma:0.05/s);
});
