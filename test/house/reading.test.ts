/** The files that docs/reading.md has a reader open: that they are there, and stay an evening. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const text = readFileSync(path.join(root, 'docs/reading.md'), 'utf8');
const lines = (file: string): number => readFileSync(file, 'utf8').split('\n').length - 1;

test('the files from latents to samples are as many, and as long, as docs/reading.md says at most', () => {
  const [, table] = /\| to understand \| files \|\n\| --- \| --- \|\n((?:\|.*\|\n)+)/.exec(text)!;
  const named = [...table.matchAll(/`([^`]+\.ts)`/g)].map(([, name]) => path.join(root, 'src/lib', name));
  const [, count, most, bound] = /That is (\d+) files .* within (\d+) files and ([\d,]+) lines/.exec(text)!;
  assert.equal(named.length, Number(count));
  assert.ok(named.length <= Number(most));
  const total = named.reduce((sum, file) => sum + lines(file), 0);
  assert.ok(
    total <= Number(bound.replace(',', '')),
    `${total} lines: move out what a reader of this path need not see`,
  );
});

test('every source file that docs/reading.md names is there', () => {
  for (const [, name] of text.matchAll(/`(src\/[^`]+\.ts)`/g)) assert.ok(existsSync(path.join(root, name)), name);
});
