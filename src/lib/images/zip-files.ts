/** The files of a zip archive, as StyleGAN's and EDM2's dataset_tool writes images. */

import { openZip } from '../formats/zip.js';
import type { FileSet } from './picture-set.js';

export interface ZipFiles extends FileSet {
  close(): void;
}

/** Whether a name is that of a zip archive. */
export const isZipName = (input: string): boolean => /\.zip$/i.test(input);

/** No file of a set is larger, once unpacked. */
const LARGEST_FILE = 2 ** 28;

/** @throws DataError when the archive is damaged */
export function openZipFiles(file: string): ZipFiles {
  const archive = openZip(file);
  return {
    names: [...archive.entries.keys()].filter((name) => !name.endsWith('/')),
    read: (name) => archive.read(name, LARGEST_FILE),
    show: (name) => `${file}: ${name}`,
    close: () => archive.close(),
  };
}
