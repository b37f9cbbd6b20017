/** The pictures of a folder, in an order and with labels that do not depend on the machine. */
import { type Dirent, readdirSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { DataError, MissingInputError } from '../errors.js';
import { whyMissing } from '../files/missing.js';
import { readSmallFile } from '../files/small-file.js';
import { isUnfinished } from '../files/unfinished-folder.js';
import { compareCodePoints } from './code-points.js';
import { IMAGE_EXTENSIONS, isHidden } from './image-names.js';
import type { LabelList } from './label-file.js';
import { type FileSet, type PictureSet, pictureSet } from './picture-set.js';

export interface ImageFile {
  /** Path relative to the folder, with `/` on every system, unless a file beside it gives another. */
  key: string;
  /** Class index; -1 for none. */
  label: number;
  path: string;
}

export interface ImageFolder extends Omit<PictureSet, 'pictures'> {
  readonly files: readonly ImageFile[];
}

/**
 * All pictures below `folder`, sorted by code point of their paths, by the rules of pictureSet; links are followed.
 * @throws MissingInputError when the folder cannot be read; DataError when it holds no picture or is
 *   unfinished, or as pictureSet
 */
export function openImageFolder(folder: string, labels?: LabelList): ImageFolder {
  const files = folderFiles(folder);
  if (isUnfinished(folder)) {
    throw new DataError(`${folder}: is unfinished: what writes it is still at it, or was stopped`, 'Write it again.');
  }
  const { pictures, ...set } = pictureSet(files, undefined, labels);
  if (pictures.length === 0) throw noImages(folder, set.notes);
  return { ...set, files: pictures.map(({ name, key, label }) => ({ key, label, path: path.join(folder, name) })) };
}

export const listImages = (folder: string): readonly ImageFile[] => openImageFolder(folder).files;

/** The error for a set that holds no pictures. */
export function noImages(where: string, notes: readonly string[]): DataError {
  const endings = [...IMAGE_EXTENSIONS].join(' ');
  return new DataError(
    [`${where}: holds no images`, ...notes].join('; '),
    `Files that end in ${endings} are looked for, in all subfolders.`,
  );
}

/** The files of a folder, sorted, without those in hidden folders. */
export const folderFiles = (folder: string): FileSet => ({
  names: [...fileNames(folder, '', [])].sort(compareCodePoints),
  read: (name) => readSmallFile(path.join(folder, name)),
  show: (name) => path.join(folder, name),
});

function* fileNames(root: string, prefix: string, parents: readonly string[]): Generator<string> {
  const folder = path.join(root, prefix);
  for (const entry of readFolder(folder)) {
    const name = prefix + entry.name;
    if (!isFolder(entry, path.join(root, name))) {
      yield name;
      continue;
    }
    if (isHidden(entry.name)) continue;
    const real = realpathSync(folder);
    // A link to a folder that contains it would never end.
    if (!parents.includes(realpathSync(path.join(root, name)))) yield* fileNames(root, `${name}/`, [...parents, real]);
  }
}

function readFolder(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const what = code === 'ENOTDIR' ? 'not a folder' : `cannot be read (${code})`;
    throw new MissingInputError(`${folder}: ${code === 'ENOENT' ? whyMissing(folder, 'folder') : what}`);
  }
}

/** A link that leads nowhere counts as a file, so that decoding reports it. */
function isFolder(entry: Dirent, file: string): boolean {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
