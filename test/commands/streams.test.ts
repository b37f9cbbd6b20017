import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { PROGRAM, repa, shell, temporaryFolder } from './binary.js';
import { makeTensors } from './support.js';

const COLUMN = { name: 'feature', dtype: 'f16', shape: [4, 3] } as const;

/** Two streams, `a` of 5 rows and `b` of 3. */
async function streams(t: TestContext): Promise<string> {
  const cwd = temporaryFolder(t);
  await makeTensors(path.join(cwd, 'a'), ['0', '1', '2', '3', '4'], COLUMN, {
    'repa.command': 'first',
    'repa.model': 'model',
  });
  await makeTensors(path.join(cwd, 'b'), ['5', '6', '7'], COLUMN, { 'repa.command': 'second', 'repa.model': 'model' });
  return cwd;
}

async function keysOf(file: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const batch of await openTensorStream(file)) keys.push(...batch.keys);
  return keys;
}

test('cat joins streams into one, and refuses others', async (t) => {
  const cwd = await streams(t);
  assert.equal((await repa(['cat', 'a', 'b', '-o', 'ab'], { cwd })).code, 0);
  assert.deepEqual(await keysOf(path.join(cwd, 'ab')), ['0', '1', '2', '3', '4', '5', '6', '7']);
  await makeTensors(path.join(cwd, 'wide'), ['8'], { ...COLUMN, shape: [4, 5] });
  const other = await repa(['cat', 'a', 'wide', '-o', 'none'], { cwd });
  assert.equal(other.code, 65);
  assert.match(other.stderr, /wide: has feature: f16 \[4, 5\], but a has feature: f16 \[4, 3\]/);
});

test('cat refuses streams whose values do not mean the same, unless told', async (t) => {
  const cwd = temporaryFolder(t);
  const make = (name: string, metadata: Record<string, string>) =>
    makeTensors(path.join(cwd, name), [name], COLUMN, { 'repa.model': 'vae', 'repa.latent.scale': '[1]', ...metadata });
  await make('a', { 'repa.command': 'repa x', 'repa.classes': '["cat","dog"]' });
  await make('other-command', { 'repa.command': 'repa y', 'repa.classes': '["cat"]' });
  await make('other-scale', { 'repa.latent.scale': '[2]' });
  await make('other-classes', { 'repa.classes': '["dog","cat"]' });
  assert.equal((await repa(['cat', 'a', 'other-command', '-o', 'ab'], { cwd })).code, 0);
  for (const [name, message] of [
    ['other-scale', /repa\.latent\.scale is \[1\] in one and \[2\] in the other/],
    ['other-classes', /class 0 is 'cat' in one and 'dog' in the other/],
  ] as const) {
    const refused = await repa(['cat', 'a', name, '-o', 'none'], { cwd });
    assert.equal(refused.code, 65);
    assert.match(refused.stderr, message);
    assert.equal((await repa(['cat', 'a', name, '--mixed', '-o', 'mixed'], { cwd })).code, 0);
  }
});

test('what cat(1) joins is one stream too; what it cuts is none', async (t) => {
  const cwd = await streams(t);
  const joined = await shell('cat a b | repa verify -', { cwd });
  assert.equal(joined.code, 0);
  assert.match(joined.stdout.toString(), /ok, 8 rows/);
  const cut = await shell('(head -c -8 a; cat b) | repa verify -', { cwd });
  assert.equal(cut.code, 1);
  assert.match(cut.stdout.toString(), /FAILED/);
});

test('head takes the first rows and stops its producer', async (t) => {
  const cwd = await streams(t);
  for (const [rows, expected] of [
    [0, []],
    [2, ['0', '1']],
    [99, ['0', '1', '2', '3', '4']],
  ] as const) {
    assert.equal((await repa(['head', '-n', String(rows), 'a', '-o', 'few'], { cwd })).code, 0);
    assert.deepEqual(await keysOf(path.join(cwd, 'few')), expected);
  }
  const piped = await shell('repa cat a b | repa head -n 1 | repa verify -', { cwd });
  assert.equal(piped.code, 0, piped.stderr);
});

test('verify names the input that failed, and goes on with the others', async (t) => {
  const cwd = await streams(t);
  const bytes = readFileSync(path.join(cwd, 'a'));
  bytes[bytes.length - 60] ^= 4;
  writeFileSync(path.join(cwd, 'flipped'), bytes);
  const { code, stdout } = await repa(['verify', 'flipped', 'b', '--json'], { cwd });
  assert.equal(code, 1);
  const [flipped, whole] = stdout
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(flipped.ok, false);
  assert.match(flipped.problem, /checksum/);
  assert.deepEqual(whole, { path: 'b', ok: true, rows: 3 });
});

test('verify finds keys that occur twice and values that are not finite', async (t) => {
  const cwd = await streams(t);
  await makeTensors(path.join(cwd, 'once'), ['x', 'y'], COLUMN);
  const twice = await shell('cat once once > twice; repa verify twice', { cwd });
  assert.match(twice.stdout.toString(), /FAILED: .*rows 0 and 2 have the same key 'x'/);
  await makeTensors(path.join(cwd, 'sick'), ['x', 'y'], { ...COLUMN, dtype: 'f32' }, {}, (values, row) => {
    if (row === 1) values[7] = Number.NaN;
  });
  assert.match((await repa(['verify', 'sick'], { cwd })).stdout.toString(), /'feature' of row 1 \('y'\) holds NaN/);
});

test('info tells what a stream holds and how it was made, from a file and from a pipe', async (t) => {
  const cwd = await streams(t);
  for (const line of ['repa info a --json', 'cat a | repa info - --json']) {
    const { code, stdout } = await shell(line, { cwd });
    assert.equal(code, 0);
    const { rows, columns, 'repa.model': model } = JSON.parse(stdout.toString());
    assert.deepEqual([rows, columns, model], [5, ['feature: f16 [4, 3]'], 'model']);
  }
});

test('binary output is refused on a terminal', async (t) => {
  const cwd = await streams(t);
  // script(1) gives the program a terminal, and hands on its exit status.
  const line = `script -qec "'${process.execPath}' '${PROGRAM}' cat a" /dev/null`;
  const { code, stdout } = await shell(line, { cwd });
  assert.equal(code, 2);
  assert.match(stdout.toString(), /stdout is a terminal[\s\S]*-o FILE/);
});

test('inputs that are pipes, and outputs that are links, are what the shell means by them', async (t) => {
  const cwd = await streams(t);
  const lines = ['repa info <(cat a) --json', 'ln -s later link; repa cat a b -o link; repa verify later'];
  for (const line of lines) {
    const { code, stdout, stderr } = await shell(line, { cwd });
    assert.equal(code, 0, `${line}\n${stderr}`);
    assert.match(stdout.toString(), /ok, 8 rows|"rows":5/, line);
  }
});

test('a pipe that nobody writes does not hold up a signal', async (t) => {
  const cwd = await streams(t);
  await shell('mkfifo p', { cwd });
  const line = `timeout --preserve-status -k 9 2 '${process.execPath}' '${PROGRAM}' verify p`;
  assert.equal((await shell(line, { cwd })).code, 143);
});

test('a path that cannot be is told with what is wrong with it', async (t) => {
  const cwd = await streams(t);
  const cases: [args: string[], code: number, message: RegExp][] = [
    [['cat', 'a', '-o', 'x'.repeat(300)], 2, /the name is longer than the file system allows/],
    [['cat', 'a', '-o', 'round'], 2, /symbolic links lead in a circle/],
    [['cat', 'a', '-o', 'a/b'], 2, /a part of the path is a file/],
    [['cat', 'x'.repeat(300)], 2, /the name is longer than the file system allows/],
    [['cat', 'round'], 2, /symbolic links lead in a circle/],
    [['head', 'a/b'], 2, /a part of the path is a file/],
  ];
  await shell('ln -s round round', { cwd });
  for (const [args, code, message] of cases) {
    const result = await repa(args, { cwd });
    assert.equal(result.code, code, `${args}: ${result.stderr}`);
    assert.match(result.stderr, message);
  }
  const many = await shell('mkdir parts; ulimit -n 64; repa split a -n 1 -o parts/; repa cat a', { cwd });
  assert.doesNotMatch(many.stderr, /bug/);
});

test('what a stream says of itself does not pass for what info saw', async (t) => {
  const cwd = temporaryFolder(t);
  await makeTensors(path.join(cwd, 'a'), ['0'], COLUMN, { rows: '9', path: '/elsewhere', 'repa.model': 'm' });
  for (const line of ['repa info a --json', 'cat a | repa info - --json']) {
    const facts = JSON.parse((await shell(line, { cwd })).stdout.toString());
    assert.equal(facts.rows, 1);
    assert.notEqual(facts.path, '/elsewhere');
    assert.equal(facts['repa.model'], 'm');
  }
});
