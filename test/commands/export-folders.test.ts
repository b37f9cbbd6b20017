/** Exports into folders and archives: whole or not there, and every row under a name of its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { rawRow } from '../../src/lib/stream/rows.js';
import { atomicFileSink } from '../../src/lib/stream/sink.js';
import { TensorWriter } from '../../src/lib/stream/writer.js';
import { PROGRAM, repa, shell, temporaryFolder } from './binary.js';

type Row = readonly [key: string, label: number];

/** A stream of pictures of 2x2 pixels, all different. */
async function writeImages(file: string, rows: readonly Row[]): Promise<void> {
  const columns = [{ name: 'image', dtype: 'u8' as const, shape: [2, 2, 3] }];
  const writer = new TensorWriter(atomicFileSink(file), { columns, metadata: {} });
  for (const [i, [key, label]] of rows.entries()) {
    await writer.append(key, label, { image: new Uint8Array(12).fill(i % 251) });
  }
  await writer.end();
}

async function readImages(file: string): Promise<string[]> {
  const rows: string[] = [];
  for await (const batch of await openTensorStream(file)) {
    for (let row = 0; row < batch.rows; row++) {
      rows.push(`${batch.keys[row]} ${batch.labels[row]} ${rawRow(batch, 'image', row)[0]}`);
    }
  }
  return rows.sort();
}

test('keys that differ in their ending, in case or in dots go through folders and archives and come back', async (t) => {
  const cwd = temporaryFolder(t);
  const rows: Row[] = [
    ['a.png', 0],
    ['a.PNG', 1],
    ['a.jpg', 2],
    ['A.png', -1],
    ['cat/1.png', 3],
    ['cat/1.webp', -1],
    ['cat/1.5.png', 4],
    ['cat/1_5.png', 5],
    ['dog/1.png', -1],
  ];
  await writeImages(path.join(cwd, 'images'), rows);
  for (const out of ['folder/', 'x.tar']) {
    const { code, stderr } = await repa(['export', 'images', '-o', out], { cwd });
    assert.equal(code, 0, stderr);
    if (out === 'folder/') assert.match(stderr, /whose files have other names, since others took theirs: 4/);
    assert.equal((await repa(['import', out.replace(/\/$/, ''), '-o', 'back'], { cwd })).code, 0);
    assert.deepEqual(await readImages(path.join(cwd, 'back')), await readImages(path.join(cwd, 'images')), out);
  }
});

test('a folder that holds anything is not written into', async (t) => {
  const cwd = temporaryFolder(t);
  await writeImages(path.join(cwd, 'images'), [['b.png', 0]]);
  mkdirSync(path.join(cwd, 'empty'));
  assert.equal((await repa(['export', 'images', '-o', 'empty/'], { cwd })).code, 0);
  const second = await repa(['export', 'images', '-o', 'empty/'], { cwd });
  assert.equal(second.code, 2);
  assert.match(second.stderr, /empty\/: holds files already/);
  writeFileSync(path.join(cwd, 'file'), '');
  assert.equal((await repa(['export', 'images', '-o', 'file/'], { cwd })).code, 2);
  assert.deepEqual(readdirSync(path.join(cwd, 'empty')).sort(), ['b.png', 'dataset.json']);
});

test('an export that breaks off leaves no folder', async (t) => {
  const cwd = temporaryFolder(t);
  await writeImages(
    path.join(cwd, 'images'),
    Array.from({ length: 40 }, (_, i): Row => [`${'x'.repeat(40)}${i}.png`, 0]),
  );
  const bytes = readFileSync(path.join(cwd, 'images'));
  writeFileSync(path.join(cwd, 'cut'), bytes.subarray(0, -8));
  await writeImages(path.join(cwd, 'twin'), [['a.png', 0]]);
  writeFileSync(path.join(cwd, 'twins'), Buffer.concat([0, 1].map(() => readFileSync(path.join(cwd, 'twin')))));
  for (const [input, message] of [
    ['cut', /truncated|end/],
    ['twins', /rows 0 and 1 have the same key 'a\.png'/],
  ] as const) {
    const { code, stderr } = await repa(['export', input, '-o', 'out/'], { cwd });
    assert.equal(code, 65, stderr);
    assert.match(stderr, message);
  }
  const full = await shell('ulimit -f 1; repa export images -o out/', { cwd });
  assert.equal(full.code, 69, full.stderr);
  assert.match(full.stderr, /a file grew past/);
  assert.deepEqual(readdirSync(cwd).sort(), ['cut', 'images', 'twin', 'twins']);
});

test('a killed export leaves nothing under its name, and the next one removes what it left', async (t) => {
  const cwd = temporaryFolder(t);
  await writeImages(
    path.join(cwd, 'images'),
    Array.from({ length: 20_000 }, (_, i): Row => [`${i}.png`, 0]),
  );
  const child = spawn(process.execPath, [PROGRAM, 'export', 'images', '-o', 'out/'], { cwd, stdio: 'ignore' });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  // `.out.`: the folder itself. A `.output.` is there for a moment, too, when the verb tries whether it may write.
  const unfinished = () => readdirSync(cwd).filter((name) => name.startsWith('.out.'));
  while (unfinished().length === 0 || readdirSync(path.join(cwd, unfinished()[0])).length < 20) await wait(2);
  child.kill('SIGKILL');
  await ended;
  assert.equal(existsSync(path.join(cwd, 'out')), false);
  await writeImages(path.join(cwd, 'few'), [['a.png', 0]]);
  assert.equal((await repa(['export', 'few', '-o', 'out/'], { cwd })).code, 0);
  assert.deepEqual(unfinished(), []);
  assert.deepEqual(readdirSync(path.join(cwd, 'out')).sort(), ['a.png', 'dataset.json']);
});

test('names that lead out of an archive are refused', async (t) => {
  const cwd = temporaryFolder(t);
  for (const key of ['../../x', '/etc/x', 'a//b', '.hidden/a', 'a\\b']) {
    await writeImages(path.join(cwd, 'images'), [[key, 0]]);
    const { code, stderr } = await repa(['export', 'images', '-o', 'x.tar'], { cwd });
    assert.equal(code, 65, stderr);
    assert.match(stderr, /is no name of a file in a folder/);
  }
  assert.deepEqual(readdirSync(cwd), ['images']);
});
