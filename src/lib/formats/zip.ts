/**
 * Reading zip archives, as torch.save and numpy.savez write them: stored or deflated members, zip64, checked CRCs.
 * Everything is found through the central directory; sizes are checked against the file before memory is taken.
 * Layout: PKWARE APPNOTE 6.3 (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT), sections 4.3 to 4.5.
 */
import { pipeline, Readable } from 'node:stream';
import { constants, createInflateRaw, inflateRawSync } from 'node:zlib';
import { DataError } from '../errors.js';
import { crc32 } from '../files/crc32.js';
import { BinaryFile } from './binary-file.js';

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const END_BYTES = 22;
const LONGEST_COMMENT = 0xffff;
const ENCRYPTED = 1;
const STORED = 0;
const DEFLATED = 8;
const IN_ZIP64 = 0xffffffff;
/** Deflate cannot do better than 1032 to 1, so a member that claims more is a lie. */
const BEST_DEFLATE_RATIO = 1032;
const CHUNK = 1 << 20;
const START_BYTES = 1 << 14;

export interface ZipEntry {
  readonly name: string;
  /** Bytes once unpacked. */
  readonly size: number;
  readonly stored: boolean;
}

interface Member extends ZipEntry {
  packedSize: number;
  crc: number;
  headerOffset: number;
}

export class ZipFile {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  readonly #file: BinaryFile;
  readonly #members: Map<string, Member>;

  constructor(file: BinaryFile) {
    this.#file = file;
    this.#members = readCentralDirectory(file);
    this.entries = this.#members;
  }

  /**
   * A whole member, unpacked, its CRC checked.
   * @param limit the largest size that makes sense to the caller; a member that declares more is refused.
   */
  read(name: string, limit = Number.POSITIVE_INFINITY): Uint8Array<ArrayBuffer> {
    const member = this.#member(name);
    if (member.size > limit) this.#fail(name, `${member.size} bytes where at most ${limit} make sense`);
    const packed = this.#file.read(this.#dataOffset(member), member.packedSize);
    const bytes = member.stored ? packed : this.#inflate(member, packed);
    if (bytes.length !== member.size) this.#fail(name, `unpacks to ${bytes.length} bytes, not ${member.size}`);
    // torch.save can be told to leave CRCs out, which writes zeros.
    if (member.crc !== 0 && crc32(bytes) !== member.crc) this.#fail(name, 'the CRC does not match');
    return bytes;
  }

  /** Part of a stored member. The CRC covers the whole member, so it is not checked here. */
  readStored(name: string, offset: number, length: number): Uint8Array<ArrayBuffer> {
    const member = this.#member(name);
    if (!member.stored) this.#fail(name, 'is compressed, which a partial read does not support');
    if (offset < 0 || offset + length > member.size) {
      this.#fail(name, `bytes ${offset} to ${offset + length} lie outside its ${member.size} bytes`);
    }
    return this.#file.read(this.#dataOffset(member) + offset, length);
  }

  /** The first bytes of a member, unpacked, up to a few kilobytes: enough for a header. Its CRC is not checked. */
  start(name: string): Uint8Array<ArrayBuffer> {
    const member = this.#member(name);
    const packed = this.#file.read(this.#dataOffset(member), Math.min(member.packedSize, START_BYTES));
    return member.stored ? packed : this.#inflate(member, packed);
  }

  /** The unpacked bytes in pieces, in bounded memory; the CRC is checked at the end. */
  async *chunks(name: string): AsyncGenerator<Uint8Array> {
    const member = this.#member(name);
    let size = 0;
    let crc = 0;
    for await (const chunk of member.stored ? this.#packedChunks(member) : this.#inflatedChunks(member)) {
      size += chunk.length;
      if (size > member.size) this.#fail(name, `unpacks to more than its ${member.size} bytes`);
      crc = crc32(chunk, crc);
      yield chunk;
    }
    if (size !== member.size) this.#fail(name, `unpacks to ${size} bytes, not ${member.size}`);
    if (crc !== member.crc) this.#fail(name, 'the CRC does not match');
  }

  close(): void {
    this.#file.close();
  }

  #packedChunks(member: Member): Generator<Uint8Array<ArrayBuffer>> {
    const start = this.#dataOffset(member);
    return this.#file.chunks(start, start + member.packedSize);
  }

  async *#inflatedChunks(member: Member): AsyncGenerator<Uint8Array> {
    const inflate = createInflateRaw({ chunkSize: CHUNK });
    pipeline(Readable.from(this.#packedChunks(member)), inflate, () => {}); // an error reaches the reader of `inflate`
    try {
      yield* inflate;
    } catch (error) {
      this.#fail(member.name, `cannot be unpacked (${(error as Error).message})`);
    }
  }

  /** Unpacks as far as `packed` goes, never beyond the declared size. */
  #inflate(member: Member, packed: Uint8Array): Uint8Array<ArrayBuffer> {
    try {
      const limits = { maxOutputLength: Math.max(1, member.size), finishFlush: constants.Z_SYNC_FLUSH };
      const bytes = inflateRawSync(packed, limits);
      return new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
    } catch (error) {
      return this.#fail(member.name, `cannot be unpacked (${(error as Error).message})`);
    }
  }

  #member(name: string): Member {
    return this.#members.get(name) ?? this.#fail(name, 'no such member');
  }

  /** The local header repeats the name and may have another extra field than the central one. */
  #dataOffset(member: Member): number {
    const header = view(this.#file.read(member.headerOffset, 30));
    if (header.getUint32(0, true) !== LOCAL_HEADER)
      this.#fail(member.name, 'its local header is not where it should be');
    return member.headerOffset + 30 + header.getUint16(26, true) + header.getUint16(28, true);
  }

  #fail(name: string, what: string): never {
    throw new DataError(`${this.#file.path}: zip member '${name}': ${what}`);
  }
}

/** @throws MissingInputError when there is no such file; DataError when it is not a sound zip archive. */
export function openZip(path: string): ZipFile {
  const file = new BinaryFile(path);
  try {
    return new ZipFile(file);
  } catch (error) {
    file.close();
    throw error;
  }
}

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function readCentralDirectory(file: BinaryFile): Map<string, Member> {
  const fail = (what: string): never => {
    throw new DataError(`${file.path}: not a sound zip archive: ${what}`);
  };
  const { count, size, offset } = findDirectory(file, fail);
  if (offset + size > file.size) fail('truncated: the central directory runs past the end of the file');
  const directory = file.read(offset, size);
  const members = new Map<string, Member>();
  let position = 0;
  for (let i = 0; i < count; i++) {
    const { member, length } = readMember(directory.subarray(position), fail);
    if (members.has(member.name)) fail(`two members named '${member.name}'`);
    if (member.headerOffset + member.packedSize > offset)
      fail(`member '${member.name}' runs into the central directory`);
    members.set(member.name, member);
    position += length;
  }
  return members;
}

function findDirectory(file: BinaryFile, fail: (what: string) => never) {
  const tailStart = Math.max(0, file.size - END_BYTES - LONGEST_COMMENT);
  const tail = view(file.read(tailStart, file.size - tailStart));
  let at = tail.byteLength - END_BYTES;
  const isEnd = (i: number): boolean =>
    tail.getUint32(i, true) === END && i + END_BYTES + tail.getUint16(i + 20, true) === tail.byteLength;
  while (at >= 0 && !isEnd(at)) at--;
  if (at < 0) return fail('no end of central directory: truncated, or another format');
  const count = tail.getUint16(at + 10, true);
  const size = tail.getUint32(at + 12, true);
  const offset = tail.getUint32(at + 16, true);
  if (count !== 0xffff && size !== IN_ZIP64 && offset !== IN_ZIP64) return { count, size, offset };

  if (at < 20 || tail.getUint32(at - 20, true) !== END64_LOCATOR) return { count, size, offset };
  const end64 = view(file.read(readSize(tail, at - 12, fail), 56));
  if (end64.getUint32(0, true) !== END64) fail('no zip64 end of central directory where it should be');
  return { count: readSize(end64, 32, fail), size: readSize(end64, 40, fail), offset: readSize(end64, 48, fail) };
}

function readSize(from: DataView, at: number, fail: (what: string) => never): number {
  const value = Number(from.getBigUint64(at, true));
  return Number.isSafeInteger(value) ? value : fail(`a size of ${value} bytes`);
}

function readMember(bytes: Uint8Array, fail: (what: string) => never): { member: Member; length: number } {
  if (bytes.length < 46) fail('the central directory is shorter than its count of members');
  const header = view(bytes);
  if (header.getUint32(0, true) !== CENTRAL_HEADER) fail('the central directory is damaged');
  const extraStart = 46 + header.getUint16(28, true);
  const length = extraStart + header.getUint16(30, true) + header.getUint16(32, true);
  if (length > bytes.length) fail('the central directory is damaged');
  const name = new TextDecoder().decode(bytes.subarray(46, extraStart));

  const method = header.getUint16(10, true);
  if (header.getUint16(8, true) & ENCRYPTED) fail(`member '${name}' is encrypted`);
  if (method !== STORED && method !== DEFLATED) fail(`member '${name}' uses compression method ${method}`);
  const wide = zip64Fields(view(bytes.subarray(extraStart, extraStart + header.getUint16(30, true))), fail);
  const field = (at: number): number => {
    const value = header.getUint32(at, true);
    return value === IN_ZIP64 ? (wide.shift() ?? value) : value;
  };
  // The zip64 extra holds only those of the three that do not fit, in this order.
  const size = field(24);
  const packedSize = field(20);
  const headerOffset = field(42);
  const stored = method === STORED;
  if (stored && size !== packedSize) fail(`member '${name}' is stored but its two sizes differ`);
  if (size > packedSize * BEST_DEFLATE_RATIO) fail(`member '${name}' claims ${size} bytes from ${packedSize}`);
  return { member: { name, size, packedSize, stored, crc: header.getUint32(16, true), headerOffset }, length };
}

function zip64Fields(extra: DataView, fail: (what: string) => never): number[] {
  for (let at = 0; at + 4 <= extra.byteLength; ) {
    const length = extra.getUint16(at + 2, true);
    if (at + 4 + length > extra.byteLength) fail('an extra field is damaged');
    if (extra.getUint16(at, true) === 1) {
      return Array.from({ length: Math.floor(length / 8) }, (_, i) => readSize(extra, at + 4 + 8 * i, fail));
    }
    at += 4 + length;
  }
  return [];
}
