import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { DataError } from '../../../src/lib/errors.js';
import { exportEvents, exportLogTable } from '../../../src/lib/exchange/export-log.js';
import { temporaryFolder } from '../../support.js';

async function runFolder(lines: string): Promise<string> {
  const folder = path.join(temporaryFolder(), 'ckpt');
  mkdirSync(path.join(folder, 'samples'), { recursive: true });
  writeFileSync(path.join(folder, 'log.ndjson'), lines);
  const picture = sharp({ create: { width: 6, height: 4, channels: 3, background: '#c33' } });
  await picture.png().toFile(path.join(folder, 'samples/step-00000002.png'));
  return folder;
}

const LINES =
  '{"step":1,"loss":2,"seconds":0.5}\n{"step":2,"loss":1,"seconds":0.5}\n{"step":2,"evaluation":"samples","F,D":3,"sampler":{}}\n';

/** How many records a file holds; their frames must fill it. */
function recordsOf(file: string): number {
  const bytes = readFileSync(file);
  let count = 0;
  let offset = 0;
  for (; offset < bytes.length; count++) offset += 16 + Number(bytes.readBigUInt64LE(offset));
  assert.equal(offset, bytes.length);
  return count;
}

test('an event file of lines, samples and no settings yet, written anew under its name when the run went on', async () => {
  const folder = await runFolder(LINES);
  const out = path.join(temporaryFolder(), 'tb');
  const file = exportEvents(folder, out);
  assert.match(path.basename(file), /^events\.out\.tfevents\./); // what TensorBoard looks for
  assert.equal(recordsOf(file), 1 + 3 + 1);
  const before = readFileSync(file);
  writeFileSync(path.join(folder, 'log.ndjson'), `${LINES}{"step":3,"loss":1,"seconds":0.5}\n`);
  assert.equal(exportEvents(folder, out), file);
  assert.deepEqual(readdirSync(out), [path.basename(file)]);
  assert.equal(recordsOf(file), 6);
  assert.deepEqual(readFileSync(file).subarray(0, before.length), before, 'a reader goes on where it was');
});

test('a table of a log has a row a line and quotes what needs it', async () => {
  const folder = await runFolder(LINES);
  const out = path.join(temporaryFolder(), 'log.csv');
  exportLogTable(folder, out);
  assert.equal(
    readFileSync(out, 'utf8'),
    'step,evaluation,loss,seconds,"F,D"\r\n1,,2,0.5,\r\n2,,1,0.5,\r\n2,samples,,,3\r\n',
  );
  assert.throws(() => exportLogTable(path.join(out, '..'), out), /no checkpoint in/);
  const empty = await runFolder('');
  assert.throws(() => exportEvents(empty, out), DataError);
});

test('steps that are none, times that are none and sheets that are no pictures are refused or passed over', async () => {
  const out = path.join(temporaryFolder(), 'tb');
  for (const step of ['1.5', '-1', '1e300', '"2"']) {
    const folder = await runFolder(`{"step":${step},"loss":1}\n`);
    assert.throws(() => exportEvents(folder, out), /no whole number/);
  }
  const folder = await runFolder('{"step":1,"at":"yesterday","loss":1}\n');
  const bytes = readFileSync(exportEvents(folder, out));
  const second = 16 + Number(bytes.readBigUInt64LE(0)); // behind the first record and its frame
  assert.ok(Number.isFinite(bytes.readDoubleLE(second + 12 + 1))); // behind a length, its checksum and the tag of a time
  writeFileSync(path.join(folder, 'samples/step-00000002.png'), 'no');
  assert.throws(() => exportEvents(folder, out), /step-00000002\.png: is no PNG/);
});
