/**
 * PJRT plugins by name: fetched as the Python packages that their makers publish, and unpacked where xla looks for
 * them.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { pluginsFolder, pluginsIn } from '../engine/xla/plugin.js';
import { DataError, UnavailableError } from '../errors.js';
import { openAtomicFolder } from '../files/atomic-folder.js';
import { makeFolder } from '../files/folders.js';
import { sha256Of } from '../files/sha256.js';
import { download, type OnProgress, settleDownload } from './download.js';
import { fetchText } from './python/index-page.js';
import { resolveWheels, type Wheel } from './python/resolve.js';
import { indexAddresses } from './python/settings.js';
import { unpackWheel, wheelMetadata } from './python/unpack.js';

export interface PublishedPlugin {
  /** The requirement, as pip would be given it. */
  readonly requirement: string;
  /** A project of which only the metadata are fetched, as it holds Python code. */
  readonly without?: string;
}

export const PLUGINS: ReadonlyMap<string, PublishedPlugin> = new Map([
  ['xla-cuda13', { requirement: 'jax-cuda13-plugin[with-cuda]', without: 'jax-cuda13-plugin' }],
  ['xla-cuda12', { requirement: 'jax-cuda12-plugin[with-cuda]', without: 'jax-cuda12-plugin' }],
  ['xla-rocm', { requirement: 'jax-rocm7-pjrt' }],
  ['xla-tpu', { requirement: 'libtpu' }],
]);

/** The file that lists the wheels of a plugin. */
const ORIGIN = 'wheels.json';

/** Where wheels are kept until their plugin is whole. */
const wheelsFolder = (): string => path.join(pluginsFolder(), '.wheels');
const wheelFile = (folder: string, sha256: string): string => path.join(folder, `${sha256}.whl`);

const folderOf = (name: string): string => path.join(pluginsFolder(), name);

/** The library of a plugin that was pulled. */
export const findPulledPlugin = (name: string): string | undefined => pluginsIn(folderOf(name))[0];

export interface PulledPlugin {
  name: string;
  path: string;
  /** False when it was here already. */
  fetched: boolean;
}

/**
 * Fetches the wheels of a plugin and unpacks them; what an earlier attempt has fetched is not fetched again.
 * @param begin called with the name of each file that is fetched
 * @throws UnavailableError when a wheel is not to be had; DataError when one is not what it should be: nothing is left
 *   then that could be taken for a plugin
 */
export async function pullPlugin(name: string, begin: (file: string) => OnProgress): Promise<PulledPlugin> {
  const here = findPulledPlugin(name);
  if (here) {
    removeFetched(folderOf(name));
    return { name, path: here, fetched: false };
  }
  const { requirement, without } = PLUGINS.get(name)!;
  const wheels = wheelsFolder();
  const fetched = new Map<string, Promise<string>>();
  const fetch = (wheel: Wheel): Promise<string> => {
    const file = fetched.get(wheel.sha256) ?? fetchWheel(wheel, wheels, begin);
    fetched.set(wheel.sha256, file);
    return file;
  };
  const indexes = indexAddresses();
  const needed = await resolveWheels(requirement, indexes, async (wheel) => {
    const own = wheel.hasMetadata && (await fetchText(new URL(`${wheel.url}.metadata`), { ...wheel.headers }));
    return own ? own.body : wheelMetadata(await fetch(wheel));
  });
  const folder = openAtomicFolder(folderOf(name));
  try {
    const unpacked = needed.filter(({ project }) => project !== without);
    for (const wheel of unpacked) await unpackWheel(await fetch(wheel), folder.path);
    const origin = unpacked.map(({ name, version, sha256 }) => ({ file: name, version: version.text, sha256 }));
    writeFileSync(path.join(folder.path, ORIGIN), `${JSON.stringify(origin, null, 2)}\n`);
    if (pluginsIn(folder.path).length === 0) {
      throw new DataError(`${unpacked.map(({ name }) => name).join(', ')}: no PJRT plugin is in any of them`);
    }
    folder.commit();
  } finally {
    folder.abort();
  }
  for (const file of fetched.values()) if (path.dirname(await file) === wheels) rmSync(await file, { force: true });
  return { name, path: findPulledPlugin(name)!, fetched: true };
}

/** Of a plugin that is whole, the wheels that a process left which was killed before it removed them. */
function removeFetched(folder: string): void {
  const file = path.join(folder, ORIGIN);
  const origin = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { sha256: string }[]) : [];
  for (const { sha256 } of origin) rmSync(wheelFile(wheelsFolder(), sha256), { force: true });
}

/** @returns the file of a wheel whose SHA-256 is that of the index */
async function fetchWheel(wheel: Wheel, folder: string, begin: (file: string) => OnProgress): Promise<string> {
  const { url, headers, sha256, size, name } = wheel;
  if (url.startsWith('file:')) {
    const file = fileURLToPath(url);
    if (existsSync(file) && (await sha256Of(file)) === sha256) return file;
    throw new UnavailableError(`${file}: is not the file that the index tells of`);
  }
  makeFolder(folder);
  const file = wheelFile(folder, sha256);
  if (existsSync(file)) await settleDownload(file);
  else await download({ url, headers, file, size, sha256 }, begin(name));
  return file;
}
