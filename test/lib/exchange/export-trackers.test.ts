/**
 * Runs as Weights & Biases and MLflow keep them. What their own programs made of such files is told in docs/README.md.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { DataError } from '../../../src/lib/errors.js';
import { exportMlflow } from '../../../src/lib/exchange/export-mlflow.js';
import { exportWandb } from '../../../src/lib/exchange/export-wandb.js';
import { crc32 } from '../../../src/lib/files/crc32.js';
import { type ProtobufField, protobufFields } from '../../../src/lib/formats/protobuf-fields.js';
import { WandbFile } from '../../../src/lib/formats/wandb.js';
import { temporaryFolder } from '../../support.js';

const LINES = [
  { step: 1, loss: 2, seconds: 0.5, at: '2026-11-28T10:00:01.000Z' },
  { step: 2, loss: 1e-9, seconds: 0.5, at: '2026-11-28T10:00:02.500Z' },
  { step: 2, evaluation: 'samples', '../F,D': 3, f_D: 4, sampler: {}, at: '2026-11-28T10:00:04.000Z' },
];

async function runFolder(lines: readonly object[] = LINES): Promise<string> {
  const folder = path.join(temporaryFolder(), 'ckpt');
  mkdirSync(path.join(folder, 'samples'), { recursive: true });
  writeFileSync(path.join(folder, 'log.ndjson'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const picture = sharp({ create: { width: 6, height: 4, channels: 3, background: '#c33' } });
  await picture.png().toFile(path.join(folder, 'samples/step-00000002.png'));
  return folder;
}

/** The records of a file, put together of their parts; frames must fill it and their checksums be right. */
function recordsOf(bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  let parts: Buffer[] = [];
  assert.equal(bytes.subarray(0, 7).toString('latin1'), ':W&B\xe1\xbe\0');
  for (let at = 7; at < bytes.length; ) {
    const room = 32_768 - (at % 32_768);
    if (room < 7) {
      at += room;
      continue;
    }
    const [crc, length, kind] = [bytes.readUInt32LE(at), bytes.readUInt16LE(at + 4), bytes[at + 6]];
    assert.ok(length + 7 <= room, 'a part lies in one block');
    const data = bytes.subarray(at + 7, at + 7 + length);
    assert.equal(crc32(bytes.subarray(at + 6, at + 7 + length)), crc);
    assert.equal(parts.length > 0, kind > 2, 'middle and last parts follow a first one');
    parts.push(data);
    if (kind === 1 || kind === 4) {
      records.push(Buffer.concat(parts));
      parts = [];
    }
    at += 7 + length;
  }
  assert.equal(parts.length, 0);
  return records;
}

type Bytes = ProtobufField & { wire: 2 };

const messages = (data: Uint8Array, field: number): Buffer[] =>
  [...protobufFields(data, 'test')]
    .filter((each): each is Bytes => each.field === field && each.wire === 2)
    .map(({ bytes }) => bytes);

/** The items of a history or a summary, by their names. */
const itemsOf = (data: Uint8Array): Record<string, unknown> =>
  Object.fromEntries(
    messages(data, 1).map((item) => {
      const name = messages(item, 2).join('.');
      return [name, JSON.parse(String(messages(item, 16)[0]))];
    }),
  );

test('an offline run of wandb: values of a step together, those of measures by name, a sheet, and how it ended', async () => {
  const folder = await runFolder();
  const out = temporaryFolder();
  const made = exportWandb(folder, out);
  assert.match(path.basename(made), /^offline-run-\d{8}_\d{6}-[0-9a-f]{8}$/);
  const file = path.join(made, `run-${path.basename(made).slice(-8)}.wandb`);
  const records = recordsOf(readFileSync(file));
  const steps = records.flatMap((record) => messages(record, 2)).map(itemsOf);
  assert.equal(steps.length, 2);
  const { _runtime, _timestamp, ...first } = steps[0];
  assert.deepEqual(first, { loss: 2, seconds: 0.5, _step: 1 });
  assert.equal(_timestamp, Date.parse(LINES[0].at) / 1000);
  assert.equal(steps[1].loss, 1e-9);
  assert.equal(steps[1]['samples/../F,D'], 3);
  const picture = String(steps[1]['samples/sheet.path']);
  assert.deepEqual(
    readFileSync(path.join(made, 'files', picture)),
    readFileSync(path.join(folder, 'samples/step-00000002.png')),
  );
  assert.deepEqual([steps[1]['samples/sheet.width'], steps[1]['samples/sheet.height']], [6, 4]);
  assert.equal(records.flatMap((record) => messages(record, 18)).length, 1, 'it has ended');

  writeFileSync(path.join(folder, 'run.lock'), '');
  writeFileSync(path.join(folder, 'log.ndjson'), `${JSON.stringify(LINES[0])}\n`);
  assert.equal(exportWandb(folder, out), made);
  const again = recordsOf(readFileSync(file));
  assert.equal(again.flatMap((record) => messages(record, 2)).length, 1);
  assert.equal(again.flatMap((record) => messages(record, 18)).length, 0, 'it goes on');
});

test('records are divided among blocks wherever they end', () => {
  for (let length = 32_700; length < 32_780; length++) {
    const file = new WandbFile();
    file.header('a');
    file.summary(new Map([['x', 'y'.repeat(length)]]));
    file.summary(new Map([['z', 'y'.repeat(70_000)]]));
    file.exit(3);
    const records = recordsOf(file.finish());
    assert.equal(records.length, 4);
    assert.deepEqual(itemsOf(messages(records[1], 3)[0]), { x: 'y'.repeat(length) });
    assert.deepEqual(itemsOf(messages(records[2], 3)[0]), { z: 'y'.repeat(70_000) });
  }
});

test('a run of MLflow: a file a metric, within its folder whatever the names, and written anew when the run went on', async () => {
  const folder = await runFolder();
  const store = path.join(temporaryFolder(), 'mlruns');
  const made = exportMlflow(folder, store);
  const text = (file: string): string => readFileSync(path.join(made, file), 'utf8');
  assert.match(path.relative(store, made), /^\d{18}\/[0-9a-f]{32}$/);
  assert.match(readFileSync(path.join(made, '../meta.yaml'), 'utf8'), /^name: "repa"$/m);
  assert.equal(text('metrics/loss'), '1795860001000 2 1\n1795860004000 1e-9 2\n');
  assert.deepEqual(readdirSync(path.join(made, 'metrics')).sort(), ['loss', 'samples', 'seconds']);
  assert.deepEqual(readdirSync(path.join(made, 'metrics/samples')).sort(), ['_', 'f_D']);
  assert.equal(text('metrics/samples/_/F_D'), '1795860004000 3 2\n');
  assert.equal(text('tags/mlflow.runName'), 'ckpt');
  assert.match(text('meta.yaml'), /^status: 3$/m);
  assert.ok(text('meta.yaml').includes(`artifact_uri: "${pathToFileURL(made).href}/artifacts"`));
  assert.deepEqual(readdirSync(path.join(made, 'artifacts/samples')), ['step-00000002.png']);

  const longer = [...LINES, { step: 3, loss: 0.5, at: '2026-11-28T10:00:05.000Z' }];
  writeFileSync(path.join(folder, 'log.ndjson'), longer.map((line) => `${JSON.stringify(line)}\n`).join(''));
  writeFileSync(path.join(folder, 'run.lock'), '');
  assert.equal(exportMlflow(folder, store), made);
  assert.match(text('metrics/loss'), /\n1795860005000 0\.5 3\n$/);
  assert.match(text('meta.yaml'), /^status: 1$/m);
  assert.match(text('meta.yaml'), /^end_time: null$/m);
  const empty = await runFolder([]);
  assert.throws(() => exportMlflow(empty, store), DataError);
  assert.throws(() => exportWandb(empty, store), DataError);
});
