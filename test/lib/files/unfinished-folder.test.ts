/** Folders that are filled in place are not taken for whole before they are. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { UsageError } from '../../../src/lib/errors.js';
import { removeStale, temporaryName } from '../../../src/lib/files/temporary-files.js';
import { isUnfinished } from '../../../src/lib/files/unfinished-folder.js';
import { openImages } from '../../../src/lib/images/open-images.js';
import { writePng } from '../../../src/lib/images/png.js';
import { PictureOutput } from '../../../src/lib/sampling/picture-output.js';
import { temporaryFolder } from '../../support.js';

const root = temporaryFolder();
const picture = (shade: number) => ({ width: 1, height: 1, data: new Uint8Array(3).fill(shade) });

test('pictures of a run that goes on, or was stopped, are no set of images', async () => {
  const png = path.join(root, 'png');
  const output = new PictureOutput({ png }, 'job');
  await output.add('000000', picture(1));
  await assert.rejects(openImages(png), /png: is unfinished/);
  await output.end();
  assert.equal((await openImages(png)).total, 1);

  // A second run writes beside the first one's pictures, and not over them.
  const second = new PictureOutput({ png }, 'job');
  await assert.rejects(second.add('000000', picture(2)), UsageError);
  const third = new PictureOutput({ png }, 'job');
  await third.add('000001', picture(3));
  await third.end();
  assert.deepEqual(readdirSync(png).sort(), ['000000.png', '000001.png']);
});

test('a run that was killed is continued over its own pictures', async () => {
  const png = path.join(root, 'killed');
  mkdirSync(png);
  await writePng(path.join(png, '000000.png'), picture(1));
  writeFileSync(path.join(png, '.unfinished.0badc0de-999999-0.tmp'), '');
  assert.ok(isUnfinished(png));
  await assert.rejects(openImages(png), /is unfinished/);
  const again = new PictureOutput({ png }, 'job');
  await again.add('000000', picture(2));
  assert.throws(
    () => new PictureOutput({ png }, 'of another seed'),
    /killed: holds a part of what another command makes/,
  );
  writeFileSync(path.join(png, '.unfinished.0badc0de-999999-1.tmp'), 'half of a m');
  new PictureOutput({ png }, 'job'); // another part of the same
  await again.end();
});

test('what a killed export left is known by its name', async () => {
  const left = path.join(root, '.out.0badc0de-999999-0.tmp');
  mkdirSync(left);
  await writePng(path.join(left, 'a.png'), picture(1));
  await assert.rejects(openImages(left), /is unfinished/);
});

test('what looks for leftovers of killed processes leaves the mark, by which the folder is known to be unfinished', async () => {
  const png = path.join(root, 'swept');
  mkdirSync(png);
  // Of a process of this system that is gone.
  const child = spawnSync(process.execPath, ['-e', '']);
  const [, system] = /\.([0-9a-f]{8})-\d+-\d+\.tmp$/.exec(temporaryName(path.join(root, 'x')))!;
  for (const name of ['.unfinished.', '.000000.png.']) {
    writeFileSync(path.join(png, `${name}${system}-${child.pid}-0.tmp`), '');
  }
  removeStale(png);
  assert.deepEqual(readdirSync(png), [`.unfinished.${system}-${child.pid}-0.tmp`]);
  const again = new PictureOutput({ png }, 'job');
  await again.add('000000', picture(1));
  await again.end();
  assert.deepEqual(readdirSync(png), ['000000.png']);
});
