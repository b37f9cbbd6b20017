/**
 * One run at a time in a folder: a file `run.lock` that tells who holds it. What a killed run leaves is recognised by its
 * process, which is there no more, or is another of the same number.
 */
import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { UnavailableError } from '../errors.js';
import { isRunning, pidNamespace, startOf } from './processes.js';

interface Holder {
  host: string;
  /** Of the host's start: after another one, no process of before is left. */
  boot: string | undefined;
  namespace: string;
  pid: number;
  /** When the process began, in ticks since the boot; where the system tells. */
  started: string | undefined;
  since: string;
}

export interface RunLock {
  /** @throws UnavailableError when the folder is another run's by now */
  check(): void;
  release(): void;
}

/** A lock that says nothing after so long was left by a process that was killed while it wrote. */
const UNWRITTEN_MS = 60_000;

/**
 * Takes the lock of a folder, which is made if there is none.
 * @throws UnavailableError when another run holds it
 */
export function lockRun(folder: string): RunLock {
  const created = mkdirSync(folder, { recursive: true });
  const file = path.join(folder, 'run.lock');
  const own = `${JSON.stringify(thisProcess())}\n`;
  while (!write(file, own)) {
    const held = read(file);
    if (held === undefined) continue; // released just now
    if (!isStale(file, held)) throw inUse(file, held);
    takeAway(file, held);
  }
  return {
    check() {
      const held = read(file);
      if (held !== own) throw inUse(file, held ?? '');
    },
    release() {
      if (read(file) === own) rmSync(file);
      if (created === undefined) return;
      try {
        rmdirSync(folder);
      } catch {
        // The run has left something in it.
      }
    },
  };
}

function write(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function parse(text: string): Holder | undefined {
  try {
    return JSON.parse(text) as Holder;
  } catch {
    return undefined;
  }
}

/** Moves a stale lock away; one that another run has put there in the meantime is put back. */
function takeAway(file: string, held: string): void {
  const aside = `${file}.${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // another run was faster
    throw error;
  }
  const moved = read(aside);
  rmSync(aside);
  if (moved !== undefined && moved !== held) write(file, moved);
}

function isStale(file: string, held: string): boolean {
  const holder = parse(held);
  const here = thisProcess();
  if (!holder) return Date.now() - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) > UNWRITTEN_MS;
  if (holder.host !== here.host) return false; // whether it runs cannot be seen from here
  if (holder.boot !== here.boot) return true;
  if (holder.namespace !== here.namespace) return false;
  return !isRunning(holder.pid) || startOf(holder.pid) !== holder.started;
}

function inUse(file: string, held: string): UnavailableError {
  const folder = path.dirname(file);
  const holder = parse(held);
  const who = holder ? `process ${holder.pid} on ${holder.host}, since ${holder.since}` : 'another process';
  return new UnavailableError(
    `${folder} is in use by another run: ${who}`,
    `Choose another --out, or end that run first. If it is gone for sure, remove ${file}.`,
  );
}

const thisProcess = (): Holder => ({
  host: os.hostname(),
  boot: read('/proc/sys/kernel/random/boot_id')?.trim(),
  namespace: pidNamespace(),
  pid: process.pid,
  started: startOf(process.pid),
  since: new Date(Date.now() - 1000 * process.uptime()).toISOString(),
});
