/** Folders that are made with those above them. */
import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';

/**
 * `mkdir -p`. Node's own takes some errors for others: of a disk that is full or broken it says that there is no such
 * folder.
 * @returns the first of the folders that was not there; undefined if all were
 * @throws an error of the file system
 */
export function makeFolder(folder: string): string | undefined {
  const made = path.resolve(folder);
  try {
    mkdirSync(made);
    return made;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && path.dirname(made) !== made) {
      const first = makeFolder(path.dirname(made));
      const last = makeFolder(made); // perhaps another process has made it in the meantime
      return first ?? last;
    }
    if (statSync(made, { throwIfNoEntry: false })?.isDirectory()) return undefined;
    throw Object.assign(error as Error, { path: folder });
  }
}
