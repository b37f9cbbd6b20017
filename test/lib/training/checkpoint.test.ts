/** Checkpoints are believed as they were saved, and not otherwise. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError } from '../../../src/lib/errors.js';
import type { HostTensor } from '../../../src/lib/formats/host-tensor.js';
import { readCheckpointPart, readCheckpointRecord, saveCheckpoint } from '../../../src/lib/training/checkpoint.js';
import { checkpointParts, checkSavable, restoreStore } from '../../../src/lib/training/store.js';
import { fixturePath, temporaryFolder } from '../../support.js';

const tensor = (value: number): HostTensor => ({ shape: [3], dtype: 'f32', data: Float32Array.of(value, 2, 3) });

const record = readCheckpointRecord(fixturePath('checkpoint-1/repa/step-0000002'));

const save = (): string => saveCheckpoint(temporaryFolder(), record, new Map([['model', [['w', tensor(1)]]]]), 1);

const isDamage = (name: string) => (error: Error) =>
  error instanceof DataError && error.message.includes(`${name}: is damaged: its SHA-256 is not the one in SHA256SUMS`);

test('a bit that flips in a part or in the configuration is found on load', () => {
  for (const [name, read] of [
    ['config.json', (folder: string) => readCheckpointRecord(folder)],
    ['model.safetensors', (folder: string) => [...readCheckpointPart(folder, 'model')]],
  ] as const) {
    const folder = save();
    read(folder);
    const file = path.join(folder, name);
    const bytes = readFileSync(file);
    for (let at = 0; at < bytes.length; at += 97) {
      const flipped = Buffer.from(bytes);
      flipped[at] ^= 1 << (at % 8);
      writeFileSync(file, flipped);
      assert.throws(() => read(folder), isDamage(name));
    }
  }
});

test('a part that was not saved with the others is refused; a checkpoint of before there were checksums is read', () => {
  const folder = save();
  writeFileSync(path.join(folder, 'ema.safetensors'), readFileSync(path.join(folder, 'model.safetensors')));
  assert.throws(() => [...readCheckpointPart(folder, 'ema')], /is not among SHA256SUMS beside it/);
  rmSync(path.join(folder, 'SHA256SUMS'));
  assert.deepEqual(readCheckpointRecord(folder), record);
  assert.deepEqual([...readCheckpointPart(folder, 'ema')], [['w', tensor(1)]]);
});

test('nothing that a killed run left of the same step gets into a checkpoint', () => {
  const out = temporaryFolder();
  const left = path.join(out, '.step-0000002.tmp');
  mkdirSync(left);
  for (const name of ['SHA256SUMS', 'optimizer.safetensors']) writeFileSync(path.join(left, name), 'of before');
  const folder = saveCheckpoint(out, record, new Map([['model', [['w', tensor(1)]]]]), 1);
  assert.deepEqual(readdirSync(folder).sort(), ['SHA256SUMS', 'config.json', 'model.safetensors']);
  const sums = readFileSync(path.join(folder, 'SHA256SUMS'), 'utf8');
  assert.deepEqual(
    [...sums.matchAll(/ {2}(.+)\n/g)].map(([, name]) => name),
    ['config.json', 'model.safetensors'],
  );
});

test('arrays that are not finite are not saved, and not gone on with', async () => {
  await selectBackend();
  const store = restoreStore(record, fixturePath('checkpoint-1/repa/step-0000002'), false);
  const out = temporaryFolder();
  const parts = () => checkpointParts(record, store);
  checkSavable(parts(), 7, out);
  for (const [part, array] of [
    ['model', 'value'],
    ['optimizer', 'secondMoment'],
  ] as const) {
    const { name, [array]: values } = store.parameters.find((each) => each.name.startsWith('blocks.1.attn.qkv'))!;
    const before = values![5];
    values![5] = Number.POSITIVE_INFINITY;
    assert.throws(
      () => checkSavable(parts(), 7, out),
      (error: Error) =>
        error instanceof DataError &&
        error.message.startsWith('the checkpoint of step 7 is not saved: element 5 of ') &&
        error.message.endsWith(`${name} in its ${part} is Infinity`) &&
        /There is no earlier one/.test(error.hint!),
    );
    const broken = saveCheckpoint(out, record, parts(), 1);
    assert.throws(
      () => restoreStore(record, broken, false),
      new RegExp(`${part}\\.safetensors: element 5 of .*Infinity`),
    );
    const names = (error: Error) => error instanceof DataError && error.hint!.includes(`The last one is ${broken}`);
    assert.throws(() => checkSavable(parts(), 8, out), names);
    rmSync(broken, { recursive: true });
    values![5] = before;
  }
});

test('a configuration without end is refused', () => {
  const folder = save();
  rmSync(path.join(folder, 'SHA256SUMS'));
  const file = path.join(folder, 'config.json');
  writeFileSync(file, '['.repeat(1e6));
  assert.throws(() => readCheckpointRecord(folder), /nested more than 64 deep/);
  for (const text of ['null', '7', '"x"', '[]', '{"format":{}}', '{"format":1,"step":1.5}', '{"format":2}']) {
    writeFileSync(file, text);
    assert.throws(() => readCheckpointRecord(folder), DataError, text);
  }
  writeFileSync(file, ' '.repeat(2 ** 24));
  appendFileSync(file, '{}');
  assert.throws(() => readCheckpointRecord(folder), /it has 16777218 bytes, more than 16777216/);
});
