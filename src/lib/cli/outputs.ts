/** Checks outputs before the work begins: a place that cannot be written shows at once, not after hours. */
import { closeSync, fstatSync, lstatSync, openSync, type Stats, statSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { UsageError } from '../errors.js';
import { finalName, isDescriptor, noFolder, withPath } from '../files/atomic-file.js';
import { awaitReader } from '../files/named-pipe.js';
import { temporaryName } from '../files/temporary-files.js';
import type { Option } from '../options/option.js';
import { entriesOf, type Table, valueAt } from '../options/table.js';

/**
 * Checks every path that the values of a verb say it writes to, and waits for the reader of a named pipe.
 * @throws UsageError for two outputs of one name, a folder in place of a file or the other way round; MissingInputError
 *   when a file's folder does not exist; errors of the file system as they come
 */
export async function checkOutputs(table: Table, values: unknown): Promise<void> {
  const taken = new Map<string, string>();
  for (const { option, path: place } of entriesOf(table)) {
    const target = option.writes ? valueAt(values, place) : undefined;
    if (typeof target !== 'string') continue;
    if (target === '-') checkStandardOutput(option, taken);
    if (isDescriptor(target)) continue;
    const other = taken.get(path.resolve(target));
    if (other !== undefined && !isDevice(target)) {
      throw new UsageError(`${other} and ${option.long} both write to ${target}`, 'Give each an output of its own.');
    }
    taken.set(path.resolve(target), option.long);
    await checkOutput(option, target);
  }
}

/**
 * Checks outputs to stdout that were asked for by name. What a verb prints anyway is its own to check.
 * @throws UsageError where what is written cannot go to stdout, or something else goes there already
 */
function checkStandardOutput({ long, writes }: Option, taken: Map<string, string>): void {
  if (writes === 'folder') throw new UsageError(`${long} -: a folder cannot be written to stdout`, 'Name a folder.');
  const other = taken.get('-');
  if (other) throw new UsageError(`${other} and ${long} both write to stdout`, 'Give each an output of its own.');
  taken.set('-', long);
  if (writes !== true && process.stdout.isTTY) {
    throw new UsageError(`${long} -: stdout is a terminal`, 'Redirect it (> file), pipe it, or name a file.');
  }
  if (writes === 'seekable' && !fstatSync(STDOUT).isFile()) throw notInOrder(long, '-');
}

const STDOUT = 1;

const notInOrder = (option: string, target: string): UsageError =>
  new UsageError(
    `${option} ${target}: an .npz is not written in order, as pipes and devices need it`,
    'Name a file, or redirect it to one (> file.npz).',
  );

async function checkOutput({ writes, long }: Option, target: string): Promise<void> {
  const found = statOf(target);
  const isFolder = writes === 'folder' || target.endsWith('/') || (writes === true && found?.isDirectory());
  if (found && isFolder && !found.isDirectory()) throw new UsageError(`${long} ${target}: is a file, not a folder`);
  if (found && !isFolder && found.isDirectory()) {
    throw new UsageError(`${long} ${target}: is a folder`, 'Name a file.');
  }
  if (found && !isFolder && !found.isFile()) {
    if (writes === 'seekable' && !found.isCharacterDevice()) throw notInOrder(long, target);
    return awaitReader(target); // a device, or a pipe
  }
  if (isFolder) return tryWriting(path.join(nearestFolder(target, long), 'output'), target);
  const file = finalName(target);
  if (!statOf(path.dirname(file))) throw noFolder(statOf(path.dirname(target)) ? file : target);
  tryWriting(file, target);
}

/** Whether a target takes whatever is written to it, as /dev/null does. */
const isDevice = (target: string): boolean => {
  const found = statOf(target);
  return found !== undefined && !found.isFile() && !found.isDirectory();
};

const statOf = (file: string): Stats | undefined => {
  try {
    return statSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
};

/**
 * The folder itself, or the one that it will be made in.
 * @throws UsageError where a link that leads nowhere is in its place
 */
function nearestFolder(folder: string, option: string, below = folder): string {
  const absolute = path.resolve(below);
  if (statOf(absolute)) return absolute;
  if (!lstatSync(absolute, { throwIfNoEntry: false })) return nearestFolder(folder, option, path.dirname(absolute));
  const link = below === folder ? '' : ` ${path.relative('.', absolute)}`;
  throw new UsageError(`${option} ${folder}:${link} is a link that leads nowhere`);
}

/** Makes and removes the temporary file that the output starts as. */
function tryWriting(file: string, target: string): void {
  const temporary = temporaryName(file);
  try {
    closeSync(openSync(temporary, 'wx'));
    unlinkSync(temporary);
  } catch (error) {
    throw withPath(Object.assign(error as Error, { path: undefined }), target);
  }
}
