/** Rows of features that are appended in order and read in any, in memory or, where that is too small, in a file. */
import { closeSync, openSync, readSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { withPath, writeFully } from '../files/atomic-file.js';
import { temporaryName } from '../files/temporary-files.js';
import type { FeatureRows } from '../metrics/feature-rows.js';
import { bytesOf, drained } from '../numbers/typed-array.js';

/** Memory that several stores share, counted in f32 numbers. */
export interface Room {
  left: number;
}

export class RowStore implements FeatureRows {
  readonly columns: number;
  readonly #room: Room;
  #rows = 0;
  /** The rows in memory, in pieces that follow each other. */
  #pieces: Float32Array[] = [];
  #fd: number | undefined;

  constructor(columns: number, room: Room) {
    this.columns = columns;
    this.#room = room;
  }

  get rows(): number {
    return this.#rows;
  }

  /**
   * Adds whole rows, [n, D].
   * @throws an error of the file system where the file cannot be written
   */
  append(values: Float32Array): void {
    this.#rows += values.length / this.columns;
    if (this.#fd === undefined && values.length <= this.#room.left) {
      this.#room.left -= values.length;
      this.#pieces.push(values);
      return;
    }
    this.#fd ??= openScratch();
    for (const piece of [...this.#pieces, values]) writeRows(this.#fd, piece);
    this.#room.left += lengthOf(this.#pieces);
    this.#pieces = [];
  }

  read(rows: ArrayLike<number>, into: Float32Array): void {
    if (this.#fd === undefined && this.#pieces.length > 1) this.#pieces = [drained(this.#pieces)];
    for (let i = 0; i < rows.length; ) {
      let end = i + 1;
      while (end < rows.length && rows[end] === rows[end - 1] + 1) end++;
      this.#readRun(rows[i] * this.columns, into.subarray(i * this.columns, end * this.columns));
      i = end;
    }
  }

  #readRun(start: number, into: Float32Array): void {
    if (this.#fd === undefined) {
      into.set(this.#pieces[0].subarray(start, start + into.length));
      return;
    }
    const bytes = bytesOf(into);
    const position = start * Float32Array.BYTES_PER_ELEMENT;
    for (let done = 0; done < bytes.length; ) {
      done += readSync(this.#fd, bytes, done, bytes.length - done, position + done);
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

const lengthOf = (pieces: readonly Float32Array[]): number => pieces.reduce((sum, { length }) => sum + length, 0);

/** Opens a file without a name, which vanishes with the process. */
function openScratch(): number {
  const file = temporaryName(path.join(tmpdir(), 'repa-features'));
  const fd = openSync(file, 'wx+', 0o600);
  unlinkSync(file);
  return fd;
}

function writeRows(fd: number, values: Float32Array): void {
  try {
    writeFully(fd, bytesOf(values));
  } catch (error) {
    throw withPath(error, `${tmpdir()} (TMPDIR names another folder for what does not fit into memory)`);
  }
}
