/** The entries of a header about the meaning of the values, apart from how and when they were made. */

/** Entries in which streams of one meaning may differ. */
const OF_THE_MAKING: ReadonlySet<string> = new Set([
  'repa.command',
  'repa.tool',
  'repa.format',
  'repa.run',
  'repa.reference',
  'repa.seed',
  'repa.sampler',
  'repa.engine',
  'repa.images.sha256',
  // Compared by name and number where classes matter: a set may lack classes of another.
  'repa.classes',
]);

type Metadata = Readonly<Record<string, string>>;

/** The entries that say what values mean. */
export const meaningOf = (metadata: Metadata): Metadata =>
  Object.fromEntries(Object.entries(metadata).filter(([name]) => !OF_THE_MAKING.has(name)));

/** The entries in which the values of two streams differ in meaning, with both texts. */
export function meaningDifferences(a: Metadata, b: Metadata): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((name) => !OF_THE_MAKING.has(name) && a[name] !== b[name])
    .map((name) => `${name} is ${a[name] ?? 'absent'} in one and ${b[name] ?? 'absent'} in the other`);
}
