/**
 * Where verbs write: what cannot be written to shows before the work, and whoever reads may come late or leave early.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fixtureWeightsFile } from '../fixture-weights.js';
import { PROGRAM, repa, shell, temporaryFolder } from './binary.js';
import { makeTensors } from './support.js';
import { parseLog, prepared, RUN } from './training-run.js';

const NUMBERS = { name: 'feature', dtype: 'f32', shape: [2, 3], dimNames: ['tokens', 'dim'] } as const;

test('an output that cannot be written is named before the work begins', async (t) => {
  const cwd = temporaryFolder(t);
  mkdirSync(path.join(cwd, 'folder'));
  writeFileSync(path.join(cwd, 'file'), '');
  symlinkSync('nowhere', path.join(cwd, 'dangling'));
  symlinkSync('b', path.join(cwd, 'a'));
  symlinkSync('a', path.join(cwd, 'b'));
  // No checkpoint and no log is there: whoever looked for one would have said so.
  const cases: [string[], number, RegExp][] = [
    [['sample', '--grid', 'folder'], 2, /--grid folder: is a folder/],
    [['sample', '--png', 'file'], 2, /--png file: is a file, not a folder/],
    [['sample', '--png', 'here', '-o', './here'], 2, /--png and --out both write to|--out and --png both write to/],
    [['import', 'folder', '-o', 'folder/'], 2, /--out folder\/: holds the input/],
    [['sample', '-o', 'file/x'], 2, /a part of the path is a file/],
    [['sample', '-o', 'a'], 2, /a: symbolic links lead in a circle/],
    [['sample', '-o', 'x'.repeat(300)], 2, /the name is longer than the file system allows/],
    [['sample', '-o', 'missing/x'], 66, /cannot write into missing: no such folder/],
    [['sample', '-o', 'dangling/x'], 66, /cannot write into dangling: a symbolic link to nowhere, which is not there/],
    [['export', 'file', '-o', 'x.pt'], 2, /file: is a file, and x.pt is made of a checkpoint/],
    [['plot', 'none', '-o', 'missing/x.png'], 66, /cannot write into missing: no such folder/],
    [['fid', 'none', '--save-stats', 'folder'], 2, /--save-stats folder: is a folder/],
    [['train', '--out', 'file'], 2, /--out file: is a file, not a folder/],
    [['sample', '--png', 'dangling'], 2, /--png dangling: is a link that leads nowhere/],
    [['train', '--out', 'dangling/run'], 2, /--out dangling\/run: .*dangling is a link that leads nowhere/],
    [
      ['import', fixtureWeightsFile('sit'), '--heads', '3', '-o', 'dangling'],
      2,
      /dangling.*something else is there, or a link/,
    ],
    [['sample', '--png', '-'], 2, /--png -: a folder cannot be written to stdout/],
    [['sample', '--grid', '-', '-o', '-'], 2, /--grid and --out both write to stdout/],
    [['merge-stats', 'file', '-o', '-'], 2, /--out -: an \.npz is not written in order/],
    [['split', 'file', '--rest', '-'], 2, /both parts would go to stdout/],
    [['export', 'file', '--to', 'wandb', '-o', '-'], 2, /-o -: --to wandb writes a folder/],
    [['sample', '-o', '/proc/x'], 69, /\/proc\/x/],
  ];
  for (const [args, expected, message] of cases) {
    const { code, stderr } = await repa(args, { cwd });
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /bug of repa/);
    if (args.at(-1) !== '/proc/x') assert.equal(code, expected, stderr);
  }
  assert.deepEqual(readdirSync(cwd).sort(), ['a', 'b', 'dangling', 'file', 'folder'], 'and nothing was left');
});

test('descriptors, links that lead nowhere yet and process substitution take streams', async (t) => {
  const cwd = temporaryFolder(t);
  await makeTensors(path.join(cwd, 'data'), ['a', 'b'], NUMBERS);
  const { stdout } = await repa(['cat', 'data'], { cwd });
  // The command is part of the header: its length differs, but what follows the schema does not.
  const rows = (bytes: Uint8Array): Promise<string> =>
    repa(['info', '-', '--json'], { cwd, input: bytes }).then((shown) => JSON.parse(shown.stdout.toString()).rows);
  const whole = await rows(stdout);
  assert.equal(whole, 2);
  symlinkSync('target', path.join(cwd, 'link'));
  const lines = [
    'repa cat data -o /dev/stdout > out',
    'repa cat data -o >(cat > out); sleep 0.3',
    'repa cat data -o /dev/fd/7 7> out',
    'repa cat data -o link && cp target out',
    'cat < <(repa cat data) > out',
  ];
  for (const line of lines) {
    const { code, stderr } = await shell(`rm -f out; ${line}`, { cwd });
    assert.equal(code, 0, `${line}: ${stderr}`);
    assert.equal(await rows(readFileSync(path.join(cwd, 'out'))), 2, line);
  }
});

test('- is stdout where a file is written, and stdin where a list is read, once', async (t) => {
  const cwd = temporaryFolder(t);
  await makeTensors(path.join(cwd, 'data'), ['a', 'b'], NUMBERS);
  writeFileSync(path.join(cwd, 'log.ndjson'), '{"step":1,"loss":0.5}\n');
  const cases: [string, number, RegExp][] = [
    ['repa export log.ndjson --to csv -o -', 0, /^step,evaluation,loss\r\n1,,0\.5\r\n$/],
    ['repa report log.ndjson -o - -q | (sleep 0.2; tail -n 1)', 0, /<\/html>/],
    ['echo b | repa select data --keys - | repa verify', 0, /^-: ok, 1 rows/],
    ['echo b | repa select --keys -', 2, /cannot both come from stdin/],
    ['cat data | repa cat - data -', 2, /stdin can be read once/],
    ['repa diff <(cat data) data', 2, /which a pipe cannot give/],
    ['repa plot <(cat log.ndjson) -o x.svg', 65, /not a regular file/],
    ['repa train --latents - --lambda 0', 66, /-: no such file, and stdin is not read here/],
  ];
  for (const [line, expected, words] of cases) {
    const { code, stdout, stderr } = await shell(line, { cwd });
    assert.equal(code, expected, `${line}: ${stderr}`);
    assert.match(stdout.toString() + stderr, words, line);
  }
  assert.deepEqual(readdirSync(cwd).sort(), ['data', 'log.ndjson'], 'and no file is called -');
});

test('info reads a stream from a pipe that has a name, and says of others that they cannot be sought in', async (t) => {
  const cwd = temporaryFolder(t);
  await makeTensors(path.join(cwd, 'data'), ['a', 'b'], NUMBERS);
  const { code, stdout, stderr } = await shell('repa info --json <(cat data)', { cwd });
  assert.equal(code, 0, stderr);
  assert.equal(JSON.parse(stdout.toString()).rows, 2);
  const array = await shell('repa import <(cat data) --like data', { cwd });
  assert.ok(array.code !== 0 && array.code !== 70, array.stderr);
});

test('a named pipe waits for its reader, and hears signals meanwhile', async (t) => {
  const cwd = temporaryFolder(t);
  await makeTensors(path.join(cwd, 'data'), ['a', 'b'], NUMBERS);
  execFileSync('mkfifo', ['pipe'], { cwd });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const child = spawn(process.execPath, [PROGRAM, 'cat', 'data', '-o', 'pipe'], { cwd, stdio: 'pipe' });
    const ended = new Promise<string | null>((resolve) => child.on('close', (_code, by) => resolve(by)));
    let asked = 0; // until it listens, a signal ends it in the same way
    const timer = setInterval(() => asked++ < 100 && child.kill(signal), 300);
    assert.equal(await ended, signal);
    clearInterval(timer);
  }
  const { code, stdout, stderr } = await shell('repa cat data -o pipe & sleep 0.5; cat pipe; wait $!', { cwd });
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse((await repa(['info', '-', '--json'], { cwd, input: stdout })).stdout.toString()).rows, 2);
});

test('training goes on when nobody reads its stdout any more, or no disk takes it', async (t) => {
  const cwd = await prepared(t);
  const line = `(repa train ${RUN.join(' ')} --steps 12; echo "exit $?" >&2) | head -n 2`;
  const { code, stdout, stderr } = await shell(line, { cwd });
  assert.equal(code, 0, stderr);
  assert.equal(parseLog(stdout.toString()).length, 2);
  assert.match(stderr, /nobody reads stdout any more: the log goes on in ckpt\/log.ndjson[\s\S]*exit 0/);
  assert.deepEqual(readdirSync(path.join(cwd, 'ckpt')).sort(), ['log.ndjson', 'step-0000012']);
  assert.equal(parseLog(readFileSync(path.join(cwd, 'ckpt/log.ndjson'), 'utf8')).length, 12);
  const full = await shell(`repa train ${RUN.join(' ')} --steps 1 --out full > /dev/full`, { cwd });
  assert.equal(full.code, 0, full.stderr);
  assert.match(
    full.stderr,
    /stdout takes no more \(no space left on the device\): the log goes on in full\/log.ndjson/,
  );
  assert.deepEqual(readdirSync(path.join(cwd, 'full')).sort(), ['log.ndjson', 'step-0000001']);
});

test('the signals of terminals and batch systems save a checkpoint as SIGTERM does', async (t) => {
  const cwd = await prepared(t);
  const ends = { SIGHUP: [null, 'SIGHUP'], SIGUSR1: [138, null], SIGUSR2: [null, 'SIGUSR2'] } as const;
  for (const [signal, end] of Object.entries(ends)) {
    const args = ['train', ...RUN, '--steps', '100000', '--out', signal];
    const child = spawn(process.execPath, [PROGRAM, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let words = '';
    child.stderr.on('data', (chunk) => {
      words += chunk;
    });
    child.stdout.once('data', () => child.kill(signal as NodeJS.Signals)).resume();
    const ended = await new Promise((resolve) => child.on('close', (code, by) => resolve([code, by])));
    assert.deepEqual(ended, end, words);
    assert.doesNotMatch(words, /Debugger/);
    assert.ok(
      readdirSync(path.join(cwd, signal)).some((name) => name.startsWith('step-')),
      signal,
    );
  }
});

test('names and metadata are shown without their control characters', async (t) => {
  const cwd = temporaryFolder(t);
  const hostile = '\u001b]0;owned\u0007\u001b[2J\u009b31m\u202e';
  await makeTensors(path.join(cwd, 'data'), ['a'], NUMBERS, { 'repa.model': `x${hostile}` });
  writeFileSync(path.join(cwd, `bad${hostile}`), 'no stream');
  const outcomes = [
    await repa(['info', 'data'], { cwd }),
    await repa(['info', `bad${hostile}`], { cwd }),
    await repa(['verify', `bad${hostile}`], { cwd }),
    await repa(['cat', `none${hostile}`], { cwd }),
    await repa([`verb${hostile}`], { cwd }),
    await repa(['cat', `--option${hostile}`], { cwd }),
  ];
  for (const { stdout, stderr } of outcomes) {
    const words = stdout.toString() + stderr;
    assert.match(words, /\\u001b\]0;owned\\u0007/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
    assert.doesNotMatch(words, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/);
  }
});
