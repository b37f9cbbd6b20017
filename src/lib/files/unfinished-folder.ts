/** Folders that are filled in place, over hours, and say so until they are whole. */
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { withPath } from './atomic-file.js';
import { isMark, isStale, isTemporaryName, MARK, temporaryName } from './temporary-files.js';

/** Whether what fills a folder is still at it, or was stopped; or the folder itself is one that was never given its name. */
export const isUnfinished = (folder: string): boolean =>
  isTemporaryName(path.basename(path.resolve(folder))) || readdirSync(folder).some(isMark);

export interface Mark {
  /** Whether the folder was left unfinished before: its files may be written again. */
  readonly resumed: boolean;
  remove(): void;
}

/** Marks a folder as unfinished; this mark takes the place of those that stopped processes have left. */
export function markUnfinished(folder: string): Mark {
  const resumed = isUnfinished(folder);
  const mark = temporaryName(path.join(folder, MARK));
  const earlier = readdirSync(folder).filter(isMark);
  try {
    writeFileSync(mark, '');
  } catch (error) {
    throw withPath(error, folder);
  }
  for (const name of earlier) if (isStale(path.join(folder, name))) rmSync(path.join(folder, name), { force: true });
  return { resumed, remove: () => rmSync(mark, { force: true }) };
}
