/** Changed files of each format are read: what comes of it is counted. */
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RepaError } from '../../src/lib/errors.js';
import { seeded } from './mutate.js';
import type { Target } from './target.js';
import { targets } from './targets.js';

export interface Outcome {
  readonly format: string;
  readonly inputs: number;
  readonly refused: number;
  /** Read to what the sound file holds, or another one that the changes made whole. */
  readonly same: number;
  /** Read to something else; a fault where checksums cover all that is read. */
  readonly other: number;
  /** Faults: the seed of the input, and what happened. */
  readonly faults: readonly string[];
  readonly slowestMs: number;
}

const MOST_FAULTS = 20;
const CLOSING_MS = 50;
/**
 * No file of a few kilobytes takes so much of a processor, however it is made: other programs may have the clock's
 * time.
 */
const SLOWEST_MS = 2000;
/** Nor this by the clock: what waits for something that never comes takes no processor. */
const HANGS_MS = 60_000;

/** @throws Error when nothing has come of it for long */
async function beforeLong<T>(value: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = sleep(HANGS_MS, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`hangs for ${HANGS_MS} ms`);
  });
  try {
    return await Promise.race([value, late]);
  } finally {
    timer.abort();
  }
}

/** Milliseconds of a processor that this process has used. */
function used(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

async function tryInputs(
  target: Target,
  store: (bytes: Buffer) => string,
  count: number,
  seed: number,
): Promise<Outcome> {
  const seen = { refused: 0, same: 0, other: 0 };
  const faults: string[] = [];
  const fault = (input: number, what: string): void => {
    if (faults.push(`${target.name}, seed ${input}: ${what}`) > MOST_FAULTS) faults.length = MOST_FAULTS;
  };
  let slowestMs = 0;
  for (let input = seed; input < seed + count; input++) {
    const bytes = target.make(seeded(input));
    const file = store(bytes);
    const start = used();
    try {
      const value = await beforeLong(target.read(file));
      if (target.values.has(value)) seen.same++;
      else {
        seen.other++;
        if (target.checked) fault(input, 'read to something that no sound file holds');
      }
    } catch (error) {
      if (error instanceof RepaError) seen.refused++;
      else fault(input, (error as Error).stack ?? String(error));
    }
    const took = target.used?.() ?? used() - start;
    if (took > SLOWEST_MS) fault(input, `took ${took.toFixed(0)} ms`);
    slowestMs = Math.max(slowestMs, took);
  }
  return { format: target.name, inputs: count, ...seen, faults, slowestMs };
}

const openFiles = (): number => readdirSync('/proc/self/fd').length;

/** @param formats those whose name holds one of these words; all if there are none */
export async function* campaign(count: number, seed: number, formats: readonly string[] = []): AsyncGenerator<Outcome> {
  const folder = mkdtempSync(path.join(tmpdir(), 'repa-fuzz-'));
  const file = path.join(folder, 'input');
  writeFileSync(file, '');
  const fd = openSync(file, 'r+'); // kept open: files that are made anew are flushed one by one
  const store = (bytes: Buffer): string => {
    ftruncateSync(fd, 0);
    writeSync(fd, bytes, 0, bytes.length, 0);
    return file;
  };
  let all: Target[] = [];
  try {
    all = await targets(folder, store);
    for (const target of all) {
      if (formats.length > 0 && !formats.some((word) => target.name.includes(word))) continue;
      const before = openFiles();
      const outcome = await tryInputs(target, store, count, seed);
      await sleep(CLOSING_MS); // streams close after they end
      const left = openFiles() - before;
      yield left > 0 ? { ...outcome, faults: [...outcome.faults, `${left} files stay open`] } : outcome;
    }
  } finally {
    for (const { close } of all) await close?.();
    closeSync(fd);
    rmSync(folder, { recursive: true });
  }
}
