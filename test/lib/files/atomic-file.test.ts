import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { UnavailableError, UsageError } from '../../../src/lib/errors.js';
import { openAtomicFile, writeFileAtomic, writeFully } from '../../../src/lib/files/atomic-file.js';
import { temporaryFolder } from '../../support.js';

const folder = temporaryFolder();
const at = (name: string): string => path.join(folder, name);
const write = (name: string, text: string): void => {
  writeFileAtomic(at(name), (fd) => writeFully(fd, Buffer.from(text)));
};

test('a file that is replaced keeps its permissions, and is never wider open while it is written', () => {
  writeFileSync(at('secret'), 'old');
  chmodSync(at('secret'), 0o600);
  const output = openAtomicFile(at('secret'));
  const [temporary] = readdirSync(folder).filter((name) => name.endsWith('.tmp'));
  assert.equal(statSync(at(temporary)).mode & 0o777, 0o600);
  writeFully(output.fd, Buffer.from('new'));
  output.commit();
  assert.equal(statSync(at('secret')).mode & 0o777, 0o600);
  assert.equal(readFileSync(at('secret'), 'utf8'), 'new');
});

test('of two that write one file alone, the second is told, and the first is kept', () => {
  for (const before of [undefined, 'old']) {
    if (before !== undefined) writeFileSync(at('contested'), before);
    const [first, second] = [1, 2].map(() => openAtomicFile(at('contested'), { alone: true }));
    writeFully(first.fd, Buffer.from('first'));
    writeFully(second.fd, Buffer.from('second'));
    first.commit();
    assert.throws(
      () => second.commit(),
      (error: Error) => error instanceof UnavailableError && /written by another process/.test(error.message),
    );
    assert.equal(readFileSync(at('contested'), 'utf8'), 'first');
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.endsWith('.tmp')),
      [],
    );
  }
});

test('links are followed to what they name, there or not; loops, folders and long names are told', () => {
  symlinkSync('target', at('one'));
  symlinkSync('one', at('two'));
  write('two', 'through two links');
  assert.equal(readlinkSync(at('two')), 'one');
  assert.equal(readFileSync(at('target'), 'utf8'), 'through two links');
  symlinkSync('round', at('round'));
  assert.throws(() => write('round', ''), { code: 'ELOOP' });
  mkdirSync(at('folder'));
  assert.throws(() => write('folder', ''), UsageError);
  write(`${'ü'.repeat(127)}`, 'as long as a name may be');
  assert.throws(() => write('x'.repeat(300), ''), { code: 'ENAMETOOLONG' });
});

test('a full pipe that is not waited for gets all bytes', async () => {
  const pipe = at('pipe');
  execFileSync('mkfifo', [pipe]);
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  const bytes = Buffer.alloc(300_000, 'x'); // more than a pipe holds
  const reader = spawn('sh', ['-c', 'sleep 0.1; head -c 300000 "$0" | cksum', pipe]);
  writeFully(fd, bytes);
  const sum = execFileSync('cksum', { input: bytes, encoding: 'utf8' });
  assert.equal((await reader.stdout.toArray()).join(''), sum);
  closeSync(fd);
});
