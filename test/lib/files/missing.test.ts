import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { whyLinkFails, whyMissing } from '../../../src/lib/files/missing.js';
import { readWhole } from '../../../src/lib/files/whole-file.js';

test('a link that cannot be followed is told from nothing', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'repa-missing-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const at = (name: string): string => path.join(folder, name);
  writeFileSync(at('file'), '');
  symlinkSync('file', at('link'));
  symlinkSync('nowhere', at('dangling'));
  symlinkSync('dangling', at('second'));
  symlinkSync('there', at('here'));
  symlinkSync('here', at('there'));
  assert.equal(whyMissing(at('none'), 'file or folder'), 'no such file or folder');
  assert.equal(whyMissing(at('dangling'), 'file'), 'a symbolic link to nowhere, which is not there');
  assert.equal(whyMissing(at('second/'), 'file'), 'a symbolic link to dangling, which is not there');
  assert.equal(whyLinkFails(at('here')), 'a symbolic link to there: symbolic links lead in a circle');
  for (const name of ['file', 'link', 'none']) assert.equal(whyLinkFails(at(name)), undefined);
});

test('a file is read to its end, whatever its size says', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'repa-whole-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7) % 256));
  for (const length of [0, 1, 200_000]) {
    writeFileSync(path.join(folder, 'file'), bytes.subarray(0, length));
    assert.deepEqual(await readWhole(path.join(folder, 'file')), bytes.subarray(0, length));
  }
  const pipe = path.join(folder, 'pipe'); // which has no size
  assert.equal(spawnSync('mkfifo', [pipe]).status, 0);
  const read = readWhole(pipe);
  spawn('dd', [`if=${path.join(folder, 'file')}`, `of=${pipe}`, 'bs=70000'], { stdio: 'ignore' });
  assert.deepEqual(await read, bytes);
});
