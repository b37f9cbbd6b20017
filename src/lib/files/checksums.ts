/**
 * Checksums of the files of a folder, in a file `SHA256SUMS` beside them as sha256sum(1) writes and checks it
 * (`sha256sum -c SHA256SUMS`).
 */
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';
import { DataError } from '../errors.js';
import { writeFileAtomic } from './atomic-file.js';

const SUMS = 'SHA256SUMS';
const LINE = /^([0-9a-f]{64}) [ *](.+)$/;
const CHUNK = 1 << 20;

/** The hash of a file, which is never held in memory. */
function sha256OfFile(file: string): string {
  const hash = createHash('sha256');
  const chunk = new Uint8Array(CHUNK);
  const fd = openSync(file, 'r');
  try {
    for (let count = readSync(fd, chunk); count > 0; count = readSync(fd, chunk)) hash.update(chunk.subarray(0, count));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

/** Writes down the checksums of all files of a folder, once it is filled. */
export function writeChecksums(folder: string): void {
  const names = readdirSync(folder).sort();
  const lines = names.map((name) => `${sha256OfFile(path.join(folder, name))}  ${name}\n`);
  writeFileAtomic(path.join(folder, SUMS), lines.join(''));
}

/** The text of SHA256SUMS; undefined in an older folder, which has none. */
export function readChecksums(folder: string): string | undefined {
  const file = path.join(folder, SUMS);
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/**
 * Compares a file of a folder with its checksum. A folder without checksums passes, as older ones have none.
 * @throws DataError when the file is another, or was not there
 */
export function checkChecksum(folder: string, name: string): void {
  const sums = readChecksums(folder);
  if (sums === undefined) return;
  const file = path.join(folder, name);
  const known = sums.split('\n').map((line) => LINE.exec(line));
  const expected = known.find((match) => match?.[2] === name)?.[1];
  if (expected !== undefined && sha256OfFile(file) === expected) return;
  throw new DataError(
    `${file}: ${expected === undefined ? 'is not among' : 'is damaged: its SHA-256 is not the one in'} ${SUMS} beside it`,
    `Take a copy or another checkpoint. If it was changed on purpose, remove ${SUMS}.`,
  );
}
