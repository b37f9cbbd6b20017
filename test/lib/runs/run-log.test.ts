import assert from 'node:assert/strict';
import { appendFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { RunLog } from '../../../src/lib/runs/run-log.js';
import { temporaryFolder } from '../../support.js';

test('a log is followed line by line, and half a line waits for its other half', () => {
  const file = path.join(temporaryFolder(), 'log.ndjson');
  writeFileSync(file, '{"step":1}\n{"step":2}\n{"st');
  const log = new RunLog(file);
  assert.deepEqual(log.grown(), { replaced: true, lines: [{ step: 1 }, { step: 2 }] });
  assert.deepEqual(log.grown(), { replaced: false, lines: [] });
  appendFileSync(file, 'ep":3}\n');
  assert.deepEqual(log.grown(), { replaced: false, lines: [{ step: 3 }] });
});

test('a log that a continued run wrote anew is read from its start', () => {
  const file = path.join(temporaryFolder(), 'log.ndjson');
  writeFileSync(file, '{"step":1}\n{"step":2}\n');
  const log = new RunLog(file);
  log.grown();
  writeFileSync(`${file}.new`, '{"step":1}\n{"step":2,"again":true}\n{"step":3}\n');
  renameSync(`${file}.new`, file);
  assert.deepEqual(log.grown(), { replaced: true, lines: [{ step: 1 }, { step: 2, again: true }, { step: 3 }] });
});

test('a line that is no JSON object is named', () => {
  const file = path.join(temporaryFolder(), 'log.ndjson');
  for (const broken of ['[1]', 'null', '"a"', '{']) {
    writeFileSync(file, `{"step":1}\n${broken}\n`);
    assert.throws(() => new RunLog(file).grown(), /log\.ndjson: line 2 is no JSON object/);
  }
});

test('a log of very many lines is read whole, and a line without end is refused', () => {
  const file = path.join(temporaryFolder(), 'log.ndjson');
  writeFileSync(file, '{"a":1}\n'.repeat(200_000));
  assert.equal(new RunLog(file).grown().lines.length, 200_000);
  writeFileSync(file, `{"a":1}\n{"a":"${'x'.repeat(2 ** 24)}"}\n{"a":2}\n`);
  assert.throws(() => new RunLog(file).grown(), /log\.ndjson: line 2 is longer than any of a log/);
});
