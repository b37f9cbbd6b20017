/** The folders of repa's caches. */
import os from 'node:os';
import path from 'node:path';

/** A folder of `$REPA_HOME`, or, where that is not set or set to nothing, of `~/.cache/repa`. */
export const homeFolder = (name: string): string =>
  path.join(process.env.REPA_HOME || path.join(os.homedir(), '.cache', 'repa'), name);
