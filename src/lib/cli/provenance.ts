/** How an output was made, as every stream's header tells it. */
import { version } from '../version.js';

/** Header entries that all streams have; undefined ones of `more` are left out. */
export function provenance(kind: string, more: Record<string, string | undefined>): Record<string, string> {
  const entries = Object.entries({
    'repa.kind': kind,
    'repa.tool': `repa ${version}`,
    'repa.command': ['repa', ...process.argv.slice(2)].join(' '),
    ...more,
  });
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}
