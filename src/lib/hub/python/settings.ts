/** Which Python package indexes the user has configured, for pip or for uv. */
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const PYPI = 'https://pypi.org/simple';

/** The settings of `[global]`, `[install]` and `[download]`; a value goes on in lines that are indented. */
function readIni(file: string): Map<string, string> {
  const settings = new Map<string, string>();
  let section = '';
  let key = '';
  for (const line of readFileSync(file, 'utf8').split(/\r?\n/)) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    const [, name] = /^\[([^\]]*)\]/.exec(line) ?? [];
    const [, setting, value] = /^([\w-]+)\s*[=:]\s*(.*)$/.exec(line) ?? [];
    if (name !== undefined) section = name;
    else if (setting !== undefined) {
      key = setting.replaceAll('_', '-');
      if (['global', 'install', 'download'].includes(section)) settings.set(key, value);
    } else if (settings.has(key)) settings.set(key, `${settings.get(key)} ${line.trim()}`);
  }
  return settings;
}

/** pip's files, those that count most last. */
function pipFiles(env: NodeJS.ProcessEnv): string[] {
  const home = os.homedir();
  const system = [...(env.XDG_CONFIG_DIRS || '/etc/xdg').split(':').map((folder) => path.join(folder, 'pip')), '/etc'];
  const user = [path.join(home, '.pip'), path.join(env.XDG_CONFIG_HOME || path.join(home, '.config'), 'pip')];
  const folders = [...system, ...user, ...[env.VIRTUAL_ENV, env.CONDA_PREFIX].filter((folder) => folder !== undefined)];
  const own = env.PIP_CONFIG_FILE;
  if (own === '/dev/null') return [];
  return [...folders.map((folder) => path.join(folder, 'pip.conf')), ...(own ? [own] : [])].filter((file) =>
    existsSync(file),
  );
}

/** uv lets an index have a name in front: `name=https://...`. */
const withoutName = (index: string): string => index.replace(/^[\w-]+=(?=\w+:)/, '');

/**
 * Addresses of simple indexes, in the order in which they are asked: what PIP_INDEX_URL, UV_DEFAULT_INDEX or
 * UV_INDEX_URL say, or pip's files, or PyPI; and behind it the additional ones.
 */
export function indexAddresses(env: NodeJS.ProcessEnv = process.env): string[] {
  const settings = new Map(pipFiles(env).flatMap((file) => [...readIni(file)]));
  const main = env.PIP_INDEX_URL || env.UV_DEFAULT_INDEX || env.UV_INDEX_URL || settings.get('index-url') || PYPI;
  const extra = [
    env.PIP_EXTRA_INDEX_URL ?? settings.get('extra-index-url') ?? '',
    env.UV_INDEX ?? '',
    env.UV_EXTRA_INDEX_URL ?? '',
  ];
  const all = [main, ...extra.flatMap((value) => value.split(/\s+/))].filter(Boolean).map(withoutName);
  return [...new Set(all.map((index) => index.replace(/\/+$/, '')))];
}
