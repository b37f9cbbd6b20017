/**
 * Reading tar archives as they stream by: ustar, pax and GNU long names, gzip or plain.
 * Layout: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format".
 */
import { posix as path } from 'node:path';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { DataError } from '../errors.js';
import { ByteReader } from './byte-reader.js';

export const TAR_BLOCK = 512;
/** A name or a pax header longer than this is not a name. */
const LONGEST_HEADER = 1 << 20;
/** Bytes of a name, as of any path that Linux takes. */
const LONGEST_NAME = 4096;
/** The largest body that is read whole: a few bytes can be unpacked to many. */
const LARGEST_BODY = 2 ** 28;

export interface TarEntry {
  /** Path within the archive, without a leading `./`. */
  readonly name: string;
  readonly size: number;
  /** Where its data starts in the (unpacked) archive. */
  readonly offset: number;
  /** Of a link, which has no body: the member that it stands for. */
  readonly link?: string;
  /** The whole body. Only before the next entry is asked for. */
  read(): Promise<Uint8Array<ArrayBuffer>>;
}

export interface TarOptions {
  /** Whether links are listed too. */
  links?: boolean;
}

/**
 * The regular files of an archive in order; a body that is not read is skipped. Folders and devices are passed over,
 * links too unless they are wanted. Several archives back to back (`cat a.tar b.tar`) are read as one.
 * @param where names the archive in messages.
 * @throws DataError on a damaged header, a sparse file, or an archive that ends without its end marker.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  where: string,
  options: TarOptions = {},
): AsyncGenerator<TarEntry> {
  const reader = new ByteReader(source, where);
  try {
    if (!(await isGzip(reader))) yield* readEntries(reader, where, options);
    else yield* readUnpacked(new ByteReader(gunzip(reader, where), where), where, options);
  } finally {
    await reader.close();
  }
}

async function* readUnpacked(reader: ByteReader, where: string, options: TarOptions): AsyncGenerator<TarEntry> {
  try {
    if (await isGzip(reader)) throw new DataError(`${where}: is compressed twice`, 'Unpack it once with gunzip.');
    yield* readEntries(reader, where, options);
  } finally {
    await reader.close();
  }
}

async function* readEntries(
  reader: ByteReader,
  where: string,
  { links = false }: TarOptions,
): AsyncGenerator<TarEntry> {
  let long: LongHeader = {};
  let ended = false;
  while (!(await reader.atEnd())) {
    const at = reader.position;
    const block = await reader.read(TAR_BLOCK);
    ended = block.every((byte) => byte === 0);
    if (ended) continue;
    const header = parseHeader(block, at, where);
    if ('LKxg'.includes(header.type)) {
      long = { ...long, ...(await readLongHeader(reader, header, where)) };
      continue;
    }
    const name = checkedName(withoutDot(long.name ?? header.name), at, where);
    const target = long.link ?? header.link;
    const size = long.size ?? header.size;
    if (header.type === 'S' || long.sparse) throw new DataError(`${where}: '${name}' is a sparse file`);
    long = {};
    const offset = reader.position;
    if ('07'.includes(header.type) && !name.endsWith('/')) {
      yield { name, size, offset, read: () => readBody(reader, offset, size, `${where}: ${name}`) };
    } else if (links && '12'.includes(header.type)) {
      // A hard link names its target from the root of the archive, a symbolic one from its own folder.
      const link = header.type === '1' ? withoutDot(target) : path.join(path.dirname(name), target);
      yield { name, size, offset, link, read: () => readBody(reader, offset, size, `${where}: ${name}`) };
    }
    await reader.skip(offset + size + padding(size) - reader.position);
  }
  if (!ended) throw new DataError(`${where}: truncated: ends at byte ${reader.position} without an end marker`);
}

/** A name that a file can have and a terminal can show. */
function checkedName(name: string, at: number, where: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
  if (Buffer.byteLength(name) <= LONGEST_NAME && !/[\x00-\x1f\x7f]/.test(name)) return name;
  throw new DataError(`${where}: a name that no file has, at byte ${at}: ${JSON.stringify(name.slice(0, 80))}`);
}

const withoutDot = (name: string): string => name.replace(/^(\.\/)+/, '');

async function readBody(
  reader: ByteReader,
  offset: number,
  size: number,
  where: string,
): Promise<Uint8Array<ArrayBuffer>> {
  if (size > LARGEST_BODY) throw new DataError(`${where}: has ${size} bytes, more than ${LARGEST_BODY}`);
  if (reader.position !== offset) throw new Error('a tar entry can be read once, before the next one');
  return reader.read(size);
}

interface Header {
  name: string;
  size: number;
  type: string;
  /** Of links: where they lead. */
  link: string;
}

/** What the headers before a file's own say about it. */
interface LongHeader {
  name?: string;
  link?: string;
  size?: number;
  sparse?: boolean;
}

/** Bytes that fill the last block of a body. */
export const padding = (size: number): number => (TAR_BLOCK - (size % TAR_BLOCK)) % TAR_BLOCK;

async function isGzip(reader: ByteReader): Promise<boolean> {
  const start = await reader.peek(2);
  return start[0] === 0x1f && start[1] === 0x8b;
}

async function* gunzip(reader: ByteReader, where: string): AsyncGenerator<Uint8Array> {
  const unzip = createGunzip();
  pipeline(Readable.from(reader.rest()), unzip, () => {}); // an error reaches the reader of `unzip`
  try {
    yield* unzip;
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(`${where}: cannot be unpacked (${(error as Error).message})`);
  }
}

function parseHeader(block: Uint8Array, at: number, where: string): Header {
  const fail = (what: string): never => {
    throw new DataError(`${where}: not a sound tar archive: ${what} at byte ${at}`);
  };
  const stored = parseOctal(block.subarray(148, 156));
  const sum = block.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  if (stored !== sum) fail('a header whose checksum does not match');
  const size = parseSize(block.subarray(124, 136));
  if (size === undefined) return fail('a size that is not a number');
  // Only POSIX ustar has a prefix; GNU's magic is followed by a space, and its field holds other things.
  const prefix = text(block.subarray(257, 263)) === 'ustar' && block[262] === 0 ? text(block.subarray(345, 500)) : '';
  const name = text(block.subarray(0, 100));
  const type = block[156] === 0 ? '0' : String.fromCharCode(block[156]);
  const link = text(block.subarray(157, 257));
  return { name: prefix ? `${prefix}/${name}` : name, size: '123456'.includes(type) ? 0 : size, type, link };
}

/** GNU: type L holds the next file's name, K its link target. pax: x holds records for the next file, g for all. */
async function readLongHeader(reader: ByteReader, { type, size }: Header, where: string): Promise<LongHeader> {
  if (size > LONGEST_HEADER) throw new DataError(`${where}: a header of ${size} bytes at byte ${reader.position}`);
  const at = reader.position;
  const body = await reader.read(size);
  await reader.skip(padding(size));
  if (type === 'L') return { name: text(body) };
  if (type === 'K') return { link: text(body) };
  return type === 'x' ? parsePax(body, at, where) : {};
}

/** Records of the form `<length> <key>=<value>\n`, the length counting itself. */
function parsePax(body: Uint8Array, offset: number, where: string): LongHeader {
  const header: LongHeader = {};
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const length = Number(text(body.subarray(at, space)));
    const record = new TextDecoder().decode(body.subarray(space + 1, at + length - 1));
    const equals = record.indexOf('=');
    if (
      space < 0 ||
      !Number.isInteger(length) ||
      length <= space - at ||
      equals < 0 ||
      body[at + length - 1] !== 0x0a
    ) {
      throw new DataError(`${where}: a damaged pax header at byte ${offset + at}`);
    }
    const [key, value] = [record.slice(0, equals), record.slice(equals + 1)];
    if (key === 'path') header.name = value;
    if (key === 'linkpath') header.link = value;
    if (key === 'size') header.size = parsePaxSize(value, offset, where);
    if (key.startsWith('GNU.sparse')) header.sparse = true;
    at += length;
  }
  return header;
}

function parsePaxSize(value: string, offset: number, where: string): number {
  const size = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(size)) throw new DataError(`${where}: a size of '${value}' at byte ${offset}`);
  return size;
}

/** Text up to the first zero byte. */
function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function parseOctal(bytes: Uint8Array): number | undefined {
  const digits = text(bytes).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

/** Octal, or base 256 when the first bit is set (sizes from 8 GiB on). */
function parseSize(bytes: Uint8Array): number | undefined {
  if (bytes[0] !== 0x80) return parseOctal(bytes);
  const size = bytes.subarray(1).reduce((total, byte) => total * 256 + byte, 0);
  return Number.isSafeInteger(size) ? size : undefined;
}
