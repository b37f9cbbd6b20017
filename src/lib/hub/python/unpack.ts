/** Wheels as the zip archives that they are (PEP 427): nothing of them is run. */
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { DataError } from '../../errors.js';
import { withPath, writeFully } from '../../files/atomic-file.js';
import { makeFolder } from '../../files/folders.js';
import { openZip, type ZipFile } from '../../formats/zip.js';

const LARGEST_METADATA = 16e6;

const LINK = 0o120000;
const KIND = 0o170000;
const EXECUTABLE = 0o100;

/** The text of `*.dist-info/METADATA`. @throws DataError where there is none */
export function wheelMetadata(file: string): string {
  const zip = openZip(file);
  try {
    const name = [...zip.entries.keys()].find((entry) => /^[^/]+\.dist-info\/METADATA$/.test(entry));
    if (!name) throw new DataError(`${file}: has no METADATA: it is no wheel`);
    return Buffer.from(zip.read(name, LARGEST_METADATA)).toString();
  } finally {
    zip.close();
  }
}

/**
 * Unpacks a wheel into a folder of Python packages. Of its data folder, `purelib` and `platlib` are packages too;
 * scripts and what else would be installed elsewhere are left out.
 * @throws DataError for a name that leads out of the folder, or a link
 */
export async function unpackWheel(
  file: string,
  folder: string,
  onBytes: (count: number) => void = () => {},
): Promise<void> {
  const zip = openZip(file);
  try {
    const members = [...zip.entries.values()].filter(({ name }) => !name.endsWith('/'));
    const places = members.map(({ name, mode }) => ({ name, mode, place: placeOf(file, name, mode) }));
    for (const { name, mode, place } of places) {
      if (place === undefined) continue;
      const target = path.join(folder, place);
      makeFolder(path.dirname(target));
      await write(zip, name, target, mode & EXECUTABLE ? 0o777 : 0o666, onBytes);
    }
  } finally {
    zip.close();
  }
}

/** Where a member goes; undefined for nowhere. */
function placeOf(file: string, name: string, mode: number): string | undefined {
  const refuse = (why: string): never => {
    throw new DataError(`${file}: its member ${JSON.stringify(name.slice(0, 200))} ${why}`);
  };
  const parts = name.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..') || /[\\\0:]/.test(name)) {
    refuse('leads out of the folder that it is unpacked to');
  }
  if ((mode & KIND) === LINK) refuse('is a link');
  const [first, scheme, ...rest] = parts;
  if (!first.endsWith('.data')) return name;
  return scheme === 'purelib' || scheme === 'platlib' ? rest.join('/') : undefined;
}

async function write(
  zip: ZipFile,
  name: string,
  target: string,
  mode: number,
  onBytes: (count: number) => void,
): Promise<void> {
  const fd = openSync(target, 'w', mode);
  try {
    for await (const chunk of zip.chunks(name)) {
      try {
        writeFully(fd, chunk);
      } catch (error) {
        throw withPath(error, target);
      }
      onBytes(chunk.length);
    }
  } finally {
    closeSync(fd);
  }
}
