/** SIGINT and SIGTERM: tidy up, say one line, and die of the same signal, so that the shell sees 130 or 143. */
import { undoUnfinished } from '../files/unfinished.js';
import { isSecondaryRank, styleErr } from './terminal.js';

type Signal = 'SIGINT' | 'SIGTERM';
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
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.off(signal, handler);
      process.on(signal, die);
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.off(signal, die);
    process.on(signal, handler);
  }
  return release;
}

function die(signal: Signal): void {
  undoUnfinished();
  if (!isSecondaryRank()) {
    process.stderr.write(`${styleErr.yellow('interrupted')}: the output is incomplete and says so\n`);
  }
  process.off(signal, die);
  process.kill(process.pid, signal);
}

export function installSignalHandlers(): void {
  process.on('SIGINT', die);
  process.on('SIGTERM', die);
}
