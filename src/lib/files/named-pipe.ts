/**
 * Pipes that have a name. As outputs: opening one waits for its reader, and nothing else is heard while a system call
 * waits.
 */
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Whether an input can be read once and in order alone: stdin (`-`), or a pipe such as `<(command)`. */
export const isPipe = (input: string): boolean =>
  input === '-' || (statSync(input, { throwIfNoEntry: false })?.isFIFO() ?? false);

const RETRY_MS = 50;

/** Descriptors of pipes that have a reader, by path, until somebody takes them. */
const opened = new Map<string, number>();

/** Waits for a named pipe's reader, in a way that lets signals through, and keeps the pipe open for `takePipe`. */
export async function awaitReader(file: string): Promise<void> {
  if (!statSync(file).isFIFO()) return;
  for (;;) {
    const waiting = tryOpen(file);
    if (waiting !== undefined) {
      opened.set(file, openSync(file, 'w')); // at once, since there is a reader; and its writes wait for room
      return closeSync(waiting);
    }
    await sleep(RETRY_MS);
  }
}

/** The descriptor that `awaitReader` has opened, if it has; the caller closes it. */
export function takePipe(file: string): number | undefined {
  const fd = opened.get(file);
  opened.delete(file);
  return fd;
}

function tryOpen(file: string): number | undefined {
  try {
    return openSync(file, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENXIO') return undefined; // no reader yet
    throw error;
  }
}
