/** Values from repa.toml and the environment count exactly as those of the command line do. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { homeFolder } from '../../src/lib/files/home.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { repa, temporaryFolder } from './binary.js';
import { makeTensors } from './support.js';

const LOG = [1, 2, 3].map((step) => `${JSON.stringify({ step, velocity_loss: 1 / step })}\n`).join('');
const NUMBERS = { name: 'feature', dtype: 'f32', shape: [2, 3], dimNames: ['tokens', 'dim'] } as const;

test('a required option may come from repa.toml or from the environment', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(path.join(cwd, 'log.ndjson'), LOG);
  writeFileSync(path.join(cwd, 'repa.toml'), '[plot]\nout = "x.svg"\n');
  const file = await repa(['plot', 'log.ndjson'], { cwd });
  assert.deepEqual([file.code, file.stderr], [0, 'repa.toml: out = "x.svg"\n']);
  assert.ok(existsSync(path.join(cwd, 'x.svg')));
  const variable = await repa(['plot', 'log.ndjson'], { cwd, env: { REPA_OUT: 'y.svg' } });
  assert.deepEqual([variable.code, variable.stderr], [0, ''], 'nothing of the file was used');
  assert.ok(existsSync(path.join(cwd, 'y.svg')));
  const empty = await repa(['plot', 'log.ndjson', '-o', ''], { cwd, env: { REPA_OUT: '', REPA_CONFIG: '' } });
  assert.equal(empty.code, 0, empty.stderr);
  const nothing = await repa(['plot', 'log.ndjson', '-o', ''], { cwd, env: { REPA_CONFIG: '/dev/null' } });
  assert.equal(nothing.code, 2);
  assert.match(nothing.stderr, /required option '-o, --out <file>' not specified/);
});

test('probe takes its sets from repa.toml, with the numbers of the command line', async (t) => {
  const cwd = temporaryFolder(t);
  const keys = Array.from({ length: 40 }, (_, i) => `${i}`);
  await makeTensors(path.join(cwd, 'feats'), keys, NUMBERS);
  const args = ['probe', '--json', '--threads', '1', '--metric', 'knn'];
  const said = await repa([...args, '--train', 'feats', '-k', '3'], { cwd });
  writeFileSync(path.join(cwd, 'repa.toml'), 'neighbours = 3\n[probe]\ntrain = "feats"\n');
  const read = await repa(args, { cwd });
  assert.equal(read.code, said.code, read.stderr);
  assert.deepEqual(read.stdout, said.stdout);
});

test('options of a file that exclude each other are refused, and give way to the command line', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(path.join(cwd, 'repa.toml'), '[sample]\nraw = true\nema = 0.99\n');
  const both = await repa(['sample'], { cwd });
  assert.equal(both.code, 2);
  assert.match(both.stderr, /option '--raw' \(repa.toml\) cannot be used with option '--ema <average>' \(repa.toml\)/);
  const shown = await repa(['sample', '--raw', '--ema', '0.99'], { cwd });
  assert.match(shown.stderr, /option '--raw' cannot be used with option '--ema <average>'/);
  writeFileSync(path.join(cwd, 'repa.toml'), '[sample]\nraw = true\n');
  const stronger = await repa(['sample', '--ema', '0.99', '--ckpt', 'none'], { cwd });
  assert.equal(stronger.code, 66, 'only the checkpoint is missing');
});

test('a repa.toml that was found may not choose what is written outside of its folder', async (t) => {
  const cwd = temporaryFolder(t);
  const folder = path.join(cwd, 'downloaded');
  mkdirSync(folder);
  const victim = path.join(cwd, 'thesis.tex');
  writeFileSync(victim, 'mine');
  symlinkSync('..', path.join(folder, 'up'));
  symlinkSync('../new', path.join(folder, 'dangling'));
  await makeTensors(path.join(folder, 'data'), ['a'], NUMBERS);
  for (const out of ['../thesis.tex', victim, 'up/thesis.tex', 'dangling', 'x/../../thesis.tex']) {
    writeFileSync(path.join(folder, 'repa.toml'), `out = "${out}"\n`);
    const { code, stdout, stderr } = await repa(['cat', 'data'], { cwd: folder });
    assert.deepEqual([code, stdout.length], [2, 0], out);
    assert.match(stderr, /repa.toml: out = .* would write outside of the folder/);
    assert.match(stderr, /--out on the command line, or name the file with --config/);
  }
  const named = await repa(['cat', 'data', '--config', 'repa.toml'], { cwd: folder });
  assert.equal(named.code, 0, named.stderr);
  writeFileSync(path.join(folder, 'repa.toml'), 'out = "copy"\n');
  const inside = await repa(['cat', 'data'], { cwd: folder });
  assert.deepEqual([inside.code, inside.stderr], [0, 'repa.toml: out = "copy"\n']);
  const reader = await openTensorStream(path.join(folder, 'copy'));
  await reader.close();
});

test('a repa.toml of any wrong shape is refused with its file and its key', async (t) => {
  const cwd = temporaryFolder(t);
  const cases: [string, RegExp][] = [
    ['out = 1979-05-27\n', /repa\.toml: out: it takes a value .*, not a date/],
    ['out = [[1]]\n', /repa\.toml: out: .* not a list in a list/],
    ['[[head]]\nrows = 1\n', /repa\.toml: no verb has an option 'head'/],
    ['[head]\nrows = {}\n', /repa\.toml: \[head\] rows: .* not a table/],
    ['[head.rows]\nn = 1\n', /repa\.toml: \[head\] rows: .* not a table/],
    ['[head]\nrows = nan\n', /repa\.toml: \[head\] rows: It takes a whole number/],
    ['[head]\nrows = 1e400\n', /rows: It takes a whole number/],
    ['[head]\nquiet = "perhaps"\n', /quiet: It takes true or false/],
    ['[head]\nbatch-size = 1\n', /\[head\] has no option 'batch-size'/],
    ['latent = "x"\n', /no verb has an option 'latent'[\s\S]*'latents'/],
    ['config = "x"\n', /no verb has an option 'config' that a file may set/],
    ['batch-size = 1\nbatch_size = 1\n', /has 'batch-size' twice/],
    ['[head]\nrows = 99999999999999999999\n', /repa\.toml/],
    ['"__proto__" = 1\n', /repa\.toml/],
    ['[constructor]\n', /table \[constructor\] names no verb/],
    ['\u0000', /not valid TOML/],
  ];
  for (const [text, message] of cases) {
    writeFileSync(path.join(cwd, 'repa.toml'), text);
    const { code, stderr } = await repa(['head', 'none'], { cwd });
    assert.equal(code, 2, `${text}${stderr}`);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /bug of repa|Error:/);
  }
  const folder = await repa(['head', 'none', '--config', '.'], { cwd });
  assert.equal(folder.code, 2);
  assert.match(folder.stderr, /\. cannot be read as a configuration file \(EISDIR\)/);
});

test('a variable that is set to nothing counts as not set', () => {
  const before = process.env.REPA_HOME;
  try {
    process.env.REPA_HOME = '';
    assert.match(homeFolder('weights'), /\.cache\/repa\/weights$/);
    process.env.REPA_HOME = '/somewhere';
    assert.equal(homeFolder('weights'), '/somewhere/weights');
  } finally {
    process.env.REPA_HOME = before;
    if (before === undefined) delete process.env.REPA_HOME;
  }
});
