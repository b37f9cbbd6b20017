/** Positioned reads from a file whose size is known: every format here reads what it needs and nothing more. */
import { constants } from 'node:buffer';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DataError, MissingInputError } from '../errors.js';
import { missingInput } from '../files/missing.js';

/** One read call takes at most 2^31 - 1 bytes. */
const LONGEST_READ = 2 ** 30;
const CHUNK = 1 << 20;

export class BinaryFile {
  readonly path: string;
  readonly size: number;
  readonly #fd: number;
  #open = true;

  /**
   * @throws MissingInputError when there is no such file; DataError when it is a folder or another thing that is not a
   * file.
   */
  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = openSync(path, 'r');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOENT') throw missingInput(path);
      throw new MissingInputError(`${path}: cannot be opened (${code})`);
    }
    const stat = fstatSync(this.#fd);
    this.size = stat.size;
    if (stat.isFile()) return;
    this.close();
    throw new DataError(`${path}: ${stat.isDirectory() ? 'a folder, not a file' : 'not a regular file'}`);
  }

  /** `length` bytes from `offset`, in a buffer of their own. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer> {
    if (!this.#open) throw new Error(`${this.path} was closed before it was read`);
    if (!(offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw new DataError(`${this.path}: ends at byte ${this.size}, needed bytes ${offset} to ${offset + length}`);
    }
    if (length > constants.MAX_LENGTH) {
      throw new DataError(`${this.path}: holds ${length} bytes in one piece, more than fit into one array here`);
    }
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const count = readSync(this.#fd, bytes, done, Math.min(length - done, LONGEST_READ), offset + done);
      if (count === 0) throw new DataError(`${this.path}: became shorter while it was read, at byte ${offset + done}`);
      done += count;
    }
    return bytes;
  }

  /** The bytes of a range in order, in pieces. */
  *chunks(start: number, end: number): Generator<Uint8Array<ArrayBuffer>> {
    for (let at = start; at < end; at += CHUNK) yield this.read(at, Math.min(CHUNK, end - at));
  }

  close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}
