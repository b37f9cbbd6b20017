/** The log of a run, read while it grows. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DataError } from '../errors.js';
import { jsonObject } from '../formats/json-object.js';
import type { LogLine } from './run-view.js';

/** What became of a log since it was read last. */
export interface LogGrowth {
  /** True where the file is another one than before (a run that continues rewrites it): earlier lines count no more. */
  replaced: boolean;
  lines: LogLine[];
}

const LINE_FEED = 10;
/** Largest part of a log that is read at once, in bytes. */
const CHUNK = 1 << 24;

/**
 * Reads from `offset` on until `bytes` are full or the file ends; one call may give less. @returns how many were read
 */
function fill(fd: number, bytes: Uint8Array, offset: number): number {
  let done = 0;
  for (let count = 1; count > 0 && done < bytes.length; done += count) {
    count = readSync(fd, bytes, done, bytes.length - done, offset + done);
  }
  return done;
}

/** Follows log.ndjson of a run; half a line at its end waits for its other half. */
export class RunLog {
  readonly #file: string;
  #inode = -1n;
  #offset = 0;
  #line = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /**
   * The lines that were added since the last call; all of them at the first.
   * @throws DataError for a pipe, and naming a line that is no JSON object
   */
  grown(): LogGrowth {
    const fd = openSync(this.#file, 'r');
    try {
      const found = fstatSync(fd, { bigint: true });
      if (!found.isFile()) throw new DataError(`${this.#file}: not a regular file`, 'Save the log to a file first.');
      const { ino, size } = found;
      const replaced = ino !== this.#inode || Number(size) < this.#offset;
      if (replaced) {
        this.#inode = ino;
        this.#offset = 0;
        this.#line = 0;
      }
      const lines: LogLine[] = [];
      while (this.#offset < Number(size)) {
        const bytes = Buffer.alloc(Math.min(CHUNK, Number(size) - this.#offset));
        const whole = bytes.subarray(0, fill(fd, bytes, this.#offset));
        const end = whole.lastIndexOf(LINE_FEED) + 1;
        if (end === 0) {
          if (whole.length === CHUNK)
            throw new DataError(`${this.#file}: line ${this.#line + 1} is longer than any of a log`);
          break;
        }
        // One by one: there may be more than a call takes arguments.
        for (const line of this.#parsed(whole.subarray(0, end).toString())) lines.push(line);
        this.#offset += end;
      }
      return { replaced, lines };
    } finally {
      closeSync(fd);
    }
  }

  #parsed(text: string): LogLine[] {
    return text.split('\n').flatMap((line) => {
      if (line === '') return [];
      this.#line++;
      const value = jsonObject(line);
      if (value) return [value];
      throw new DataError(`${this.#file}: line ${this.#line} is no JSON object`);
    });
  }
}
