import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { writeFileAtomic } from '../../../src/lib/files/atomic-file.js';
import { removeStale, temporaryName } from '../../../src/lib/files/temporary-files.js';
import { temporaryFolder } from '../../support.js';

test('what a dead process left goes, what a running one writes stays', () => {
  const folder = temporaryFolder();
  const ours = temporaryName(path.join(folder, 'latents'));
  const { pid } = spawnSync(process.execPath, ['--version']);
  const dead = ours.replace(`-${process.pid}-`, `-${pid}-`);
  assert.notEqual(dead, ours);
  for (const file of [ours, dead]) writeFileSync(file, 'half');
  removeStale(folder);
  assert.deepEqual([ours, dead].map(existsSync), [true, false]);
});

test('the files of another machine go when nothing was written for a day', () => {
  const folder = temporaryFolder();
  const foreign = ['fresh', 'old'].map((name) => path.join(folder, `.${name}.00000000-${process.pid}-0.tmp`));
  for (const file of foreign) writeFileSync(file, 'half');
  const daysAgo = Date.now() / 1000 - 25 * 3600;
  utimesSync(foreign[1], daysAgo, daysAgo);
  removeStale(folder);
  assert.deepEqual(foreign.map(existsSync), [true, false]);
});

test('files of other programs stay, and a new file sweeps its folder', () => {
  const folder = temporaryFolder();
  const { pid } = spawnSync(process.execPath, ['--version']);
  const name = path.basename(temporaryName(path.join(temporaryFolder(), 'a'))).replace(`-${process.pid}-`, `-${pid}-`);
  const others = ['.swp.tmp', '.notes.tmp', 'part.tmp', '.x.1234-5.tmp'];
  for (const file of [name, ...others]) writeFileSync(path.join(folder, file), '');
  writeFileAtomic(path.join(folder, 'new'), () => {});
  assert.deepEqual(readdirSync(folder).sort(), [...others, 'new'].sort());
});
