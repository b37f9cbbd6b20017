/**
 * Where option values come from besides the command line: `REPA_*` variables, then `repa.toml`.
 * A key at the top of the file serves every verb that has such an option; a `[verb]` table serves that verb alone.
 */
import { lstatSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { MissingInputError, UsageError } from '../errors.js';
import type { Option } from '../options/option.js';
import { type Source, written } from '../options/resolve.js';
import { closest } from '../options/suggest.js';
import { entriesOf, type Table } from '../options/table.js';

const CONFIG_FILE = 'repa.toml';

type Keys = ReadonlyMap<string, unknown>;

/** A configuration file, its keys as options have them. */
export interface Config {
  path: string;
  /** True where it was found in the working folder and not named: then it may come from whoever made the folder. */
  found: boolean;
  /** Keys that serve every verb. */
  shared: Keys;
  /** Keys of a verb's own table. */
  own: ReadonlyMap<string, Keys>;
}

/** The variable's value; one that is set to nothing counts as not set. */
const variable = (name: string): string | undefined => process.env[name] || undefined;

const variableOf = (option: string): string => `REPA_${option.toUpperCase().replaceAll('-', '_')}`;

/** REPA_BATCH_SIZE for --batch-size. */
export const environment: Source = written('environment', (name) => {
  const value = variable(variableOf(name));
  return value === undefined ? undefined : { value, where: variableOf(name) };
});

/**
 * Reads the file that is named, else by REPA_CONFIG, else ./repa.toml.
 * @returns undefined where none is named and none is there
 * @throws MissingInputError when a named one is missing; UsageError when it is none
 */
export async function readConfig(named: string | undefined, verbs: readonly string[]): Promise<Config | undefined> {
  const given = named ?? variable('REPA_CONFIG');
  const file = given ?? CONFIG_FILE;
  const text = readText(file, given !== undefined);
  if (text === undefined) return undefined;
  const { parse } = await import('smol-toml');
  let document: Record<string, unknown>;
  try {
    document = parse(text);
  } catch (error) {
    throw new UsageError(`${file} is not valid TOML: ${(error as Error).message}`);
  }
  const shared = new Map<string, unknown>();
  const own = new Map<string, Keys>();
  for (const [key, value] of Object.entries(document)) {
    if (!isTable(value)) shared.set(key, value);
    else if (verbs.includes(key)) own.set(key, keysOf(value, `${file}: [${key}]`));
    else throw new UsageError(`${file}: table [${key}] names no verb of repa`, closest(key, verbs));
  }
  return { path: file, found: given === undefined, shared: keysOf(Object.fromEntries(shared), file), own };
}

function readText(file: string, isNamed: boolean): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !isNamed) return undefined;
    if (code === 'ENOENT') {
      throw new MissingInputError(`no configuration file at ${file}`, 'Give --config the path of a TOML file.');
    }
    throw new UsageError(`${file} cannot be read as a configuration file (${code})`);
  }
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** Keys with hyphens, as options have them: `batch_size` is `batch-size`. */
function keysOf(table: Record<string, unknown>, where: string): Keys {
  const keys = new Map<string, unknown>();
  for (const [key, value] of Object.entries(table)) {
    const name = key.replaceAll('_', '-');
    if (keys.has(name)) throw new UsageError(`${where} has '${name}' twice, with a hyphen and with an underscore`);
    keys.set(name, value);
  }
  return keys;
}

/**
 * The sources that a file is for one verb: the verb's own table, then the top of the file.
 * @param tables of all verbs: a shared key has to be an option of one of them
 * @throws UsageError for a key that is no option, or an option of the command line alone; from the sources, for values
 *   of the wrong kind, and for paths that only the command line may choose
 */
export async function configSources(
  config: Config,
  verb: { name: string; options: Table },
  tables: () => Promise<readonly Table[]>,
): Promise<readonly Source[]> {
  const { path: file, shared } = config;
  const own: Keys = config.own.get(verb.name) ?? new Map();
  checkKeys(own, verb.options, `${file}: [${verb.name}] has no option`);
  const isOwn = [...shared.keys()].every((key) => namesOf(verb.options).includes(key));
  const known = isOwn ? verb.options : Object.fromEntries((await tables()).entries());
  checkKeys(shared, known, `${file}: no verb has an option`);
  return [
    keysSource(config, own, `${file}: [${verb.name}] `),
    { ...keysSource(config, shared, `${file}: `), isShared: true },
  ];
}

function keysSource({ path: file, found }: Config, keys: Keys, where: string): Source {
  const source = written(file, (name) =>
    keys.has(name) ? { value: keys.get(name), where: `${where}${name}` } : undefined,
  );
  const value = (option: Option): unknown => {
    const given = source.value(option);
    if (option.writes && found && typeof given === 'string') checkInside(option, given, file);
    return given;
  };
  return { ...source, value };
}

const namesOf = (table: Table): string[] => entriesOf(table).map(({ option }) => option.name);

function checkKeys(keys: Keys, table: Table, problem: string): void {
  const entries = entriesOf(table).map(({ option }) => option);
  for (const key of keys.keys()) {
    const known = entries.filter(({ name }) => name === key);
    if (known.length === 0) {
      throw new UsageError(`${problem} '${key}'`, closest(key, namesOf(table)));
    }
    if (known.every(({ commandLineOnly }) => commandLineOnly)) {
      throw new UsageError(`${problem} '${key}' that a file may set`, `Give ${known[0].long} on the command line.`);
    }
  }
}

/**
 * A folder that came from elsewhere may hold a repa.toml: it must not choose which files outside of the folder are
 * written.
 * @throws UsageError
 */
function checkInside({ name, long }: Option, target: string, file: string): void {
  const folder = realpathSync('.');
  const relative = path.relative(folder, resolved(path.resolve(target)));
  if (target === '-' || !(relative === '..' || relative.startsWith(`..${path.sep}`) || path.isAbsolute(relative)))
    return;
  throw new UsageError(
    `${file}: ${name} = "${target}" would write outside of the folder that ${file} lies in`,
    `A file that was only found here may not choose that: give ${long} on the command line, or name the file with --config.`,
  );
}

/** A path without symbolic links, of which the last parts need not exist. */
function resolved(target: string): string {
  try {
    return realpathSync(target);
  } catch {
    const parent = path.dirname(target);
    if (parent === target) return target;
    const isLink = lstatSync(target, { throwIfNoEntry: false })?.isSymbolicLink() ?? false; // one that leads nowhere yet
    return isLink ? path.resolve(parent, readlinkSync(target)) : path.join(resolved(parent), path.basename(target));
  }
}

/** One line on the values that a file gave, so that a reader of the output knows. */
export function toldBy(
  { path: file }: Config,
  given: ReadonlyMap<string, Source>,
  sources: readonly Source[],
  table: Table,
): string | undefined {
  const shown = entriesOf(table).flatMap(({ option }) => {
    const source = given.get(option.name);
    return source && sources.includes(source) ? [`${option.name} = ${JSON.stringify(source.value(option))}`] : [];
  });
  return shown.length === 0 ? undefined : `${file}: ${shown.join(', ')}`;
}
