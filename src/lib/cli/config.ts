/**
 * Where option values come from besides the command line: `REPA_*` variables, then `repa.toml`, then the default.
 * A key at the top of the file serves every verb that has such an option; a `[verb]` table serves that verb alone.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { InvalidArgumentError } from '@commander-js/extra-typings';
import { MissingInputError, UsageError } from '../errors.js';
import { closest } from '../options/suggest.js';

const CONFIG_FILE = 'repa.toml';

type ConfigValue = string | number | boolean | ConfigValue[];
interface Config {
  path: string;
  /** Keys that serve every verb. */
  shared: Record<string, unknown>;
  /** Keys of this verb's own table. */
  own: Record<string, unknown>;
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

async function readConfig(explicit: string | undefined, verb: string, verbs: readonly string[]): Promise<Config> {
  const path = explicit ?? CONFIG_FILE;
  if (!existsSync(path)) {
    if (explicit === undefined) return { path, shared: {}, own: {} };
    throw new MissingInputError(`no configuration file at ${path}`, 'Give --config the path of a TOML file.');
  }
  const { parse } = await import('smol-toml');
  let document: Record<string, unknown>;
  try {
    document = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UsageError(`${path} is not valid TOML: ${(error as Error).message}`);
  }
  const shared: Record<string, unknown> = {};
  let own: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(document)) {
    if (!isTable(value)) shared[key] = value;
    else if (key === verb) own = value;
    else if (!verbs.includes(key)) {
      throw new UsageError(`${path}: table [${key}] names no verb of repa`, closest(key, verbs));
    }
  }
  return { path, shared, own };
}

const kebab = (key: string): string => key.replaceAll('_', '-');

function convert(option: Option, value: ConfigValue, where: string): unknown {
  if (option.isBoolean() || option.negate) {
    if (typeof value === 'boolean') return value;
    if (value === '1' || value === 'true') return true;
    if (value === '0' || value === 'false' || value === '') return false;
    throw new UsageError(`${where}: it takes true or false`);
  }
  const text = Array.isArray(value) ? value.join(',') : String(value);
  if (option.argChoices && !option.argChoices.includes(text)) {
    throw new UsageError(`${where}: '${text}' is none of ${option.argChoices.join(', ')}`);
  }
  try {
    return option.parseArg ? option.parseArg(text, undefined) : text;
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw new UsageError(`${where}: ${error.message}`);
    throw error;
  }
}

/**
 * Fills in the options that the command line left at their defaults.
 * @param isKnownElsewhere tells whether some other verb has an option of that name
 * @throws UsageError for a key that no verb has, or a value its option does not take
 */
export async function applyConfig(
  command: CommandUnknownOpts,
  verbs: readonly string[],
  isKnownElsewhere: (name: string) => Promise<boolean>,
): Promise<void> {
  const explicit = command.getOptionValue('config') as string | undefined;
  const config = await readConfig(explicit ?? process.env.REPA_CONFIG, command.name(), verbs);
  const byName = new Map(command.options.map((option) => [option.long?.replace(/^--(no-)?/, ''), option]));

  for (const key of Object.keys(config.own)) {
    if (byName.has(kebab(key))) continue;
    const names = [...byName.keys()].filter((name) => name !== undefined);
    throw new UsageError(`${config.path}: [${command.name()}] has no option '${key}'`, closest(kebab(key), names));
  }
  for (const key of Object.keys(config.shared)) {
    if (byName.has(kebab(key)) || (await isKnownElsewhere(kebab(key)))) continue;
    throw new UsageError(`${config.path}: no verb has an option '${key}'`);
  }

  const fromFile = (table: Record<string, unknown>, name: string) =>
    Object.entries(table).find(([key]) => kebab(key) === name)?.[1] as ConfigValue | undefined;

  for (const [name, option] of byName) {
    if (name === undefined || command.getOptionValueSource(option.attributeName()) === 'cli') continue;
    const variable = `REPA_${name.toUpperCase().replaceAll('-', '_')}`;
    const environment = process.env[variable];
    if (environment !== undefined) {
      const value = convert(option, environment, variable);
      command.setOptionValueWithSource(option.attributeName(), value, 'env');
      continue;
    }
    const value = fromFile(config.own, name) ?? fromFile(config.shared, name);
    if (value === undefined) continue;
    const converted = convert(option, value, `${config.path}: ${name}`);
    command.setOptionValueWithSource(option.attributeName(), converted, 'config');
  }
}
