/** Ends or keeps a verb whose reader goes away: `| head`, a pager that was left, a terminal that was closed. */

import { diskProblem } from '../errors.js';
import { STDOUT, withPath } from '../files/atomic-file.js';

/** The error codes for a pipe or a terminal that nobody reads any more. */
const GONE = new Set(['EPIPE', 'EIO', 'ERR_STREAM_DESTROYED']);

let outlived: ((why: string) => void) | undefined;

/**
 * Ends the process with the code that `fail` gives for an error of stdout, unless the verb outlives its reader. Words
 * that cannot be said on stderr are lost.
 */
export function watchStandardOutput(fail: (error: unknown) => number): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    const disk = diskProblem(error);
    if (outlived && GONE.has(error.code ?? '')) outlived('nobody reads stdout any more');
    else if (outlived && disk) outlived(`stdout takes no more (${disk})`);
    else process.exit(fail(withPath(error, STDOUT)));
  });
  process.stderr.on('error', () => {});
}

/**
 * From now on the verb goes on without a reader, or a disk that takes it: what it prints is kept elsewhere.
 * @param tell is called once, with the reason
 */
export function outliveReader(tell: (why: string) => void): void {
  outlived = (why) => {
    outlived = () => {};
    tell(why);
  };
}
