/** Facts about a file or a folder, as people read them. */

/** Plain JSON: `holds` says what it is, the rest depends on that. */
export type Facts = Record<string, unknown>;

/** Facts joined with a file's own metadata: of two entries of one name, the fact counts. */
export const withMetadata = (facts: Facts, metadata: Readonly<Facts>): Facts => ({ ...facts, ...metadata, ...facts });

/** Items of a list that are shown; the others are counted. */
const SHOWN = 30;
/** Columns of a line that holds several facts; a longer fact has a line of its own. */
const WIDTH = 100;

const isNested = (value: unknown): value is Facts =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const shown = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? 'absent'));

/**
 * Facts in lines: nested ones indented and, where they are short, several a line; lists an item a line, folded by their
 * numbers.
 */
export function factLines(facts: Facts, indent = ''): string[] {
  return Object.entries(facts).flatMap(([key, value]) => {
    if (Array.isArray(value) && value.some((item) => typeof item === 'string'))
      return [`${indent}${key}`, ...listLines(value.map(shown), `${indent}  `)];
    if (Array.isArray(value) && value.length > 0 && value.every(isNested)) {
      return [`${indent}${key}`, ...factLines({ ...value }, `${indent}  `)];
    }
    if (!isNested(value)) return [`${indent}${key}  ${shown(value)}`];
    if (Object.keys(value).length === 0) return [`${indent}${key}  none`];
    return [`${indent}${key}`, ...nestedLines(value, `${indent}  `)];
  });
}

function nestedLines(facts: Facts, indent: string): string[] {
  if (Object.values(facts).some(isNested)) return factLines(facts, indent);
  const lines: string[] = [];
  let line = '';
  for (const [key, value] of Object.entries(facts)) {
    const fact = `${key} ${shown(value)}`;
    if (line !== '' && indent.length + line.length + 2 + fact.length > WIDTH) {
      lines.push(indent + line);
      line = '';
    }
    line += line === '' ? fact : `, ${fact}`;
  }
  return [...lines, indent + line];
}

function listLines(items: readonly string[], indent: string): string[] {
  const folded = foldNumbers(items);
  const lines = folded.slice(0, SHOWN).map((item) => indent + item);
  const more = folded.length - SHOWN;
  return more > 0 ? [...lines, `${indent}and ${more} more: --json has all`] : lines;
}

/** A name, then what the tensor is. */
const NAMED = /^(\S+): (.*)$/s;

/**
 * Items `name: what` whose names differ in their first number alone are told as one: `blocks.{0..27}.norm.weight: f32
 * [1152]`. All keep the order of the first of each.
 */
export function foldNumbers(items: readonly string[]): string[] {
  const groups = new Map<string, { name: string; number: number; item: string }[]>();
  for (const item of items) {
    const [, name = item, what = ''] = NAMED.exec(item) ?? [];
    const number = Number(NUMBER.exec(name)?.[0] ?? Number.NaN);
    const key = Number.isNaN(number) ? item : `${name.replace(NUMBER, '#')} ${what}`;
    const members = groups.get(key);
    if (members) members.push({ name, number, item });
    else groups.set(key, [{ name, number, item }]);
  }
  return [...groups.values()].flatMap((members) => {
    const numbers = members.map(({ number }) => number).sort((a, b) => a - b);
    const [first, last] = [numbers[0], numbers[numbers.length - 1]];
    if (members.length === 1 || last - first !== members.length - 1) return members.map(({ item }) => item);
    const [{ name, item }] = members;
    return [name.replace(NUMBER, `{${first}..${last}}`) + item.slice(name.length)];
  });
}

/** The first part of a name that is a number. */
const NUMBER = /(?<=\.)\d+(?=\.)/;
