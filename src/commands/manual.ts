/** Every generated man page, by file name. */

import { overviewPage, verbPage } from '../lib/cli/man.js';
import { version } from '../lib/version.js';
import { verbs } from './index.js';
import { overview } from './overview.js';

export async function manPages(): Promise<Map<string, string>> {
  const pages = new Map([['repa.1', overviewPage(overview, verbs, version)]]);
  for (const entry of verbs) pages.set(`repa-${entry.name}.1`, verbPage(entry, await entry.load(), version));
  return pages;
}
