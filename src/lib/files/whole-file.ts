/** A file's bytes, to its end. */
import { open } from 'node:fs/promises';

/** Bytes read at a time from what has no size: a pipe, or a file of /proc. */
const CHUNK = 1 << 16;

/**
 * All bytes of a file. Node's own `readFile` of promises takes a read that gives less than was asked for, as those of
 * some network and user-space file systems do, for the end.
 * @throws an error of the file system
 */
export async function readWhole(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    let bytes = Buffer.allocUnsafeSlow(size || CHUNK);
    let done = 0;
    for (;;) {
      const { bytesRead } = await file.read(bytes, done, bytes.length - done);
      done += bytesRead;
      if (bytesRead === 0 || done === size) return bytes.subarray(0, done);
      if (done === bytes.length) bytes = Buffer.concat([bytes, Buffer.allocUnsafeSlow(bytes.length)]);
    }
  } finally {
    await file.close();
  }
}
