/** The options of a verb: a table of them, in which further tables may lie. */
import type { Option } from './option.js';

/** Options by the keys of their values in the code. */
export interface Table {
  readonly [key: string]: Option | Table;
}

/** The values of a table, of the same shape. */
export type Values<T extends Table> = {
  -readonly [K in keyof T as undefined extends ValueOf<T[K]> ? never : K]: ValueOf<T[K]>;
} & {
  -readonly [K in keyof T as undefined extends ValueOf<T[K]> ? K : never]?: ValueOf<T[K]>;
};

type ValueOf<O> = O extends Option<infer V> ? V : O extends Table ? Values<O> : never;

/** Declares a table: gives back the same object, with its types inferred. */
export const options = <const T extends Table>(table: T): T => table;

/** An option, where it lies, and the table around it. */
export interface Entry {
  readonly path: readonly string[];
  readonly option: Option;
  readonly siblings: Table;
}

export const isOption = (value: Option | Table): value is Option => typeof value.flags === 'string';

/** Every option of a table and of those in it, in the order of their declaration. */
export function entriesOf(table: Table, path: readonly string[] = []): Entry[] {
  return Object.entries(table).flatMap(([key, value]) =>
    isOption(value) ? [{ path: [...path, key], option: value, siblings: table }] : entriesOf(value, [...path, key]),
  );
}

/** The value of an option among those of its table. */
export const valueAt = (values: unknown, path: readonly string[]): unknown =>
  path.reduce((place, key) => (place as Record<string, unknown> | undefined)?.[key], values);

/** The values of a table that are there, by the names that repa.toml has for their options. */
export function valuesByName(table: Table, values: unknown): Record<string, unknown> {
  const all = entriesOf(table).map(({ option, path }) => [option.name, valueAt(values, path)] as const);
  return Object.fromEntries(all.filter(([, value]) => value !== undefined));
}

/** What a table changes when it comes under a prefix. */
export interface PrefixSettings {
  /** The option that these belong to: each of them does nothing without it. */
  readonly needs?: Option['needs'];
}

/**
 * The same options for another purpose: `--steps` under the prefix `eval` is `--eval-steps`. Keys of values stay, short
 * flags go.
 */
export function prefixed<const T extends Table>(prefix: string, table: T, { needs }: PrefixSettings = {}): T {
  const rename = (option: Option): Option => {
    const long = option.long.replace(/^--(no-)?/, `--$1${prefix}-`);
    return {
      ...option,
      flags: option.flags.replace(/^-\w, /, '').replace(option.long, long),
      long,
      name: `${prefix}-${option.name}`,
      needs: option.needs ?? needs,
    };
  };
  const renamed = Object.entries(table).map(([key, value]) => {
    return [key, isOption(value) ? rename(value) : prefixed(prefix, value, { needs })];
  });
  return Object.fromEntries(renamed) as T;
}

/** Some of a table's options, such as those that another verb takes as well. */
export const pick = <const T extends Table, K extends keyof T & string>(table: T, ...keys: K[]): Pick<T, K> =>
  Object.fromEntries(keys.map((key) => [key, table[key]])) as Pick<T, K>;

/** The same option with other settings: its description, its default, what it needs. */
export const changed = <T>(
  option: Option<T>,
  changes: Partial<Omit<Option<T>, 'flags' | 'long' | 'name'>>,
): Option<T> => ({
  ...option,
  ...changes,
});
