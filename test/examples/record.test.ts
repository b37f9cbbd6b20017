import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../support.js';

const examples = fileURLToPath(new URL('../../../examples/record/', import.meta.url));
const script = (name: string, ...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(examples, name), ...args], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return stdout;
};

function makeRun(folder: string, name: string, distances: readonly number[], seconds: number): void {
  mkdirSync(path.join(folder, name));
  const lines = distances.flatMap((distance, i) => {
    const step = 100 * (i + 1);
    return [
      { step, loss: 1, seconds },
      { step, evaluation: 'validation', val_velocity_loss: distance / 100, seconds: 5 },
      { step, evaluation: 'samples', 'FD(net)': distance, picture: 'x.png' },
    ];
  });
  writeFileSync(path.join(folder, name, 'log.ndjson'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
}

test('the record compares each run with the plain one of its seed, in steps and in seconds', () => {
  const folder = temporaryFolder();
  makeRun(folder, 'plain-seed0', [90, 60, 40], 1);
  makeRun(folder, 'plain-seed1', [90, 50, 30], 1);
  makeRun(folder, 'repa-2-seed0', [80, 40, 20], 2);
  makeRun(folder, 'repa-2-seed1', [70, 30, 10], 2);
  makeRun(folder, 'late-seed0', [95, 90, 80], 1);
  const rows = script('gather.mjs', folder).split('\n');
  assert.ok(
    rows.includes(
      '| repa-2 | 0 1 | 300 | 15.000 (10.000 to 20.000) | 0.1500 (0.1000 to 0.2000) | not measured | 1.50 (1.50 to 1.50) | 0.75 (0.75 to 0.75) |',
    ),
    rows.join('\n'),
  );
  assert.ok(rows.some((row) => row.startsWith('| late |') && row.endsWith('| not reached | not reached |')));
  const record = readFileSync(path.join(folder, 'record.ndjson'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    record.find(({ setting, seed, step }) => setting === 'repa-2' && seed === 1 && step === 200),
    {
      setting: 'repa-2',
      seed: 1,
      seconds: 400,
      step: 200,
      evaluation: 'samples',
      val_velocity_loss: 0.3,
      'FD(net)': 30,
    },
  );
});

test('shuffled pictures have the names of others, and every name is there', () => {
  const folder = temporaryFolder();
  const names = ['a/1.png', 'a/2.png', 'b/3.png', 'b/4.png', 'b/5.png'];
  for (const name of names) {
    mkdirSync(path.join(folder, 'images', path.dirname(name)), { recursive: true });
    writeFileSync(path.join(folder, 'images', name), name);
  }
  script('shuffle.mjs', path.join(folder, 'images'), path.join(folder, 'shuffled'));
  const shown = names.map((name) => readFileSync(path.join(folder, 'shuffled', name), 'utf8'));
  assert.deepEqual(shown.toSorted(), names);
  assert.ok(names.every((name, i) => shown[i] !== name));
  assert.ok(lstatSync(path.join(folder, 'shuffled', names[0])).isSymbolicLink());
  assert.ok(!existsSync(path.join(folder, 'shuffled.part')));
});
