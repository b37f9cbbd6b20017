/** Joins the values of several sources into those of a table, and checks them as a whole. */
import { isDeepStrictEqual } from 'node:util';
import { UsageError } from '../errors.js';
import { type Option, readValue } from './option.js';
import { type Entry, entriesOf, type Table, type Values, valueAt } from './table.js';

/** A source of values: the command line, the environment, a file. */
export interface Source {
  /** Its name in messages; empty for the command line. */
  readonly name: string;
  /** Whether it is for many verbs at once: a value that would do nothing in this one is ignored, not refused. */
  readonly isShared?: boolean;
  /** The value of an option; undefined if this source has none. */
  value(option: Option): unknown;
}

/** Values of a recipe by the names of options, as repa.toml would hold them. */
export type Preset = Readonly<Record<string, unknown>>;

export interface Resolved<T extends Table> {
  readonly values: Values<T>;
  /** Where the value of an option came from, by its name; absent where it is the default. */
  readonly sources: ReadonlyMap<string, Source>;
}

interface Choice {
  value: unknown;
  source: Source;
  /** The rank of the source: 0 is the strongest. */
  rank: number;
}

/**
 * The values of a table. Each option has the value of the first source that has one, else of the preset, else its
 * default. Of two that exclude each other, the one of the stronger source displaces the other.
 * @param sources the strongest first
 * @param presetOf the recipe that these values name, if any
 * @throws UsageError for an option that is missing, excluded by another of the same source, or without effect
 */
export function resolve<const T extends Table>(
  table: T,
  sources: readonly Source[],
  presetOf: (values: Values<T>) => Preset | undefined = () => undefined,
): Resolved<T> {
  const entries = entriesOf(table);
  const preset = presetOf(assemble(entries, chosenOf(entries, sources)) as Values<T>);
  const all = preset ? [...sources, presetSource(preset, entries)] : sources;
  const chosen = chosenOf(entries, all);
  settleConflicts(entries, chosen);
  checkRequired(entries, chosen);
  checkNeeds(entries, chosen);
  const values = assemble(entries, chosen);
  const origins = [...chosen].map(([option, { source }]) => [option.name, source] as const);
  return { values: values as Values<T>, sources: new Map(origins) };
}

/** A source of written values: `raw` gives that of an option's name, and where it stands. */
export const written = (
  name: string,
  raw: (name: string) => { value: unknown; where: string } | undefined,
): Source => ({
  name,
  value(option) {
    const found = option.commandLineOnly ? undefined : raw(option.name);
    return found && readValue(option, found.value, found.where);
  },
});

function presetSource(preset: Preset, entries: readonly Entry[]): Source {
  const unknown = Object.keys(preset).find((name) => !entries.some(({ option }) => option.name === name));
  if (unknown !== undefined) throw new Error(`a preset sets '${unknown}', which is no option`);
  return written('the preset', (name) =>
    name in preset ? { value: preset[name], where: `preset: ${name}` } : undefined,
  );
}

function chosenOf(entries: readonly Entry[], sources: readonly Source[]): Map<Option, Choice> {
  const chosen = new Map<Option, Choice>();
  for (const { option } of entries) {
    for (const [rank, source] of sources.entries()) {
      const value = source.value(option);
      if (value === undefined) continue;
      chosen.set(option, { value, source, rank });
      break;
    }
  }
  return chosen;
}

/** A nested record of the values; one that is undefined has no key. */
function assemble(entries: readonly Entry[], chosen: ReadonlyMap<Option, Choice>): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const { path, option } of entries) {
    let place = values;
    for (const key of path.slice(0, -1)) {
      place[key] ??= {};
      place = place[key] as Record<string, unknown>;
    }
    const value = chosen.has(option) ? chosen.get(option)!.value : option.fallback;
    const isOff = option.kind === 'flag' && value === false;
    if (value !== undefined && !isOff) place[path.at(-1)!] = value;
  }
  return values;
}

/** Flags and settings of a choice, as a message shows them. */
function shown({ flags }: Option, { source }: Choice): string {
  return `'${flags}'${source.name ? ` (${source.name})` : ''}`;
}

/** Whether a value switches something on: only then it excludes others; `raw = false` goes with `ema = 0.99`. */
const isOn = (value: unknown): boolean =>
  !(value === undefined || value === false || value === 0 || (Array.isArray(value) && value.length === 0));

function settleConflicts(entries: readonly Entry[], chosen: Map<Option, Choice>): void {
  for (const entry of entries) {
    for (const reference of entry.option.conflicts ?? []) {
      const other = find(entries, entry, reference).option;
      const [here, there] = [chosen.get(entry.option), chosen.get(other)];
      if (!here || !there || !isOn(here.value) || !isOn(there.value)) continue;
      if (here.rank === there.rank) {
        throw new UsageError(`option ${shown(entry.option, here)} cannot be used with option ${shown(other, there)}`);
      }
      chosen.delete(here.rank < there.rank ? other : entry.option);
    }
  }
}

function checkRequired(entries: readonly Entry[], chosen: ReadonlyMap<Option, Choice>): void {
  const missing = entries.find(({ option }) => option.required && !chosen.has(option))?.option;
  if (missing) throw new UsageError(`required option '${missing.flags}' not specified`);
}

/** Whether the value of an option is another one than its default, and asks for something. */
function isInUse({ path, option }: Entry, values: unknown): boolean {
  const value = valueAt(values, path);
  return isOn(option.kind === 'off' ? !value : value) && !isDeepStrictEqual(value, option.fallback);
}

/** A choice other than the default is named along with its option. */
const named = ({ long, choices, fallback }: Option, value: unknown): string =>
  choices && fallback !== undefined ? `${long} ${value}` : long;

function checkNeeds(entries: readonly Entry[], chosen: Map<Option, Choice>): void {
  for (const entry of entries) {
    const { needs } = entry.option;
    const values = assemble(entries, chosen);
    if (needs === undefined || !isInUse(entry, values)) continue;
    const words = missingNeed(entries, entry, needs, values);
    if (words === undefined) continue;
    if (!chosen.get(entry.option)?.source.isShared) {
      throw new UsageError(`${named(entry.option, valueAt(values, entry.path))} does nothing without ${words}`);
    }
    chosen.delete(entry.option);
  }
}

function missingNeed(
  entries: readonly Entry[],
  entry: Entry,
  needs: NonNullable<Option['needs']>,
  values: Record<string, unknown>,
): string | undefined {
  if (typeof needs === 'object' && 'holds' in needs) {
    const beside = valueAt(values, entry.path.slice(0, -1)) as Record<string, unknown>; // of the option's own table
    return needs.holds({ ...values, ...beside }) ? undefined : needs.words;
  }
  const others = (typeof needs === 'string' ? [needs] : needs).map((reference) => find(entries, entry, reference));
  const isMet = others.some(({ path }) => isOn(valueAt(values, path)));
  return isMet ? undefined : others.map(({ option }) => option.long).join(' or ');
}

/** The option that another one names. */
function find(entries: readonly Entry[], { option, siblings }: Entry, reference: string): Entry {
  const found = entries.find((other) =>
    reference.startsWith('--') ? other.option.long === reference : other.option === siblings[reference],
  );
  if (!found) throw new Error(`${option.long} names '${reference}', which is no option beside it`);
  return found;
}

/**
 * Refuses options that only another kind of network or sampler has a use for.
 * @param kind what is here; an option that is `onlyFor` something else must have its default
 * @param why said behind the options' names
 * @throws UsageError naming all of them
 */
export function refuseFor<T extends Table>(table: T, values: Values<T>, kind: string, why: string): void {
  const refused = entriesOf(table).filter((entry) => {
    const { onlyFor } = entry.option;
    return onlyFor !== undefined && onlyFor !== kind && isInUse(entry, values);
  });
  if (refused.length === 0) return;
  throw new UsageError(`${refused.map(({ option }) => option.long).join(', ')}: ${why}`);
}

/** The options of a table whose values differ from their defaults and ask for something. */
export const inUse = (table: Table, values: unknown): Option[] =>
  entriesOf(table)
    .filter((entry) => isInUse(entry, values))
    .map(({ option }) => option);
