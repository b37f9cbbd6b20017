/** The files of a tar archive: listed in one pass over it, read in another, whatever their order. */
import { createReadStream, statSync } from 'node:fs';
import { DataError, UsageError } from '../errors.js';
import { BinaryFile } from '../formats/binary-file.js';
import { readTar, type TarEntry } from '../formats/tar.js';
import { isHidden } from './image-names.js';
import { type FileSet, givenKey, LABEL_FILES } from './picture-set.js';

/** Whether a name is that of an archive of files. */
export const isTarName = (input: string): boolean => /\.(tar|tar\.gz|tgz)$/i.test(input);

/** Where the bytes of a file are in the (unpacked) archive. */
export interface TarPlace {
  readonly at: number;
  readonly size: number;
}

export interface TarFiles extends FileSet {
  readonly file: string;
  /** Whether it is compressed, and so can be read from its start only. */
  readonly compressed: boolean;
  /** By name, in the order of the archive. Of members of one name the last, as unpacking leaves it. */
  readonly places: ReadonlyMap<string, TarPlace>;
  readonly notes: readonly string[];
}

/** No list of labels, class or key is longer. */
const LONGEST_TEXT = 2 ** 28;
const LONGEST_KEY_FILE = 2 ** 16;

/**
 * Lists an archive. Links count as the member that they stand for.
 * @throws DataError when it is damaged; UsageError for a pipe, which cannot be read twice
 */
export async function openTarFiles(file: string): Promise<TarFiles> {
  if (!statSync(file).isFile()) {
    throw new UsageError(`${file} is no regular file, and an archive is read twice`, 'Write it to a file first.');
  }
  const places = new Map<string, TarPlace>();
  const texts = new Map<string, Uint8Array>();
  let [twice, astray] = [0, 0];
  for await (const entry of readTar(createReadStream(file), file, { links: true })) {
    const place = entry.link === undefined ? { at: entry.offset, size: entry.size } : places.get(entry.link);
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
  if (twice > 0) notes.push(`${file}: ${twice} members come again under the same name: the last counts`);
  if (astray > 0) notes.push(`${file}: left out: ${astray} links to what is not in the archive before them`);
  return {
    file,
    compressed: isGzip(file),
    places,
    notes,
    names: [...places.keys()],
    read: (name) => texts.get(name) ?? new Uint8Array(),
    show: (name) => `${file}: ${name}`,
  };
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

/** The bodies of the members of these names, in the order of the archive; names of one place follow each other. */
export async function* readTarFiles(
  { file, compressed, places }: TarFiles,
  wanted: Iterable<string>,
): AsyncGenerator<{ name: string; bytes: Uint8Array<ArrayBuffer> }> {
  const byPlace = new Map<number, { size: number; names: string[] }>();
  for (const name of wanted) {
    const { at, size } = places.get(name)!;
    const known = byPlace.get(at);
    if (known) known.names.push(name);
    else byPlace.set(at, { size, names: [name] });
  }
  const bodies = compressed ? unpacked(file, byPlace) : placed(file, byPlace);
  for await (const { at, bytes } of bodies) {
    for (const name of byPlace.get(at)!.names) yield { name, bytes };
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
