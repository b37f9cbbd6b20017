/** Changes of JSON that leave it JSON: another value in some place, a key less, twice or of another name. */
import { below, pick, type Random } from './mutate.js';

/** What every object has, or nobody would call a field. */
const NAMES = [
  '__proto__',
  'constructor',
  'toString',
  'length',
  'hasOwnProperty',
  '',
  ' ',
  '\u0000',
  'a'.repeat(300),
  '../..',
];

/** JSON of values that nobody expects: written, since some are no values of JavaScript. */
const VALUES = [
  'null',
  'true',
  '-1',
  '0',
  '0.5',
  '-0',
  '1e400',
  '-1e400',
  '1e-400',
  '2147483648',
  '4294967296',
  '9007199254740993',
  '1e15',
  '""',
  '"\\ud800"',
  '"\\u0000\\u001b[31m"',
  '"NaN"',
  '[]',
  '{}',
  '[null]',
  '[[[[]]]]',
  '{"toString": 1}',
  '{"valueOf": null, "toString": null}',
  '{"__proto__": {"length": 3}}',
  '{"length": 4294967295}',
  `"${'x'.repeat(5000)}"`,
  `${'['.repeat(200)}${']'.repeat(200)}`,
  `${'['.repeat(20_000)}${']'.repeat(20_000)}`,
];

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A value that is written in the place of one; its text is no JSON string that a file holds. */
const placeholder = (index: number): string => `\u2063value ${index}\u2063`;

/** All places of a value: the containers, with the keys in them. */
function placesOf(value: Json, found: [Json[] | Record<string, Json>, string][] = []): typeof found {
  if (typeof value !== 'object' || value === null) return found;
  for (const [key, below] of Object.entries(value)) {
    found.push([value as Record<string, Json>, key]);
    placesOf(below, found);
  }
  return found;
}

/** What is in another place. */
const copyOf = ([container, key]: [Json[] | Record<string, Json>, string]): Json =>
  JSON.parse(JSON.stringify((container as Record<string, Json>)[key]));

/** One to three changes of a JSON text. */
export function jsonMutant(good: string, random: Random): Buffer {
  const root = { value: JSON.parse(good) as Json };
  for (let left = 1 + below(random, 3); left > 0; left--) {
    const places = placesOf(root);
    if (places.length === 0) break;
    const [container, key] = pick(random, places);
    const values = container as Record<string, Json>;
    const change = below(random, 8);
    if (change === 0 && values !== root) {
      if (Array.isArray(container)) container.splice(Number(key), 1);
      else delete values[key];
    } else if (change === 1 && !Array.isArray(container) && values !== root) {
      const name = pick(random, NAMES);
      Object.defineProperty(values, name, { value: values[key], enumerable: true, configurable: true, writable: true });
    } else if (change === 2) values[key] = copyOf(pick(random, places));
    else values[key] = placeholder(below(random, VALUES.length));
  }
  const text = JSON.stringify(root.value) ?? 'null';
  return Buffer.from(text.replace(/"\u2063value (\d+)\u2063"/g, (_, index) => VALUES[Number(index)]));
}
