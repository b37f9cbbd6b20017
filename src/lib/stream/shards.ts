/** Shard folders: `part-00000-of-00016.arrows` and so on, one stream each, each there only when it is complete. */
import fs from 'node:fs';
import path from 'node:path';
import { DataError, MissingInputError } from '../errors.js';
import { makeFolder } from '../files/folders.js';
import { missingInput } from '../files/missing.js';
import { atomicFileSink, type FileSink } from './sink.js';

/** Which part of a job this is: 0 <= index < count. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** All of a set, as a shard. */
export const WHOLE: Shard = { index: 0, count: 1 };

/** Rows from `first` up to, but without, `end`. */
export interface Range {
  first: number;
  end: number;
}

/** The rows of a shard of `total`: all shards together are all rows, each once. */
export function rangeOf({ index, count }: Shard, total: number): Range {
  const edge = (i: number): number => Math.floor((i * total) / count);
  return { first: edge(index), end: edge(index + 1) };
}

const PART = /^part-(\d{5,7})-of-(\d{5,7})\.arrows$/;
const MISSING_SHOWN = 5;

export const partName = ({ index, count }: Shard): string =>
  `part-${String(index).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.arrows`;

/** The shard that a file name means, or undefined if it is no part's. */
export function parsePartName(name: string): Shard | undefined {
  const match = PART.exec(name);
  if (!match) return undefined;
  const shard = { index: Number(match[1]), count: Number(match[2]) };
  return shard.index < shard.count ? shard : undefined;
}

function readFolder(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw missingInput(folder, 'folder');
    throw error;
  }
}

/** The finished parts in a folder, in order of name. @throws DataError if they are of jobs cut in different ways. */
function finishedParts(folder: string): Shard[] {
  const parts = readFolder(folder)
    .sort()
    .flatMap((name) => parsePartName(name) ?? []);
  const counts = new Set(parts.map(({ count }) => count));
  if (counts.size > 1) {
    const shown = [...counts].join(' and of ');
    throw new DataError(`${folder}: holds parts of ${shown}`, 'Keep the parts of one of them, move the others away.');
  }
  return parts;
}

/**
 * The parts' file names in order, all of them.
 *
 * @throws MissingInputError if there is no folder, or no part in it; DataError naming the parts that are missing.
 */
export function listParts(folder: string): string[] {
  const parts = finishedParts(folder);
  const count = parts[0]?.count;
  if (count === undefined) throw new MissingInputError(`${folder}: holds no part-*.arrows`);
  const missing = count - parts.length;
  if (missing === 0) return parts.map(partName);
  const present = new Set(parts.map(({ index }) => index));
  const names: string[] = [];
  for (let index = 0; index < count && names.length < MISSING_SHOWN; index++) {
    if (!present.has(index)) names.push(partName({ index, count }));
  }
  const more = missing > names.length ? `, ... (${missing} in all)` : '';
  throw new DataError(
    `${folder}: incomplete, missing ${names.join(', ')}${more}`,
    'Run the shards that made it again.',
  );
}

/** The name of a part that is finished; undefined if there is none, or no such folder. */
export function firstFinishedPart(folder: string): string | undefined {
  const [first] = fs.existsSync(folder) ? finishedParts(folder) : [];
  return first && partName(first);
}

/** Whether a folder has this part, of an earlier run. */
export const isFinished = (folder: string, shard: Shard): boolean =>
  fs.existsSync(folder) && finishedParts(folder).some((part) => partName(part) === partName(shard));

/**
 * Where to write one part of a folder, which is made if need be.
 *
 * @throws DataError if the folder holds parts of a job cut into another number of shards.
 */
export function partSink(folder: string, shard: Shard): FileSink {
  makeFolder(folder);
  const count = finishedParts(folder)[0]?.count ?? shard.count;
  if (count !== shard.count) {
    throw new DataError(`${folder}: holds parts of ${count}, not of ${shard.count}`, 'Choose an empty folder.');
  }
  return atomicFileSink(path.join(folder, partName(shard)));
}
