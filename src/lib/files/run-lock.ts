/**
 * One run at a time in a folder: a file `run.lock` that tells who holds it. What a killed run leaves on this machine is
 * recognised by its process, which is there no more, or is another of the same number. Of a run on another machine
 * nothing can be seen but that it touches its lock: one that has not for a while is gone, as after a node that died,
 * whose job is queued again elsewhere.
 */
import { linkSync, readFileSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { UnavailableError } from '../errors.js';
import { withPath } from './atomic-file.js';
import { makeFolder } from './folders.js';
import { isRunning, pidNamespace, startOf } from './processes.js';
import { temporaryName } from './temporary-files.js';

/** In a run's folder as long as the run goes on. */
export const LOCK_NAME = 'run.lock';

interface Holder {
  host: string;
  /** The id of the host's start: after a restart, no earlier process is left. */
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

/** How often a run touches its lock. */
const TOUCH_MS = 20_000;
/**
 * A run on another machine that has not touched its lock for so long counts as gone. Steps may take minutes, so a
 * thread of its own touches the lock.
 */
export const LEASE_MS = 300_000;

/**
 * Touches the lock for as long as this process runs: by writing it again where it lies, so that its time is that of the
 * machine that holds the files, and a lock that took its place is left alone.
 */
function keepTouched(file: string, own: string): Worker {
  const code = `
    const { openSync, writeSync } = require('node:fs');
    const { workerData: { file, own, every } } = require('node:worker_threads');
    const fd = openSync(file, 'r+');
    setInterval(() => { try { writeSync(fd, own, 0); } catch {} }, every);`;
  const worker = new Worker(code, { eval: true, workerData: { file, own, every: TOUCH_MS } });
  worker.on('error', () => {}); // the lock is gone already: check() tells
  worker.unref();
  return worker;
}

/** The time by the clock of the machine that holds the files, which need not be ours. */
function fileTime(file: string): number {
  const probe = temporaryName(file);
  writeFileSync(probe, '');
  const { mtimeMs } = statSync(probe);
  rmSync(probe);
  return mtimeMs;
}

/**
 * Takes the lock of a folder, which is made if there is none.
 * @throws UnavailableError when another run holds it
 */
export function lockRun(folder: string): RunLock {
  const created = makeFolder(folder);
  const file = path.join(folder, LOCK_NAME);
  const own = `${JSON.stringify(thisProcess())}\n`;
  while (!write(file, own)) {
    const held = read(file);
    if (held === undefined) continue; // released just now
    if (!isStale(file, held)) throw inUse(file, held);
    takeAway(file, held);
  }
  const toucher = keepTouched(file, own);
  return {
    check() {
      const held = read(file);
      if (held !== own) throw inUse(file, held ?? '');
    },
    release() {
      void toucher.terminate();
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

/** Makes a lock that is never seen without its text, unless the file system knows no links. */
function write(file: string, text: string): boolean {
  const made = temporaryName(file);
  try {
    writeFileSync(made, text);
    linkSync(made, file);
    return true;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!WITHOUT_LINKS.has(code)) throw withPath(error, file);
    return writeNew(file, text);
  } finally {
    rmSync(made, { force: true });
  }
}

/** What file systems without hard links say when one is asked for. */
const WITHOUT_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

function writeNew(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw withPath(error, file);
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
  const aside = temporaryName(file);
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
  if (holder.host !== here.host)
    return fileTime(file) - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) > LEASE_MS;
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
    `Choose another --out, or end that run first. If it is gone for sure, remove ${file}; that of a machine that died lapses after ${LEASE_MS / 60_000} minutes.`,
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
