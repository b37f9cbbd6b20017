/** The log of a run, read while it grows. */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { DataError } from '../errors.js';
import { endsWithin, isTooLong, LINE_FEED, linePieces } from '../files/line-pieces.js';
import { jsonLines } from '../formats/json-object.js';
import type { LogLine } from './run-view.js';

/** What was added to a log since it was read last. */
export interface LogGrowth {
  /** True where the file was replaced, as a run that continues does: the lines read before no longer count. */
  replaced: boolean;
  lines: LogLine[];
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
      for (const piece of linePieces(fd, this.#offset, Number(size))) {
        if (isTooLong(piece)) throw new DataError(`${this.#file}: line ${this.#line + 1} is longer than any of a log`);
        if (endsWithin(piece)) break; // its other half is still to come
        // One by one: there may be more than a call takes arguments.
        for (const line of jsonLines(piece.toString(), this.#file, this.#line)) lines.push(line);
        this.#offset += piece.length;
        this.#line += piece.reduce((count, byte) => count + Number(byte === LINE_FEED), 0);
      }
      return { replaced, lines };
    } finally {
      closeSync(fd);
    }
  }
}
