/** Names of files made from keys: within their folder, and no two the same. */
import { DataError } from '../errors.js';
import { isHidden } from '../images/image-names.js';

/**
 * A key as a path that stays within the folder or archive that it is put into, and is not hidden there.
 * @throws DataError when it is none
 */
export function fileNameOf(key: string): string {
  const isPlain = key.split('/').every((part) => part !== '') && !/[\\\0]/.test(key);
  if (isPlain && !isHidden(key)) return key; // '.' and '..' begin with a dot as well
  throw new DataError(
    `the key ${JSON.stringify(key)} is no name of a file in a folder`,
    'Export to .npz or .npy, whose rows have numbers.',
  );
}

/** Gives out each name once. */
export class FreeNames {
  readonly #keys = new Set<string>();
  readonly #taken = new Set<string>();
  readonly #fold: (name: string) => string;
  /** How many keys did not get the first of the names that were asked for. */
  renamed = 0;

  /** @param ignoreCase whether names that differ in case alone are the same, as they are on some systems */
  constructor({ ignoreCase = false } = {}) {
    this.#fold = ignoreCase ? (name) => name.toLowerCase() : (name) => name;
  }

  /**
   * The first of `names` that is free, or the last of them with a number that makes it so.
   * @throws DataError when the key came before
   */
  take(key: string, names: readonly string[]): string {
    if (this.#keys.has(key)) throw new DataError(`two rows have the key '${key}'`);
    this.#keys.add(key);
    let free = names.find((name) => !this.#taken.has(this.#fold(name)));
    for (let n = 2; free === undefined; n++) {
      const numbered = `${names.at(-1)}-${n}`;
      if (!this.#taken.has(this.#fold(numbered))) free = numbered;
    }
    this.#taken.add(this.#fold(free));
    if (free !== names[0]) this.renamed++;
    return free;
  }
}
