/** A format that is read: what may be made of a changed file, and what its reader makes of it. */
import { mutant, pick, type Random, TEXTUAL } from './mutate.js';

export interface Target {
  readonly name: string;
  /** Whether the format's checksums cover all that is read: a changed file that is read otherwise is a fault. */
  readonly checked: boolean;
  /** What the file at `file` holds, as a text; throws what the reader throws. */
  read(file: string): Promise<string>;
  /** A changed file. */
  make(random: Random): Buffer;
  /** What sound files hold: the changed file's own, and those it was spliced with. */
  readonly values: ReadonlySet<string>;
  /** Milliseconds of a processor that the last reading took, if it was a process of its own that read. */
  used?(): number;
  /** Ends what reads, if it is a process of its own. */
  close?(): Promise<void>;
}

export type Reader = (file: string) => Promise<string>;

/** Writes a file to read, and tells its path. */
export type Store = (bytes: Buffer) => string;

export async function target(
  name: string,
  checked: boolean,
  good: readonly Buffer[],
  read: Reader,
  store: Store,
  make: Target['make'] = (random) => mutant(pick(random, good), random, TEXTUAL),
): Promise<Target> {
  const values = new Set<string>();
  for (const bytes of good) values.add(await read(store(bytes)));
  return { name, checked, read, make, values };
}
