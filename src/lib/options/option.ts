/**
 * One option of a verb, declared once: flag, type, default, help, what it needs. The command line, repa.toml, the
 * environment, presets, help, man pages and completion read the declaration.
 */
import { RepaError, UsageError } from '../errors.js';

/** Thrown for a text that an option does not take; the caller adds the option, and where the text stood. */
export class ValueProblem extends Error {}

/** Names another option: by its key in the same table, or by its flag, such as `--lambda`, anywhere in the verb. */
export type Reference = string;

/** What must hold for an option to do anything, in words that follow "does nothing without". */
export interface Condition {
  readonly words: string;
  /** Given the values of the option's table, then those of the tables around it. */
  // biome-ignore lint/suspicious/noExplicitAny: the values of a table that this file cannot know
  readonly holds: (values: any) => boolean;
}

/** The settings that any option may have. */
export interface OptionSettings {
  /** The default in words, where there is no value or the value tells little. */
  readonly defaultText?: string;
  /** Whether it must be given, by any source. */
  readonly required?: boolean;
  /** One of these options must be on, or the condition must hold: alone this option would do nothing. */
  readonly needs?: Reference | readonly Reference[] | Condition;
  /** Options that cannot be given along with it. */
  readonly conflicts?: readonly Reference[];
  /** The kind of network or sampler that uses it; others refuse it (see `refuseFor`). */
  readonly onlyFor?: string;
  /**
   * Its value is a path that is written to: a file, one that is not written in order, a folder, or (true) either, a
   * folder where it is one or ends in /.
   */
  readonly writes?: true | 'file' | 'seekable' | 'folder';
  /** Whether it is refused when given twice on the command line; of other options the last one counts. */
  readonly once?: boolean;
  /** Whether only the command line may give it: it acts before repa.toml is read, or would surprise from there. */
  readonly commandLineOnly?: boolean;
}

export interface Option<T = unknown> extends OptionSettings {
  /** Its flags as help shows them: `-k, --neighbours <n>`. */
  readonly flags: string;
  /** Its long flag: `--neighbours`, or `--no-cache` for one that switches off. */
  readonly long: string;
  /** Its key in repa.toml and, as REPA_NEIGHBOURS, in the environment; without the `no-` of one that switches off. */
  readonly name: string;
  readonly description: string;
  readonly kind: 'value' | 'list' | 'flag' | 'off';
  readonly choices?: readonly string[];
  /** A value from its text (of a list, an item), never the empty one. @throws ValueProblem */
  readonly parse: (text: string) => unknown;
  /** Undefined for none. */
  readonly fallback: T;
}

interface Default<T> extends OptionSettings {
  readonly default?: T;
}

/** Undefined is no value of an option that is required or has a default. */
type Given<T, S> = S extends { readonly default: NonNullable<unknown> } | { readonly required: true }
  ? T
  : T | undefined;

/**
 * An option whose text is read by `parse`, which throws a ValueProblem that says what would be accepted.
 */
export function parsed<T, const S extends Default<NoInfer<T>> = OptionSettings>(
  flags: string,
  description: string,
  parse: (text: string) => T,
  settings: S = {} as S,
): Option<Given<T, S>> {
  return option(flags, description, 'value', parse, settings);
}

/** A comma-separated list, whose items `item` reads. */
export function list<T, const S extends Default<readonly NoInfer<T>[]> = OptionSettings>(
  flags: string,
  description: string,
  item: (text: string) => T,
  settings: S = {} as S,
): Option<Given<T[], S>> {
  return option(flags, description, 'list', item, settings);
}

/** The bounds of a number; `above` and `below` are exclusive. */
interface Bounds {
  readonly min?: number;
  readonly max?: number;
  readonly above?: number;
  readonly below?: number;
}

/** A finite number within bounds. */
export function number<const S extends Default<number> & Bounds = OptionSettings>(
  flags: string,
  description: string,
  settings: S = {} as S,
): Option<Given<number, S>> {
  return option(flags, description, 'value', within(settings), settings);
}

/** A whole number of at least `min` (0 if not said) and at most `max`. */
export function integer<const S extends Default<number> & Pick<Bounds, 'min' | 'max'> = OptionSettings>(
  flags: string,
  description: string,
  settings: S = {} as S,
): Option<Given<number, S>> {
  return option(flags, description, 'value', whole(settings.min, settings.max), settings);
}

export function text<const S extends Default<string> = OptionSettings>(
  flags: string,
  description: string,
  settings: S = {} as S,
): Option<Given<string, S>> {
  return option(flags, description, 'value', (value) => value, settings);
}

/** One of a few words. */
export function choice<const C extends string, const S extends Default<C> = OptionSettings>(
  flags: string,
  description: string,
  choices: readonly C[],
  settings: S = {} as S,
): Option<Given<C, S>> {
  const parse = (value: string): C => {
    if ((choices as readonly string[]).includes(value)) return value as C;
    throw new ValueProblem(`Allowed choices are ${choices.join(', ')}.`);
  };
  return { ...option<Given<C, S>>(flags, description, 'value', parse, settings), choices };
}

/** True when given. */
export const flag = (flags: string, description: string, settings: OptionSettings = {}): Option<true | undefined> =>
  option(flags, description, 'flag', truth, settings);

/** `--no-x`: true unless given. */
export const off = (flags: string, description: string, settings: OptionSettings = {}): Option<boolean> =>
  option(flags, description, 'off', truth, { ...settings, default: true });

/** Two blocks, counted from 1, such as `8,16`. */
export function blockPair<const S extends Default<readonly [number, number]> = OptionSettings>(
  flags: string,
  description: string,
  settings: S = {} as S,
): Option<Given<[number, number], S>> {
  const parse = (value: string): [number, number] => {
    const blocks = value.split(',').map((part) => whole(1)(part.trim()));
    if (blocks.length !== 2) throw new ValueProblem('It takes two blocks, such as 8,16.');
    return [blocks[0], blocks[1]];
  };
  return option(flags, description, 'value', parse, settings);
}

/** Reads a finite number. @throws ValueProblem */
export const decimal =
  (min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value) && value >= min && value <= max) return value;
    throw new ValueProblem(`It takes a number${range(min, max)}.`);
  };

/** Reads a finite number within bounds. @throws ValueProblem */
const within =
  ({ min, max, above, below }: Bounds) =>
  (text: string): number => {
    const value = decimal(min, max)(text);
    if (above !== undefined && value <= above) throw new ValueProblem(`It takes a number above ${above}.`);
    if (below !== undefined && value >= below) throw new ValueProblem(`It takes a number below ${below}.`);
    return value;
  };

/** Reads a whole number; `+3` is none, which tail(1) takes for "from the third on". @throws ValueProblem */
export const whole =
  (min = 0, max = Number.POSITIVE_INFINITY) =>
  (text: string): number => {
    const value = Number(text);
    const isWhole = /^\s*[^\s+]/.test(text) && Number.isSafeInteger(value);
    if (isWhole && value >= min && value <= max) return value;
    throw new ValueProblem(`It takes a whole number${range(min, max)}.`);
  };

function range(min: number, max: number): string {
  if (max !== Number.POSITIVE_INFINITY) return ` from ${min} to ${max}`;
  return min === Number.NEGATIVE_INFINITY ? '' : ` of at least ${min}`;
}

function option<T>(
  flags: string,
  description: string,
  kind: Option['kind'],
  parse: (text: string) => unknown,
  { default: fallback, ...settings }: Default<unknown>,
): Option<T> {
  const long = /--[a-z][a-z0-9-]*/.exec(flags)?.[0];
  if (long === undefined) throw new Error(`no long flag in '${flags}'`);
  const name = long.slice(kind === 'off' ? '--no-'.length : '--'.length);
  return { ...settings, flags, long, name, description, kind, parse, fallback: fallback as T };
}

/** Reads yes or no in the words that a variable or a string may hold. */
function truth(value: string): boolean {
  if (value === '1' || value === 'true') return true;
  if (value === '0' || value === 'false') return false;
  throw new ValueProblem('It takes true or false.');
}

/**
 * The value of an option that is written as `raw` in a file, a variable or a preset: a text, a number, true or false, a
 * list of them.
 * @returns undefined where that is nothing, which counts as not given
 * @throws UsageError naming `where`
 */
export function readValue({ kind, parse, flags }: Option, raw: unknown, where: string): unknown {
  const parseAt = (part: unknown): unknown => {
    const isText = typeof part === 'string' || typeof part === 'number' || typeof part === 'bigint';
    if (!isText) throw new UsageError(`${where}: ${wanted(kind, flags)}, not ${nameOf(part)}`);
    return parseText(parse, String(part).trim(), where);
  };
  if (raw === '' || (Array.isArray(raw) && raw.length === 0)) return undefined;
  if ((kind === 'flag' || kind === 'off') && typeof raw === 'boolean') return raw;
  if (kind === 'list') return (Array.isArray(raw) ? raw : String(assertText(raw)).split(',')).map(parseAt);
  return parseAt(Array.isArray(raw) && kind === 'value' ? raw.map(assertText).join(',') : raw);

  function assertText(part: unknown): unknown {
    if (typeof part === 'object' || typeof part === 'boolean' || part === undefined) parseAt(part);
    return part;
  }
}

function parseText(parse: Option['parse'], value: string, where: string): unknown {
  try {
    return parse(value);
  } catch (error) {
    if (error instanceof ValueProblem) throw new UsageError(`${where}: ${error.message}`);
    throw error instanceof RepaError ? new UsageError(`${where}: ${error.message}`, error.hint) : error;
  }
}

function wanted(kind: Option['kind'], flags: string): string {
  if (kind === 'flag' || kind === 'off') return 'it takes true or false';
  return `it takes ${kind === 'list' ? 'a list, or ' : ''}a value (${flags})`;
}

function nameOf(value: unknown): string {
  if (typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return 'a list in a list';
  return value instanceof Date ? 'a date' : 'a table';
}
