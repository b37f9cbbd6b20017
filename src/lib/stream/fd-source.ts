/** Bytes in sequence from a descriptor: a pipe, a socket or a file. */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { truncated } from './message.js';

const read = promisify(fs.read);
const RETRY_MS = 2;

/** A length from the input is not believed at once: memory grows no more than this ahead of the bytes that arrive. */
const MAX_PIECE = 32 * 2 ** 20;

export class FdSource {
  /** Bytes consumed so far. */
  position = 0;
  readonly #fd: number;
  readonly #name: string;

  constructor(fd: number, name: string) {
    this.#fd = fd;
    this.#name = name;
  }

  /** Reads into `target` until it is full or the input ends; returns the bytes read. */
  async #fill(target: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < target.byteLength) {
      try {
        const { bytesRead } = await read(this.#fd, target, filled, target.byteLength - filled, null);
        if (bytesRead === 0) break;
        filled += bytesRead;
      } catch (error) {
        // A pipe that someone made non-blocking is empty: its writer needs time.
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        await sleep(RETRY_MS);
      }
    }
    this.position += filled;
    return filled;
  }

  /** The next `length` bytes, in memory of their own, or undefined if the input ends right here. */
  async take(length: number, what: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    for (let taken = 0; taken < length; ) {
      const piece = new Uint8Array(Math.min(length - taken, MAX_PIECE));
      const filled = await this.#fill(piece);
      taken += filled;
      if (filled === 0 && taken === 0) return undefined;
      if (filled < piece.byteLength) {
        const site = { name: this.#name, byte: this.position };
        throw truncated(site, `${length - taken} bytes are missing inside ${what}`);
      }
      pieces.push(piece);
    }
    if (pieces.length === 1) return pieces[0];
    return new Uint8Array(Buffer.concat(pieces, length).buffer);
  }

  /** The next `length` bytes, in memory of their own. @throws DataError if the input ends before. */
  async exact(length: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = length === 0 ? new Uint8Array(0) : await this.take(length, what);
    if (bytes) return bytes;
    throw truncated({ name: this.#name, byte: this.position }, `all ${length} bytes are missing of ${what}`);
  }
}
