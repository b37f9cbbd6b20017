/** Outputs of streams: a file descriptor, or a file that appears only when it is complete. */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openAtomicFile, STDOUT, withPath } from '../files/atomic-file.js';

export interface ByteSink {
  /** Resolves when all bytes are handed over: a slow reader holds its producer back. */
  write(chunks: Uint8Array[]): Promise<void>;
  /** The output is complete. */
  close(): Promise<void>;
  /** The output failed: leave as little of it as the medium allows. */
  abort(): Promise<void>;
}

const writev = promisify(fs.writev);
const RETRY_MS = 2;
const MAX_CHUNKS = 512; // at most IOV_MAX (1024) buffers fit one system call

/** What is left of `chunks` after their first `written` bytes. */
function rest(chunks: Uint8Array[], written: number): Uint8Array[] {
  let skip = written;
  const first = chunks.findIndex((chunk) => {
    if (skip < chunk.byteLength) return true;
    skip -= chunk.byteLength;
    return false;
  });
  return first < 0 ? [] : [chunks[first].subarray(skip), ...chunks.slice(first + 1)];
}

/** @param name of the output, for errors */
async function writeAll(fd: number, chunks: Uint8Array[], name: string): Promise<void> {
  let left = chunks.filter((chunk) => chunk.byteLength > 0);
  while (left.length > 0) {
    try {
      const { bytesWritten } = await writev(fd, left.slice(0, MAX_CHUNKS));
      left = rest(left, bytesWritten);
    } catch (error) {
      // A pipe that someone made non-blocking is full: its reader needs time.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw withPath(error, name);
      await sleep(RETRY_MS);
    }
  }
}

/**
 * A descriptor of the caller's, such as 1: it is never closed here. A reader that has gone away shows as an error with
 * code 'EPIPE'.
 *
 * @param name what errors are of
 */
export const fdSink = (fd: number, name = STDOUT): ByteSink => ({
  write: (chunks) => writeAll(fd, chunks, name),
  close: async () => {},
  abort: async () => {},
});

/** A file that gets its name only when it is complete. */
export interface FileSink extends ByteSink {
  /** Makes the bytes durable and gives the file its name; does nothing when done already. `close` is the same. */
  commit(): Promise<void>;
}

/**
 * A sink for the file at `target`, which keeps its old content, or stays absent, until `commit`.
 *
 * @throws MissingInputError when its folder does not exist; UnavailableError at `commit` when another process has
 *   written the file meanwhile.
 */
export function atomicFileSink(target: string): FileSink {
  const file = openAtomicFile(target, { alone: true });
  let committed = false;
  const commit = async (): Promise<void> => {
    if (!committed) file.commit();
    committed = true;
  };
  const write = (chunks: Uint8Array[]): Promise<void> => writeAll(file.fd, chunks, target);
  return { write, close: commit, commit, abort: async () => file.abort() };
}
