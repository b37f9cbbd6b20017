/** Files that are read at once: lists, vocabularies, settings. */
import { readFileSync, statSync } from 'node:fs';
import { DataError } from '../errors.js';
import { isDescriptor } from './atomic-file.js';
import { missingInput } from './missing.js';

/** No list or vocabulary is longer; and no text that is one value may be. */
const LARGEST = 2 ** 29 - 2 ** 20;

/**
 * The bytes of a file, of stdin (`-`), or of a descriptor that a shell hands over (`<(sort val.txt)`). Of what has no
 * end, and of a named pipe, at which a process that waits for a writer hears no signal, nothing is read.
 * @throws MissingInputError when it is not there; DataError when it is no file, or a very large one
 */
export function readSmallFile(named: string): Buffer {
  const file = named === '-' ? '/dev/stdin' : named;
  const found = statSync(file, { throwIfNoEntry: false });
  if (!found) throw missingInput(file);
  const isHandedOver = found.isFIFO() && (isDescriptor(file) || file === '/dev/stdin');
  if (!found.isFile() && !isHandedOver) {
    throw new DataError(`${file}: is ${found.isDirectory() ? 'a folder' : 'a device or a pipe'}, not a file`);
  }
  if (found.size > LARGEST) throw new DataError(`${file}: its ${found.size} bytes are more than any such file has`);
  try {
    return readFileSync(file);
  } catch (error) {
    throw new DataError(`${file}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** The same as text, without a byte order mark. */
export const readSmallText = (file: string): string => new TextDecoder().decode(readSmallFile(file));
