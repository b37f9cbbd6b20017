/** Folders that are filled in place, over hours, and say so until they are whole. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { UsageError } from '../errors.js';
import { withPath } from './atomic-file.js';
import { sha256OfText } from './sha256.js';
import { isMark, isStale, isTemporaryName, MARK, temporaryName } from './temporary-files.js';

/**
 * Whether what fills a folder is still at it, or was stopped; or the folder itself is one that was never given its
 * name.
 */
export const isUnfinished = (folder: string): boolean =>
  isTemporaryName(path.basename(path.resolve(folder))) || readdirSync(folder).some(isMark);

/** The text of a mark; empty where its process has just ended. */
function textOf(mark: string): string {
  try {
    return readFileSync(mark, 'utf8');
  } catch {
    return '';
  }
}

export interface Mark {
  /** Whether the folder was left unfinished before: its files may be written again. */
  readonly resumed: boolean;
  remove(): void;
}

/**
 * Marks a folder as unfinished; this mark takes the place of those that stopped processes have left.
 * @param job what is written to it: all that its files depend on
 * @throws UsageError when another job has left it unfinished
 */
export function markUnfinished(folder: string, job: string): Mark {
  const resumed = isUnfinished(folder);
  const mark = temporaryName(path.join(folder, MARK));
  const earlier = readdirSync(folder).filter(isMark);
  const own = sha256OfText(job);
  const jobs = earlier.map((name) => textOf(path.join(folder, name)));
  // Of a process that was killed while it wrote its mark, there are no pictures.
  if (jobs.some((other) => other.length === own.length && other !== own)) {
    throw new UsageError(
      `${folder}: holds a part of what another command makes`,
      'Run that to its end, or choose another folder.',
    );
  }
  try {
    writeFileSync(mark, own);
  } catch (error) {
    throw withPath(error, folder);
  }
  for (const name of earlier) if (isStale(path.join(folder, name))) rmSync(path.join(folder, name), { force: true });
  return { resumed, remove: () => rmSync(mark, { force: true }) };
}
