/** Telling a tensor stream from other files. */
import { closeSync, openSync, readSync } from 'node:fs';

/** Arrow streams start with a continuation marker. */
const CONTINUATION = Buffer.from([0xff, 0xff, 0xff, 0xff]);

/** Whether a file begins as a stream does; one that is too short to tell counts as one, and is then refused as cut. */
export function isStreamFile(file: string): boolean {
  const fd = openSync(file, 'r');
  try {
    const start = Buffer.alloc(CONTINUATION.length);
    const length = readSync(fd, start, 0, start.length, 0);
    return length < start.length || start.equals(CONTINUATION);
  } finally {
    closeSync(fd);
  }
}
