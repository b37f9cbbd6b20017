import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readOnnxFile } from '../../src/lib/formats/onnx-file.js';
import { temporaryFolder } from '../support.js';

const examples = fileURLToPath(new URL('../../../examples/record/', import.meta.url));
const randomWeights = fileURLToPath(new URL('../../examples/random-weights.js', import.meta.url));
const run = (file: string, ...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
};
const script = (name: string, ...args: string[]): string => run(path.join(examples, name), ...args);

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

test('runs are compared as they were at one step, and those of another size with the plain one of that size', () => {
  const folder = temporaryFolder();
  makeRun(folder, 'plain-seed0', [90, 60, 40], 1);
  makeRun(folder, 'small-plain-seed0', [95, 80, 75], 1);
  makeRun(folder, 'small-repa-2-seed0', [80, 70, 60], 1);
  const rows = script('gather.mjs', folder, '200').split('\n');
  const cells = (name: string): string[] => {
    const row = rows.find((line) => line.startsWith(`| ${name} |`));
    return (row ?? '').split(' | ').slice(2);
  };
  assert.deepEqual(cells('plain').slice(0, 2), ['200', '60.000']);
  assert.deepEqual(cells('small-repa-2'), ['200', '70.000', '0.7000', 'not measured', '2.00', '2.00 |']);
});

test('a network of random weights has the weights of each of its tensors in another order', () => {
  const folder = temporaryFolder();
  const network = fileURLToPath(new URL('../../src/assets/emoji-cnn.onnx', import.meta.url));
  const out = path.join(folder, 'random.onnx');
  run(randomWeights, network, out);
  assert.deepEqual(readOnnxFile(out).outputs, readOnnxFile(network).outputs);
  const [learned, random] = [network, out].map((file) => readFileSync(file));
  assert.ok(!learned.equals(random));
  assert.deepEqual(random.toSorted(), learned.toSorted());
  run(randomWeights, network, path.join(folder, 'again.onnx'));
  assert.ok(readFileSync(path.join(folder, 'again.onnx')).equals(random));
});
