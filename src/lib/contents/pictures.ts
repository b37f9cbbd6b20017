/** What sets of pictures hold: folders, tars, zips and Parquet. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { isArrayName } from '../exchange/webdataset.js';
import { readSmallFile } from '../files/small-file.js';
import { openParquet, type ParquetColumn } from '../formats/parquet.js';
import { readCaptions } from '../images/captions.js';
import { isImageName } from '../images/image-names.js';
import { openImageFolder } from '../images/list.js';
import { METADATA_FILES } from '../images/metadata-rows.js';
import { imageColumn, openParquetImages } from '../images/parquet-images.js';
import { type Picture, pictureSet } from '../images/picture-set.js';
import { pictureSize } from '../images/picture-size.js';
import { pictureFormat } from '../images/signature.js';
import { isTarPattern, openTarFiles, readTarFiles } from '../images/tar-files.js';
import { openZipFiles } from '../images/zip-files.js';
import type { Facts } from './facts.js';

/** Pictures whose headers are read for their sizes, and classes that are named. */
const LOOKED_AT = 16;
const NAMED = 20;

interface SeenSet {
  /** Pictures and, of an archive, arrays. */
  members: readonly Pick<Picture, 'name' | 'label'>[];
  /** Of all files. */
  names: readonly string[];
  classes: readonly string[] | undefined;
  notes: readonly string[];
}

export async function pictureFolderFacts(folder: string): Promise<Facts> {
  const { files, classes, notes } = openImageFolder(folder);
  const members = files.map(({ path: name, label }) => ({ name, label }));
  const names = members.map(({ name }) => name);
  const facts = setFacts(folder, 'folder of pictures', { members, names, classes, notes });
  return { ...facts, ...(await sizes(spread(names))), ...captionFacts(folder) };
}

const isMember = (name: string): boolean => isImageName(name) || isArrayName(name);

const pictureNames = (members: SeenSet['members']): string[] => members.map(({ name }) => name).filter(isImageName);

export async function tarFacts(file: string): Promise<Facts> {
  const archive = await openTarFiles(file);
  const { pictures: members, classes, notes } = pictureSet(archive, isMember);
  const { names } = archive;
  const facts = setFacts(file, isTarPattern(file) ? 'tar archives' : 'tar archive', {
    members,
    names,
    classes,
    notes: [...archive.notes, ...notes],
  });
  const looked: Uint8Array[] = [];
  for await (const { bytes } of readTarFiles(archive, spread(pictureNames(members)))) looked.push(bytes);
  return { ...facts, ...(await sizes(looked)) };
}

export async function zipFacts(file: string): Promise<Facts> {
  const archive = openZipFiles(file);
  try {
    const { pictures: members, classes, notes } = pictureSet(archive);
    const facts = setFacts(file, 'zip archive', { members, names: archive.names, classes, notes });
    return { ...facts, ...(await sizes(spread(pictureNames(members)).map((name) => archive.read(name)))) };
  } finally {
    archive.close();
  }
}

export async function parquetFacts(input: string): Promise<Facts> {
  const set = await openParquet(input);
  const facts = { path: input, holds: 'Parquet', rows: set.total, columns: set.columns.map(showColumn) };
  if (!imageColumn(set)) return facts;
  const { classes, images } = await openParquetImages(input);
  const bytes: Uint8Array[] = [];
  for await (const source of images(0, Math.min(LOOKED_AT, set.total))) {
    if ('bytes' in source && source.bytes) bytes.push(source.bytes);
  }
  return { ...facts, holds: 'pictures in Parquet', ...(await sizes(bytes)), ...classFacts(classes) };
}

/** One picture. Undefined for another file. */
export async function pictureFacts(file: string): Promise<Facts | undefined> {
  const bytes = readSmallFile(file);
  const format = pictureFormat(bytes);
  if (!format) return undefined;
  return { path: file, holds: 'picture', format, ...(await sizes([bytes])) };
}

function setFacts(where: string, holds: string, { members, names, classes, notes }: SeenSet): Facts {
  const labels = members.map(({ label }) => label).filter((label) => label >= 0);
  const pictures = pictureNames(members).length;
  return {
    path: where,
    holds,
    pictures,
    ...(members.length > pictures ? { arrays: members.length - pictures } : {}),
    files: endings(names),
    ...(classes ? classFacts(classes) : { classes: new Set(labels).size }),
    ...(labels.length < members.length ? { unlabelled: members.length - labels.length } : {}),
    ...(notes.length > 0 ? { notes } : {}),
  };
}

const classFacts = (classes: readonly string[] | undefined): Facts =>
  classes
    ? { classes: classes.length, names: classes.slice(0, NAMED).join(' ') + (classes.length > NAMED ? ' ...' : '') }
    : {};

/** How many files there are of each ending. */
function endings(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) {
    const ending = path.extname(name).toLowerCase() || 'none';
    counts[ending] = (counts[ending] ?? 0) + 1;
  }
  return counts;
}

/** Some of the pictures, over all of the set. */
const spread = <T>(all: readonly T[]): T[] =>
  Array.from(
    { length: Math.min(LOOKED_AT, all.length) },
    (_, i) => all[Math.floor((i * all.length) / Math.min(LOOKED_AT, all.length))],
  );

async function sizes(pictures: readonly (string | Uint8Array)[]): Promise<Facts> {
  const found = (await Promise.all(pictures.map(pictureSize))).filter((size) => size !== undefined);
  if (found.length === 0) return {};
  const sorted = found
    .sort((a, b) => a.width * a.height - b.width * b.height)
    .map(({ width, height }) => `${width}x${height}`);
  const [first, last] = [sorted[0], sorted[sorted.length - 1]];
  const of = pictures.length > 1 ? `, of ${found.length} looked at` : '';
  return { size: first === last ? `${first}${of}` : `${first} to ${last}${of}` };
}

function captionFacts(folder: string): Facts {
  if (!METADATA_FILES.some((name) => existsSync(path.join(folder, name)))) return {};
  try {
    return { captions: readCaptions(folder).size };
  } catch {
    return {}; // it tells labels alone
  }
}

function showColumn({ name, parts, lists, element }: ParquetColumn): string {
  const type =
    parts.length > 0
      ? `{${parts.join(', ')}}`
      : (element?.logical_type?.type ?? element?.converted_type ?? element?.type ?? 'nested');
  return `${name}: ${'list of '.repeat(lists)}${type}`;
}
