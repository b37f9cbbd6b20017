/**
 * The files of a tar archive, or of several as one set: listed in one pass over them, read in another, whatever their
 * order.
 */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { DataError, UsageError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { BinaryFile } from '../formats/binary-file.js';
import { readTar, type TarEntry } from '../formats/tar.js';
import { expandBraces, hasBraces } from './brace-pattern.js';
import { isHidden } from './image-names.js';
import { type FileSet, givenKey, LABEL_FILES } from './picture-set.js';

/** Whether a name is that of an archive of files. */
export const isTarName = (input: string): boolean => /\.(tar|tar\.gz|tgz)$/i.test(input);

/**
 * Whether a name stands for several archives, such as `imgs-{000..127}.tar`; a file of that very name counts as itself.
 */
export const isTarPattern = (input: string): boolean => isTarName(input) && hasBraces(input) && !existsSync(input);

/** The archives that a name stands for, in their order. @throws MissingInputError for one that is not there */
export function archivesOf(input: string): string[] {
  if (!isTarPattern(input)) return [input];
  const archives = expandBraces(input);
  const missing = archives.find((archive) => !existsSync(archive));
  if (missing !== undefined)
    throw missingInput(missing, 'file', `It is one of ${archives.length} that ${input} stands for.`);
  return archives;
}

/** Where the bytes of a file are in the (unpacked) archive. */
export interface TarPlace {
  readonly archive: string;
  readonly at: number;
  readonly size: number;
}

export interface TarFiles extends FileSet {
  /** As it was named: an archive, or a pattern of several. */
  readonly file: string;
  /** In the order of the archives. Of members of one name in one archive the last, as unpacking leaves it. */
  readonly places: ReadonlyMap<string, TarPlace>;
  readonly notes: readonly string[];
}

/** No list of labels, class or key is longer. */
const LONGEST_TEXT = 2 ** 28;
const LONGEST_KEY_FILE = 2 ** 16;

/**
 * Lists the archives that a name stands for, as one set. Links count as the member that they stand for.
 * @throws DataError when one is damaged, or when two hold a file of one name; UsageError for a pipe, which cannot be
 *   read twice; MissingInputError for an archive that is not there
 */
export async function openTarFiles(input: string): Promise<TarFiles> {
  const listed: ListedTar[] = [];
  for (const archive of archivesOf(input)) listed.push(await listTar(archive));
  const places = new Map<string, TarPlace>();
  const texts = new Map<string, Uint8Array>();
  for (const tar of listed) {
    for (const [name, place] of tar.places) {
      const other = places.get(name);
      if (other) throw new DataError(`${other.archive} and ${place.archive} both hold a file '${name}'`, ONE_SET);
      places.set(name, place);
    }
    for (const [name, content] of tar.texts) texts.set(name, content);
  }
  return {
    file: input,
    places,
    notes: listed.flatMap(({ notes }) => notes),
    names: [...places.keys()],
    read: (name) => texts.get(name) ?? new Uint8Array(),
    show: (name) => `${places.get(name)?.archive ?? input}: ${name}`,
  };
}

const ONE_SET = 'The archives of one set give each file a name of its own.';

interface ListedTar {
  places: ReadonlyMap<string, TarPlace>;
  texts: ReadonlyMap<string, Uint8Array>;
  notes: readonly string[];
}

async function listTar(archive: string): Promise<ListedTar> {
  if (!statSync(archive).isFile()) {
    throw new UsageError(`${archive} is no regular file, and an archive is read twice`, 'Write it to a file first.');
  }
  const places = new Map<string, TarPlace>();
  const texts = new Map<string, Uint8Array>();
  let [twice, astray] = [0, 0];
  for await (const entry of readTar(createReadStream(archive), archive, { links: true })) {
    const own = { archive, at: entry.offset, size: entry.size };
    const place = entry.link === undefined ? own : places.get(entry.link);
    if (!place) {
      astray++;
      continue;
    }
    if (places.delete(entry.name)) twice++;
    places.set(entry.name, place);
    const content = entry.link === undefined ? await textOf(entry) : texts.get(entry.link);
    if (content) texts.set(entry.name, content);
  }
  const notes: string[] = [];
  if (twice > 0) notes.push(`${archive}: ${twice} members come again under the same name: the last counts`);
  if (astray > 0) notes.push(`${archive}: left out: ${astray} links to what is not in the archive before them`);
  return { places, texts, notes };
}

function isGzip(file: string): boolean {
  const source = new BinaryFile(file);
  const [first, second] = source.read(0, Math.min(2, source.size));
  source.close();
  return first === 0x1f && second === 0x8b;
}

/** The content of members that tell of others; undefined for all else. */
async function textOf(entry: TarEntry): Promise<Uint8Array | undefined> {
  const { name, size } = entry;
  if (isHidden(name)) return undefined;
  if (LABEL_FILES.has(name) || name.toLowerCase().endsWith('.cls')) {
    if (size > LONGEST_TEXT) throw new DataError(`${name}: ${size} bytes are no list of labels`);
    return entry.read();
  }
  if (!name.toLowerCase().endsWith('.json') || size > LONGEST_KEY_FILE) return undefined;
  const bytes = await entry.read();
  return givenKey(bytes) === undefined ? undefined : bytes; // other programs keep a text with each of millions of pictures
}

/** The bodies of the members of these names, in the order of the archives; names of one place follow each other. */
export async function* readTarFiles(
  { places }: TarFiles,
  wanted: Iterable<string>,
): AsyncGenerator<{ name: string; bytes: Uint8Array<ArrayBuffer> }> {
  const byArchive = new Map<string, Map<number, { size: number; names: string[] }>>();
  for (const name of wanted) {
    const { archive, at, size } = places.get(name)!;
    const byPlace = byArchive.get(archive) ?? new Map<number, { size: number; names: string[] }>();
    byArchive.set(archive, byPlace);
    const known = byPlace.get(at);
    if (known) known.names.push(name);
    else byPlace.set(at, { size, names: [name] });
  }
  for (const [archive, byPlace] of byArchive) {
    // One that is compressed can be read from its start only.
    const bodies = isGzip(archive) ? unpacked(archive, byPlace) : placed(archive, byPlace);
    for await (const { at, bytes } of bodies) {
      for (const name of byPlace.get(at)!.names) yield { name, bytes };
    }
  }
}

interface Body {
  at: number;
  bytes: Uint8Array<ArrayBuffer>;
}

async function* unpacked(file: string, wanted: ReadonlyMap<number, unknown>): AsyncGenerator<Body> {
  let left = wanted.size;
  if (left === 0) return;
  for await (const entry of readTar(createReadStream(file), file)) {
    if (!wanted.has(entry.offset)) continue;
    yield { at: entry.offset, bytes: await entry.read() };
    if (--left === 0) return;
  }
}

function* placed(file: string, wanted: ReadonlyMap<number, { size: number }>): Generator<Body> {
  const source = new BinaryFile(file);
  try {
    for (const [at, { size }] of [...wanted].sort(([a], [b]) => a - b)) yield { at, bytes: source.read(at, size) };
  } finally {
    source.close();
  }
}
