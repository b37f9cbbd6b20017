/**
 * Signals that ask for the end: tidy up, say one line, and die of the same signal, so that the shell sees 130 or 143.
 * Besides ^C and a plain kill they are a hang-up of the terminal, and those that batch systems send before a job's time
 * is over.
 */
import os from 'node:os';
import { undoUnfinished } from '../files/unfinished.js';
import { isSecondaryRank, styleErr } from './terminal.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
type Signal = (typeof SIGNALS)[number];

/**
 * Lets a verb answer the first signal itself, for instance by saving a checkpoint; the second one kills as usual.
 * @returns how to stop answering
 */
export function answerFirstSignal(answer: (signal: Signal) => void): () => void {
  const handler = (signal: Signal) => {
    release();
    answer(signal);
  };
  const release = () => {
    for (const signal of SIGNALS) {
      process.off(signal, handler);
      process.off(signal, die);
      process.on(signal, die);
    }
  };
  for (const signal of SIGNALS) {
    process.off(signal, die);
    process.on(signal, handler);
  }
  return release;
}

/** Ends the process as the signal would, had nobody listened. */
export function dieOf(signal: NodeJS.Signals): void {
  // What Node does of itself at this one is to open a debugger.
  if (signal === 'SIGUSR1') process.exit(128 + os.constants.signals.SIGUSR1);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

function die(signal: Signal): void {
  undoUnfinished();
  if (!isSecondaryRank()) {
    process.stderr.write(`${styleErr.yellow('interrupted')}: output that is not whole says so\n`);
  }
  dieOf(signal);
}

export function installSignalHandlers(): void {
  for (const signal of SIGNALS) {
    process.removeAllListeners(signal); // that of bin/repa.js, which listened before this was loaded
    process.on(signal, die);
  }
}
