/** What becomes of a verb whose reader goes away: `| head`, a pager that was left, a terminal that was closed. */

/** As the system says that nobody reads a pipe or a terminal any more, and Node that it has stopped trying. */
const GONE = new Set(['EPIPE', 'EIO', 'ERR_STREAM_DESTROYED']);

let outlived: (() => void) | undefined;

/**
 * Ends the process with the code that `fail` gives for an error of stdout, unless the verb outlives its reader. Words
 * that cannot be said on stderr are lost.
 */
export function watchStandardOutput(fail: (error: unknown) => number): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (outlived && GONE.has(error.code ?? '')) outlived();
    else process.exit(fail(error));
  });
  process.stderr.on('error', () => {});
}

/** From now on the verb goes on without a reader: what it prints is kept elsewhere. `tell` is called once. */
export function outliveReader(tell: () => void): void {
  outlived = () => {
    outlived = () => {};
    tell();
  };
}
