/**
 * Names of files and folders that are still being written, and the removal of those that a killed process left behind.
 */
import { readdirSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { crc32 } from './crc32.js';
import { isRunning, pidNamespace } from './processes.js';

/** Process ids mean something only within one. */
const SYSTEM = crc32(Buffer.from(`${os.hostname()} ${pidNamespace()}`))
  .toString(16)
  .padStart(8, '0');
const NAME = /^\..+\.([0-9a-f]{8})-(\d+)-\d+\.tmp$/;
const DAY_MS = 24 * 3600 * 1000;

let counter = 0;
const swept = new Set<string>();

/** Whether a name is one that `temporaryName` gives. */
export const isTemporaryName = (name: string): boolean => NAME.test(name);

/** The name of a file that marks its folder as unfinished. */
export const MARK = 'unfinished';

/** Whether a file is such a mark. It stays when its writer is gone: the folder is not whole by that. */
export const isMark = (name: string): boolean => isTemporaryName(name) && name.startsWith(`.${MARK}.`);

/**
 * A new name in the target's folder. Hidden, so that a folder listed meanwhile does not show it as data; it tells which
 * process writes it, which also keeps two writers apart. The first time in a folder, this removes what is stale there.
 */
export function temporaryName(target: string): string {
  const folder = path.dirname(target);
  if (!swept.has(folder)) removeStale(folder);
  swept.add(folder);
  return path.join(folder, `.${shortened(path.basename(target))}.${SYSTEM}-${process.pid}-${counter++}.tmp`);
}

/** Bytes of a target's name that its temporary one repeats: with what is added, a file system takes it. */
const LONGEST_STEM = 200;

function shortened(name: string): string {
  let [short, bytes] = ['', 0];
  for (const letter of name) {
    bytes += Buffer.byteLength(letter);
    if (bytes > LONGEST_STEM) break;
    short += letter;
  }
  return short;
}

/**
 * Removes the temporary files and folders in a folder whose writers are gone: processes of this system that do not run
 * any more, and those of other systems that have not written for a day.
 */
export function removeStale(folder: string): void {
  for (const name of list(folder)) {
    const file = path.join(folder, name);
    if (isStale(file) && !isMark(name)) remove(file);
  }
}

/** Whether a file or folder has a temporary name, and its writer is gone. */
export function isStale(file: string): boolean {
  const [, system, pid] = NAME.exec(path.basename(file)) ?? [];
  if (system === undefined) return false;
  return system === SYSTEM ? !isRunning(Number(pid)) : Date.now() - lastWrite(file) > DAY_MS;
}

/** The names in a folder; none if it is missing or closed, which the writer reports. */
function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

const lastWrite = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();

function remove(file: string): void {
  try {
    rmSync(file, { recursive: true });
  } catch {
    // Another process was faster, or it is not ours.
  }
}
