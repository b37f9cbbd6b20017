/**
 * Folders that appear whole or not at all: they are filled under a hidden temporary name beside the final one. What a
 * killed process leaves is hidden, and removed by the next one that writes beside it.
 */
import { mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { UsageError } from '../errors.js';
import { syncFolder } from './atomic-file.js';
import { temporaryName } from './temporary-files.js';

export interface AtomicFolder {
  /** Where the files are put until `commit`. */
  readonly path: string;
  /** Gives the folder its name. */
  commit(): void;
  /** Removes what was written; does nothing after `commit`. */
  abort(): void;
}

/**
 * Starts a folder that gets its name at `commit`; the folders above it are made.
 * @throws UsageError when there is a file of that name, or a folder that is not empty: the two would mix
 */
export function openAtomicFolder(folder: string): AtomicFolder {
  const target = freeFolder(folder);
  mkdirSync(path.dirname(target), { recursive: true });
  const temporary = temporaryName(target);
  mkdirSync(temporary);
  let open = true;
  return {
    path: temporary,
    commit() {
      freeFolder(target);
      renameSync(temporary, target); // takes the place of an empty folder
      open = false;
      syncFolder(path.dirname(target));
    },
    abort() {
      if (open) rmSync(temporary, { recursive: true, force: true });
      open = false;
    },
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
