/** Finding a PJRT plugin: named, or of an installed Python package, of which nothing is run. */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { UnavailableError } from '../../errors.js';
import { homeFolder } from '../../files/home.js';
import { missingInput } from '../../files/missing.js';

/** Drivers of accelerators: NVIDIA's (on Windows' Linux: its stand-in), AMD's, and those of PCI accelerators. */
const DRIVERS = ['/dev/nvidiactl', '/dev/dxg', '/dev/kfd', '/dev/accel0', '/dev/vfio/0'];

export const isAcceleratorVisible = (): boolean => DRIVERS.some((file) => existsSync(file));

export interface FoundPlugin {
  readonly file: string;
  /** Where it was named or found, in words. */
  readonly from: string;
}

/** What lies in a folder, the newest name first (python3.13 before python3.12); nothing where it is not there. */
export function entries(folder: string): string[] {
  try {
    const names = readdirSync(folder);
    const byNumber = new Intl.Collator('en', { numeric: true });
    return names.sort((a, b) => byNumber.compare(b, a)).map((name) => path.join(folder, name));
  } catch {
    return [];
  }
}

/** The folders of packages of a Python installation: `lib/python3.x/site-packages`, Debian's `dist-packages`. */
const packagesOf = (prefix: string): string[] =>
  [...entries(path.join(prefix, 'lib')), ...entries(path.join(prefix, 'lib64'))]
    .filter((folder) => /^python3/.test(path.basename(folder)))
    .flatMap((folder) => [path.join(folder, 'site-packages'), path.join(folder, 'dist-packages')])
    .filter((folder) => existsSync(folder));

/** What `python3` on the path belongs to: the folder above that of the file behind its links. */
function pythonPrefixes(): string[] {
  const programs = (process.env.PATH ?? '').split(path.delimiter).map((folder) => path.join(folder, 'python3'));
  const program = programs.find((file) => existsSync(file));
  if (!program) return [];
  // The environment's own prefix, and that of the installation which it links to.
  return [program, realpathSync(program)].map((file) => path.dirname(path.dirname(file)));
}

/** Where plugins that repa has fetched lie, each a folder of packages. */
export const pluginsFolder = (): string => homeFolder('plugins');

/** Folders of Python packages in which plugins are looked for, the nearest first. */
export function packageFolders(): { folder: string; from: string }[] {
  const { VIRTUAL_ENV, CONDA_PREFIX } = process.env;
  const named = [
    { prefix: VIRTUAL_ENV, from: 'VIRTUAL_ENV' },
    { prefix: CONDA_PREFIX, from: 'CONDA_PREFIX' },
    ...pythonPrefixes().map((prefix) => ({ prefix, from: 'python3' })),
    { prefix: path.join(os.homedir(), '.local'), from: "the user's Python packages" },
  ];
  const pulled = entries(pluginsFolder()).map((folder) => ({ folder, from: `repa pull ${path.basename(folder)}` }));
  const others = named.flatMap(({ prefix, from }) =>
    prefix ? packagesOf(prefix).map((folder) => ({ folder, from })) : [],
  );
  const installed = [...pulled.filter(({ folder }) => !path.basename(folder).startsWith('.')), ...others];
  return installed.filter(({ folder }, i) => installed.findIndex((other) => other.folder === folder) === i);
}

const IS_PLUGIN = /(plugin|pjrt).*\.(so|dylib)$/;

/** The plugins among the packages of a folder, by the names that their makers give them. */
export const pluginsIn = (folder: string): string[] => [
  ...entries(path.join(folder, 'jax_plugins'))
    .flatMap(entries)
    .filter((file) => IS_PLUGIN.test(path.basename(file))),
  ...entries(path.join(folder, 'libtpu')).filter((file) => path.basename(file) === 'libtpu.so'),
];

/** All plugins that are found without being named, the first of which is taken. */
export const installedPlugins = (): FoundPlugin[] =>
  packageFolders().flatMap(({ folder, from }) => pluginsIn(folder).map((file) => ({ file, from })));

/** A plugin that the environment names. */
export const namedPlugin = (): string | undefined => process.env.REPA_PJRT_PLUGIN || undefined;

/**
 * The plugin to load.
 * @param named by --plugin; else by REPA_PJRT_PLUGIN
 * @throws MissingInputError when a named one is not there; UnavailableError when none is found
 */
export function findPlugin(named: string | undefined): FoundPlugin {
  const explicit = named ?? namedPlugin();
  if (explicit !== undefined) {
    if (!existsSync(explicit)) throw missingInput(explicit, 'file', '--plugin takes a PJRT plugin.');
    return { file: path.resolve(explicit), from: named ? '--plugin' : 'REPA_PJRT_PLUGIN' };
  }
  const [first] = installedPlugins();
  if (first) return first;
  throw new UnavailableError(
    'the xla backend finds no PJRT plugin',
    'fetch one with repa pull xla-cuda13 (xla-cuda12, xla-rocm, xla-tpu), install one with pip, or name one with --plugin',
  );
}
