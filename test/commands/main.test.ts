import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { verbs } from '../../src/commands/index.js';
import { manPages } from '../../src/commands/manual.js';
import { repa, shell, temporaryFolder } from './binary.js';

const root = new URL('../../../', import.meta.url);

test('help lists every verb, on stdout, and names no error', async (t) => {
  const { code, stdout } = await repa(['--help'], { cwd: temporaryFolder(t) });
  assert.equal(code, 0);
  for (const { name, summary } of verbs)
    assert.match(stdout.toString(), new RegExp(`${name} .*${summary.split(' ')[0]}`));
});

test('every verb has help with an example', async (t) => {
  const cwd = temporaryFolder(t);
  for (const { name } of verbs) {
    const { code, stdout } = await repa(['help', name], { cwd });
    assert.equal(code, 0);
    assert.match(stdout.toString(), new RegExp(`Usage: repa ${name} [\\s\\S]*Examples:\\s+# .*\\s+\\$ .*repa ${name}`));
  }
});

test('the committed man pages are the ones that the option tables give', async () => {
  const pages = await manPages();
  for (const [name, text] of pages) assert.equal(readFileSync(new URL(`man/${name}`, root), 'utf8'), text, name);
  const generated = readdirSync(new URL('man', root)).filter((name) => name.endsWith('.1'));
  assert.deepEqual(generated.sort(), [...pages.keys()].sort());
});

test('no verb: short help on stderr, exit 2', async (t) => {
  const { code, stdout, stderr } = await repa([], { cwd: temporaryFolder(t) });
  assert.equal(code, 2);
  assert.equal(stdout.length, 0);
  assert.match(stderr, /Usage: repa/);
});

test('a mistyped verb or option is answered with the nearest one, exit 2', async (t) => {
  const cwd = temporaryFolder(t);
  const verb = await repa(['trian'], { cwd });
  assert.equal(verb.code, 2);
  assert.match(verb.stderr, /Did you mean 'train'/);
  const option = await repa(['train', '--lamda', '1'], { cwd });
  assert.equal(option.code, 2);
  assert.match(option.stderr, /--lamda[\s\S]*--lambda/);
});

test('repa.toml: a wrong table, key or value is named, exit 2', async (t) => {
  const cwd = temporaryFolder(t);
  const cases: [string, RegExp][] = [
    ['[trian]\n', /\[trian\] names no verb[\s\S]*'train'/],
    ['[train]\nlamda = 1\n', /\[train\] has no option 'lamda'[\s\S]*'lambda'/],
    ['nonsense = 1\n', /no verb has an option 'nonsense'/],
    ['[train]\nlambda = "much"\n', /repa\.toml: \[train\] lambda: It takes a number/],
    ['lambda = \n', /not valid TOML/],
  ];
  for (const [text, message] of cases) {
    writeFileSync(path.join(cwd, 'repa.toml'), text);
    const { code, stderr } = await repa(['train'], { cwd });
    assert.equal(code, 2, text);
    assert.match(stderr, message);
  }
  const missing = await repa(['train', '--config', 'none.toml'], { cwd });
  assert.equal(missing.code, 66);
});

test('help into a closed pipe is silent and succeeds', async (t) => {
  const { code, stderr } = await shell('repa train --help | true', {
    cwd: temporaryFolder(t),
  });
  assert.equal(code, 0);
  assert.equal(stderr, '');
});
