/** What lies in a folder, to be compared with what should. */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { isMark, isTemporaryName } from '../../src/lib/files/temporary-files.js';

/**
 * Contents by path within the folder: hashes of files, targets of links; folders are there with what is in them alone.
 */
export type Tree = ReadonlyMap<string, string>;

const hashOf = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

/** Lines of a log without the times, which no two runs share. */
const withoutTimes = (text: string): string =>
  text.replaceAll(/,"(?:\w*seconds?|at|model_flops_utilization|memory_bytes)":[^,}]+/g, '');

function contentOf(file: string): string {
  if (lstatSync(file).isSymbolicLink()) return `-> ${readlinkSync(file)}`;
  return hashOf(file.endsWith('.ndjson') ? withoutTimes(readFileSync(file, 'utf8')) : readFileSync(file));
}

export function readTree(folder: string): Tree {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory());
  const names = files.map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name))).sort();
  return new Map(names.map((name) => [name, contentOf(path.join(folder, name))]));
}

/** A checkpoint's folder while it is written or removed. */
const UNFINISHED_STEP = /^\.step-\d+.*\.tmp$/;

const isTemporary = (name: string): boolean => isTemporaryName(name) || UNFINISHED_STEP.test(name);

/** Files and folders of a tree that have no name yet, or none any more. */
export const temporaries = (tree: Tree): string[] =>
  [...tree.keys()].filter((file) => file.split('/').some(isTemporary));

/** Those of them that a process which could tidy up leaves: not the marks of folders that are filled in place. */
export const litter = (tree: Tree): string[] => temporaries(tree).filter((file) => !isMark(path.basename(file)));

/** Folders that say that they are being filled. */
const unfinishedFolders = (tree: Tree): string[] =>
  temporaries(tree)
    .filter((file) => isMark(path.basename(file)))
    .map((file) => `${path.dirname(file)}/`);

/** Whether the checksums of a step's folder are those of its files, all of which are there. */
function isWholeStep(folder: string): boolean {
  const sums = readFileSync(path.join(folder, 'SHA256SUMS'), 'utf8').trim().split('\n');
  const names = sums.map((line) => line.slice(66));
  const right = sums.every((line) => {
    const bytes = readFileSync(path.join(folder, line.slice(66)));
    return createHash('sha256').update(bytes).digest('hex') === line.slice(0, 64);
  });
  return right && names.includes('config.json');
}

/** A file of a step that the undisturbed run has removed, or not come to, is whole with all of its folder. */
function isOfWholeStep(folder: string, file: string): boolean {
  const step = /^(.*\/)?step-\d{7}(?=\/)/.exec(file)?.[0];
  try {
    return step !== undefined && isWholeStep(path.join(folder, step));
  } catch {
    return false; // a file of it, or the sums, are not there
  }
}

/**
 * Names that an interrupted run has given, in `folder`, to what is not as an undisturbed one leaves it.
 * @param expected what the undisturbed run left
 * @param partial names of files that may be there in part
 */
export function notWhole(folder: string, expected: Tree, partial: RegExp): string[] {
  const tree = readTree(folder);
  const hidden = new Set(temporaries(tree));
  const unfinished = unfinishedFolders(tree);
  return [...tree]
    .filter(([file, content]) => expected.get(file) !== content)
    .map(([file]) => file)
    .filter((file) => !hidden.has(file) && !partial.test(file) && !unfinished.some((below) => file.startsWith(below)))
    .filter((file) => !isOfWholeStep(folder, file));
}

/** How two trees differ, a word each. */
export function differences(tree: Tree, expected: Tree): string[] {
  const more = [...tree.keys()].filter((file) => !expected.has(file)).map((file) => `+${file}`);
  const others = [...expected].filter(([file, content]) => tree.get(file) !== content);
  return [...more, ...others.map(([file]) => `${tree.has(file) ? '~' : '-'}${file}`)];
}
