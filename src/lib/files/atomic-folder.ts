/**
 * Folders that appear whole or not at all: they are filled under a hidden temporary name beside the final one. What a
 * killed process leaves is hidden, and removed by the next one that writes beside it.
 */
import { mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { UsageError } from '../errors.js';
import { syncFolder } from './atomic-file.js';
import { makeFolder } from './folders.js';
import { temporaryName } from './temporary-files.js';
import { onInterrupt } from './unfinished.js';

export interface AtomicFolder {
  /** Where the files are put until `commit`. */
  readonly path: string;
  /** Gives the folder its name. */
  commit(): void;
  /** Removes what was written, as a signal does; does nothing after `commit`. */
  abort(): void;
}

/**
 * Starts a folder that gets its name at `commit`; the folders above it are made.
 * @throws UsageError when there is a file of that name, or a folder that is not empty: the two would mix
 */
export function openAtomicFolder(folder: string): AtomicFolder {
  const target = freeFolder(folder);
  makeFolder(path.dirname(target));
  const temporary = temporaryName(target);
  mkdirSync(temporary);
  const abort = (): void => {
    release();
    rmSync(temporary, { recursive: true, force: true });
  };
  const release = onInterrupt(abort);
  return {
    path: temporary,
    commit() {
      freeFolder(target);
      renameSync(temporary, target); // takes the place of an empty folder
      release();
      syncFolder(path.dirname(target));
    },
    abort,
  };
}

/** The folder's path without links; it is not there yet, or empty. */
function freeFolder(folder: string): string {
  const resolved = path.resolve(folder); // without a slash at its end, which a file may not have
  const stat = statSync(resolved, { throwIfNoEntry: false });
  if (!stat) return resolved;
  if (!stat.isDirectory()) throw new UsageError(`${folder}: is a file, not a folder`);
  if (readdirSync(resolved).length > 0) {
    throw new UsageError(`${folder}: holds files already, which would mix with new ones`, 'Choose a new folder.');
  }
  return realpathSync(resolved);
}
