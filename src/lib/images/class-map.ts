/** The numbers of classes, as the header of a stream tells them. */

const CLASSES_KEY = 'repa.classes';

/** The header's entry about classes that are numbered by names; none where they have no names. */
export const classMetadata = (classes: readonly string[] | undefined): Record<string, string> =>
  classes === undefined ? {} : { [CLASSES_KEY]: JSON.stringify(classes) };

/**
 * How two sets number their classes differently, in words; undefined where they do not, or where one does not tell.
 * A set may lack classes of the other at the end.
 */
export function classDifference(
  a: Readonly<Record<string, string>>,
  b: Readonly<Record<string, string>>,
): string | undefined {
  const [one, other] = [classNames(a), classNames(b)];
  if (!one || !other) return undefined;
  const at = one.findIndex((name, index) => index < other.length && other[index] !== name);
  return at < 0 ? undefined : `class ${at} is '${one[at]}' in one and '${other[at]}' in the other`;
}

/** The names of classes in the order of their numbers, as a header tells them; undefined where it does not. */
export function classNames(metadata: Readonly<Record<string, string>>): string[] | undefined {
  try {
    const classes = JSON.parse(metadata[CLASSES_KEY] ?? 'null') as unknown;
    return Array.isArray(classes) ? classes.map(String) : undefined;
  } catch {
    return undefined;
  }
}
