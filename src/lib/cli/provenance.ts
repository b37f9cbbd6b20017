/** How an output was made, as every stream's header tells it. */
import { portablePath } from '../files/portable-path.js';
import { version } from '../version.js';

/** Header entries that all streams have; undefined ones of `more` are left out. */
export function provenance(kind: string, more: Record<string, string | undefined>): Record<string, string> {
  const entries = Object.entries({
    'repa.kind': kind,
    'repa.tool': `repa ${version}`,
    'repa.command': ['repa', ...process.argv.slice(2).map(portable)].join(' '),
    ...more,
  });
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** An argument, or the value of `--option=value`, with its path shortened as paths in headers are. */
function portable(argument: string): string {
  const [option = ''] = /^--[^=]+=/.exec(argument) ?? [];
  const value = argument.slice(option.length);
  return option + (value.startsWith('/') ? portablePath(value) : value);
}
