/** Shapes of JSON: checked once when a file is read, after which the value has a known type. */
import { DataError } from '../errors.js';

/**
 * Reads a value.
 * @param at the field, as a message names it: `methods.repa.lambda`
 */
export type Shape<T> = (value: unknown, at: string) => T;

/** The type of what a shape reads. */
export type ShapeOf<S> = S extends Shape<infer T> ? T : never;

/** A value of another shape; the reader of the file adds its name. */
class ShapeProblem extends Error {}

/**
 * Reads the value that a file holds.
 * @throws DataError naming the file and the field that is missing, unknown or of another shape
 */
export function readShape<T>(shape: Shape<T>, value: unknown, source: string): T {
  try {
    return shape(value, '');
  } catch (error) {
    throw error instanceof ShapeProblem ? new DataError(`${source}: ${error.message}`) : error;
  }
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : JSON.stringify(value).slice(0, 40);
}

const wrong = (at: string, expected: string, value: unknown): ShapeProblem =>
  new ShapeProblem(`${at || 'the whole'}: ${expected} is expected, not ${shown(value)}`);

/** A value that passes a check. */
export const checked =
  <T>(expected: string, holds: (value: unknown) => boolean): Shape<T> =>
  (value, at) => {
    if (holds(value)) return value as T;
    throw wrong(at, expected, value);
  };

/** A finite number. */
export const numeric: Shape<number> = checked('a number', Number.isFinite);

/** A whole number of at least 0. */
export const count: Shape<number> = checked(
  'a whole number',
  (value) => Number.isSafeInteger(value) && (value as number) >= 0,
);

/** A whole number from 0 to `most`. */
export const countUpTo = (most: number): Shape<number> =>
  checked(
    `a whole number of at most ${most}`,
    (value) => Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most,
  );

export const words: Shape<string> = checked('a text', (value) => typeof value === 'string');

export const truth: Shape<boolean> = checked('true or false', (value) => typeof value === 'boolean');

/** One of a few texts. */
export const oneOf = <const C extends string>(...choices: readonly C[]): Shape<C> =>
  checked(`one of ${choices.join(', ')}`, (value) => choices.includes(value as C));

/** What a shape reads, or null. */
export const orNull =
  <T>(shape: Shape<T>): Shape<T | null> =>
  (value, at) =>
    value === null ? null : shape(value, at);

export const listOf =
  <T>(item: Shape<T>): Shape<T[]> =>
  (value, at) => {
    if (!Array.isArray(value)) throw wrong(at, 'a list', value);
    return value.map((each, i) => item(each, `${at}[${i}]`));
  };

const entriesOf = (value: unknown, at: string): [string, unknown][] => {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.entries(value);
  throw wrong(at, 'an object', value);
};

const below = (at: string, key: string): string => (at ? `${at}.${key}` : key);

/** An object of any keys, whose values are alike. */
export const dictionaryOf =
  <T>(item: Shape<T>): Shape<Record<string, T>> =>
  (value, at) =>
    Object.fromEntries(entriesOf(value, at).map(([key, each]) => [key, item(each, below(at, key))]));

/** Any of these fields, and no others. */
export const someFields =
  (shapes: Readonly<Record<string, Shape<unknown>>>): Shape<Record<string, unknown>> =>
  (value, at) =>
    Object.fromEntries(
      entriesOf(value, at).map(([key, each]) => {
        if (!Object.hasOwn(shapes, key)) throw new ShapeProblem(`${below(at, key)} is not known to this version`);
        return [key, shapes[key](each, below(at, key))];
      }),
    );

/** A field that was added later: where it is absent, it means `before`. */
export const later = <T>(shape: Shape<T>, before: T): Shape<T> => {
  const read: Shape<T> = (value, at) => (value === undefined ? before : shape(value, at));
  LATER.add(read as Shape<unknown>);
  return read;
};

const LATER = new WeakSet<Shape<unknown>>();

/** An object of the fields of `required`, all of them except those added later, and any of `optional`. */
export const fieldsWith =
  <const F extends Readonly<Record<string, Shape<unknown>>>, const O extends Readonly<Record<string, Shape<unknown>>>>(
    required: F,
    optional: O,
  ): Shape<{ -readonly [K in keyof F]: ShapeOf<F[K]> } & { -readonly [K in keyof O]?: ShapeOf<O[K]> }> =>
  (value, at) => {
    const found = someFields({ ...required, ...optional })(value, at);
    for (const [key, shape] of Object.entries(required)) {
      if (key in found) continue;
      if (!LATER.has(shape)) throw new ShapeProblem(`${below(at, key)} is missing`);
      found[key] = shape(undefined, at);
    }
    return found as never;
  };

/** An object of these fields, no others, and all of them except those added later. */
export const fields = <const F extends Readonly<Record<string, Shape<unknown>>>>(
  shapes: F,
): Shape<{ -readonly [K in keyof F]: ShapeOf<F[K]> }> => fieldsWith(shapes, {});
