/** Files of lines that may be longer than a string can be, read some megabytes at a time. */
import { readSync } from 'node:fs';

export const LINE_FEED = 10;
/** Bytes that are read at a time: the longest line, too. */
const PIECE = 1 << 24;

/** Reads from `offset` on until `bytes` are full or the file ends: one call of the system may give less. */
function fill(fd: number, bytes: Buffer, offset: number): Buffer {
  let done = 0;
  for (let count = 1; count > 0 && done < bytes.length; done += count) {
    count = readSync(fd, bytes, done, bytes.length - done, offset + done);
  }
  return bytes.subarray(0, done);
}

/**
 * The bytes of a file from `start` to `end`, in pieces of whole lines. A piece ends within a line only where the file
 * does, or where a line is longer than 16 MiB.
 */
export function* linePieces(fd: number, start: number, end: number): Generator<Buffer> {
  for (let offset = start; offset < end; ) {
    const bytes = fill(fd, Buffer.alloc(Math.min(PIECE, end - offset)), offset);
    const lines = bytes.lastIndexOf(LINE_FEED) + 1;
    const piece = lines > 0 ? bytes.subarray(0, lines) : bytes;
    if (piece.length === 0) return; // the file has become shorter
    yield piece;
    offset += piece.length;
  }
}

/** Whether a piece ends within a line. */
export const endsWithin = (piece: Buffer): boolean => piece.at(-1) !== LINE_FEED;

/** Whether it does because the line is longer than a piece. */
export const isTooLong = (piece: Buffer): boolean => endsWithin(piece) && piece.length === PIECE;
