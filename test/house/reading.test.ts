/** The files that docs/reading.md has a reader open: that they are there, and stay an evening. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const text = readFileSync(path.join(root, 'docs/reading.md'), 'utf8');
const source = (name: string): string => path.join(root, name.startsWith('commands/') ? 'src' : 'src/lib', name);
const lines = (name: string): number => readFileSync(source(name), 'utf8').split('\n').length - 1;
const sum = (names: readonly string[]): number => names.reduce((total, name) => total + lines(name), 0);

/** The files of the table under a heading. */
function filesOf(heading: string): string[] {
  const [, table] = new RegExp(`\\| ${heading} \\| files \\|\\n\\| --- \\| --- \\|\\n((?:\\|.*\\|\\n)+)`).exec(text)!;
  return [...table.matchAll(/`([^`]+\.ts)`/g)].map(([, name]) => name);
}

const narrow = filesOf('to understand');
const others = filesOf('also');
const whole = (number: string): number => Number(number.replace(',', ''));

test('the files from latents to samples are as many, and as long, as docs/reading.md says at most', () => {
  const [, count, most, bound] = /That is (\d+) files .* within (\d+) files and ([\d,]+) lines/.exec(text)!;
  assert.equal(narrow.length, Number(count));
  assert.ok(narrow.length <= Number(most));
  const total = sum(narrow);
  assert.ok(total <= whole(bound), `${total} lines: move out what a reader of this path need not see`);
});

test('with what they call they are as many, and as long, as it says', () => {
  const [, count, bound] = /These are (\d+) files more, and .* of which the test allows ([\d,]+)/.exec(text)!;
  assert.equal(others.length, Number(count));
  assert.equal(new Set([...narrow, ...others]).size, narrow.length + others.length);
  const total = sum(narrow) + sum(others);
  assert.ok(total <= whole(bound), `${total} lines`);
});

test('every source file that docs/reading.md names is there', () => {
  for (const [, name] of text.matchAll(/`(src\/[^`]+\.ts)`/g)) assert.ok(existsSync(path.join(root, name)), name);
});
