/** What is read at once is a file that ends, or a descriptor of the shell's. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { DataError, MissingInputError } from '../../../src/lib/errors.js';
import { readSmallText } from '../../../src/lib/files/small-file.js';
import { temporaryFolder } from '../../support.js';

test('a list is read from a file, without a byte order mark, and from nothing that may not end', () => {
  const folder = temporaryFolder();
  const file = path.join(folder, 'list');
  writeFileSync(file, '\ufeffa 1\n');
  assert.equal(readSmallText(file), 'a 1\n');
  truncateSync(file, 2 ** 32);
  assert.throws(() => readSmallText(file), /4294967296 bytes are more/);
  mkdirSync(path.join(folder, 'folder'));
  execFileSync('mkfifo', [path.join(folder, 'pipe')]);
  for (const [name, said] of [
    [path.join(folder, 'folder'), /is a folder, not a file/],
    [path.join(folder, 'pipe'), /is a device or a pipe, not a file/],
    ['/dev/zero', /is a device or a pipe, not a file/],
  ] as const) {
    assert.throws(
      () => readSmallText(name),
      (error: Error) => error instanceof DataError && said.test(error.message),
    );
  }
  assert.throws(() => readSmallText(path.join(folder, 'none')), MissingInputError);
});
