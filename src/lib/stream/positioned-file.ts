/** A file read at any place, synchronously: a call costs microseconds, and training waits for the rows anyway. */
import fs from 'node:fs';
import { DataError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { truncated } from './message.js';

/** A file for positioned reads. */
export class PositionedFile {
  readonly name: string;
  readonly size: number;
  #changedMs: number;
  readonly #fd: number;

  /** @throws MissingInputError if it does not exist; DataError if it is a pipe or a device. */
  constructor(name: string) {
    this.name = name;
    try {
      this.#fd = fs.openSync(name, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw missingInput(name);
      throw error;
    }
    const stat = fs.fstatSync(this.#fd);
    this.size = stat.size;
    this.#changedMs = stat.mtimeMs;
    if (stat.isFile()) return;
    this.close();
    throw new DataError(
      `${name}: not a regular file`,
      'Rows are read in any order here: save the stream to a file first.',
    );
  }

  /** Whether it was written to since it was opened, or since the last call. */
  hasChanged(): boolean {
    const { mtimeMs } = fs.fstatSync(this.#fd);
    const changed = mtimeMs !== this.#changedMs;
    this.#changedMs = mtimeMs;
    return changed;
  }

  /** Reads into all of `target`. @throws DataError if the file ends before. */
  readInto(target: Uint8Array, at: number): void {
    for (let done = 0; done < target.byteLength; ) {
      const count = fs.readSync(this.#fd, target, done, target.byteLength - done, at + done);
      if (count === 0) throw truncated({ name: this.name, byte: at + done }, 'the file ends inside a message');
      done += count;
    }
  }

  /** `length` bytes in memory of their own. @throws DataError if the file ends before, and nothing is allocated. */
  bytes(at: number, length: number): Uint8Array<ArrayBuffer> {
    if (at + length > this.size) {
      throw truncated({ name: this.name, byte: this.size }, 'the file ends inside a message');
    }
    const target = new Uint8Array(length);
    this.readInto(target, at);
    return target;
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

/** Headers, keys and labels of a batch of usual size come in one read. */
const WINDOW_BYTES = 16 * 1024;

/** Small reads that follow each other closely, served from one larger read. */
export class Window {
  readonly #file: PositionedFile;
  #bytes = new Uint8Array(0);
  #at = 0;

  constructor(file: PositionedFile) {
    this.#file = file;
  }

  /** `length` bytes in memory of their own. */
  take(at: number, length: number): Uint8Array<ArrayBuffer> {
    const from = at - this.#at;
    if (from < 0 || from + length > this.#bytes.byteLength) {
      this.#bytes = this.#file.bytes(at, Math.max(length, Math.min(WINDOW_BYTES, this.#file.size - at)));
      this.#at = at;
      return this.#bytes.slice(0, length);
    }
    return this.#bytes.slice(from, from + length);
  }
}
