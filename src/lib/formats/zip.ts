/**
 * Reading zip archives, as torch.save and numpy.savez write them: stored or deflated members, zip64, checked CRCs.
 * Sizes are checked against the file before memory is taken.
 * Layout: PKWARE APPNOTE 6.3 (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT), sections 4.3 to 4.5.
 */
import { pipeline, Readable } from 'node:stream';
import { constants, createInflateRaw, inflateRawSync } from 'node:zlib';
import { DataError } from '../errors.js';
import { crc32 } from '../files/crc32.js';
import { BinaryFile } from './binary-file.js';
import { type Member, readMembers, type ZipEntry } from './zip-members.js';

export type { ZipEntry };

const CHUNK = 1 << 20;
/** A member that is unpacked in one piece may be so large, or so many times its packed size, whichever is more. */
const LARGEST_UNPACKED = 2 ** 28;
const LARGEST_RATIO = 20;
const START_BYTES = 1 << 14;

export interface ZipOptions {
  /** Whether an archive whose CRCs are all 0 is taken for one without any, as torch writes it when it is told to. */
  withoutCrcs?: boolean;
}

export class ZipFile {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  readonly #file: BinaryFile;
  readonly #members: Map<string, Member>;
  /** Of no member, where the archive has none. */
  readonly #hasCrcs: boolean;
  /** Members of which a part was read, once the whole was seen to have its CRC. */
  readonly #checked = new Set<string>();

  constructor(file: BinaryFile, { withoutCrcs = false }: ZipOptions = {}) {
    this.#file = file;
    this.#members = readMembers(file);
    this.entries = this.#members;
    this.#hasCrcs = !withoutCrcs || [...this.#members.values()].some(({ crc }) => crc !== 0);
  }

  /**
   * A whole member, unpacked, its CRC checked.
   * @param limit the largest size that makes sense to the caller; a member that declares more is refused.
   */
  read(name: string, limit = Number.POSITIVE_INFINITY): Uint8Array<ArrayBuffer> {
    const member = this.#member(name);
    if (member.size > limit) this.#fail(name, `${member.size} bytes where at most ${limit} make sense`);
    if (!member.stored && member.size > Math.max(LARGEST_UNPACKED, LARGEST_RATIO * member.packedSize)) {
      this.#fail(name, `unpacks to ${member.size} bytes from ${member.packedSize}, too many to hold at once`);
    }
    const packed = this.#file.read(member.dataOffset, member.packedSize);
    const bytes = member.stored ? packed : this.#inflate(member, packed);
    if (bytes.length !== member.size) this.#fail(name, `unpacks to ${bytes.length} bytes, not ${member.size}`);
    this.#checkCrc(member, crc32(bytes));
    return bytes;
  }

  /** Part of a stored member. The CRC covers the whole member: the first time, all of it is read and checked. */
  readStored(name: string, offset: number, length: number): Uint8Array<ArrayBuffer> {
    const member = this.#member(name);
    if (!member.stored) this.#fail(name, 'is compressed, which a partial read does not support');
    if (offset < 0 || offset + length > member.size) {
      this.#fail(name, `bytes ${offset} to ${offset + length} lie outside its ${member.size} bytes`);
    }
    if (!this.#checked.has(name)) this.#checkStored(member);
    return this.#file.read(member.dataOffset + offset, length);
  }

  /** The first bytes of a member, unpacked, up to a few kilobytes: enough for a header. Its CRC is not checked. */
  start(name: string): Uint8Array<ArrayBuffer> {
    const member = this.#member(name);
    const packed = this.#file.read(member.dataOffset, Math.min(member.packedSize, START_BYTES));
    return member.stored ? packed : this.#inflate(member, packed);
  }

  #checkStored(member: Member): void {
    let crc = 0;
    for (const chunk of this.#packedChunks(member)) crc = crc32(chunk, crc);
    this.#checkCrc(member, crc);
    this.#checked.add(member.name);
  }

  #checkCrc({ name, crc }: Member, found: number): void {
    if (this.#hasCrcs && found !== crc) this.#fail(name, 'the CRC does not match');
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
    this.#checkCrc(member, crc);
  }

  close(): void {
    this.#file.close();
  }

  #packedChunks(member: Member): Generator<Uint8Array<ArrayBuffer>> {
    return this.#file.chunks(member.dataOffset, member.dataOffset + member.packedSize);
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

  #fail(name: string, what: string): never {
    throw new DataError(`${this.#file.path}: zip member '${name}': ${what}`);
  }
}

/** @throws MissingInputError when there is no such file; DataError when it is not a sound zip archive. */
export function openZip(path: string, options?: ZipOptions): ZipFile {
  const file = new BinaryFile(path);
  try {
    return new ZipFile(file, options);
  } catch (error) {
    file.close();
    throw error;
  }
}
