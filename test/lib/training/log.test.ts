/** The log of a run that goes on: what it holds up to the checkpoint, however long it is. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openLog } from '../../../src/lib/training/log.js';
import { temporaryFolder } from '../../support.js';

test('a log that is read in pieces keeps its lines up to the checkpoint, and what was measured', async () => {
  const folder = temporaryFolder();
  const file = path.join(folder, 'log.ndjson');
  const count = 60_000; // more than one piece
  const lines = Array.from({ length: count }, (_, i) => `{"step":${i + 1},"note":"\u00e9${'x'.repeat(70)}"}\n`);
  lines.splice(100, 0, '{"step":100,"evaluation":"held-out"}\n', '{"step":100,"evaluation":"samples"}\n');
  writeFileSync(file, `${lines.join('')}{"step":100`);
  const log = await openLog(folder, count - 1, () => {});
  await log.close();
  assert.deepEqual([...log.measuresOf(100)], ['held-out', 'samples']);
  assert.deepEqual([...log.measuresOf(count)], []);
  assert.ok(readFileSync(file, 'utf8') === lines.slice(0, -1).join(''));
});
