/**
 * What a zip archive holds, and where. Members are found through the central directory, and what stands before and
 * after their data must agree with it: names, sizes and CRCs. They lie back to back from the file's start to the
 * directory, so none hides, is lost, or shares its bytes with another.
 */
import { DataError } from '../errors.js';
import type { BinaryFile } from './binary-file.js';

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const END_BYTES = 22;
const LONGEST_COMMENT = 0xffff;
const ENCRYPTED = 1;
/** Sizes and CRC follow the data; the header before it may say 0. */
const DESCRIPTOR_FOLLOWS = 8;
const DESCRIPTOR = 0x08074b50;
const STORED = 0;
const DEFLATED = 8;
const IN_ZIP64 = 0xffffffff;
/** Deflate compresses at most 1032 to 1: a member that claims more is refused. */
const BEST_DEFLATE_RATIO = 1032;

export interface ZipEntry {
  readonly name: string;
  /** Bytes once unpacked. */
  readonly size: number;
  readonly stored: boolean;
  /** Its kind and permissions, as Unix has them; 0 where another system wrote the archive. */
  readonly mode: number;
}

/** The system whose attributes the directory holds. */
const UNIX = 3;

/** What the central directory says of a member. */
interface Listed extends ZipEntry {
  packedSize: number;
  crc: number;
  flags: number;
  method: number;
  headerOffset: number;
  rawName: Uint8Array;
}

export interface Member extends Listed {
  dataOffset: number;
}

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

type Fail = (what: string) => never;

/** @throws DataError when it is not a sound zip archive. */
export function readMembers(file: BinaryFile): Map<string, Member> {
  const fail = (what: string): never => {
    throw new DataError(`${file.path}: not a sound zip archive: ${what}`);
  };
  const { count, size, offset } = findDirectory(file, fail);
  const listed = readDirectory(file.read(offset, size), count, fail);
  for (const { name, headerOffset, packedSize } of listed) {
    if (headerOffset + packedSize > offset) fail(`member '${name}' runs into the central directory`);
  }
  const members = new Map<string, Member>();
  for (const member of listed) {
    if (members.has(member.name)) fail(`two members named '${member.name}'`);
    members.set(member.name, { ...member, dataOffset: 0 });
  }
  let position = 0;
  for (const member of [...members.values()].sort((a, b) => a.headerOffset - b.headerOffset)) {
    if (member.headerOffset !== position) fail(`member '${member.name}' does not follow the one before it`);
    member.dataOffset = checkLocalHeader(file, member, fail);
    position = member.dataOffset + member.packedSize;
    if (position > offset) fail(`member '${member.name}' runs into the central directory`);
    if (member.flags & DESCRIPTOR_FOLLOWS) position += checkDescriptor(file, member, position, fail);
  }
  if (position !== offset) fail(`${offset - position} bytes before the central directory belong to no member`);
  return members;
}

function readDirectory(directory: Uint8Array, count: number, fail: Fail): Listed[] {
  const listed: Listed[] = [];
  let position = 0;
  for (let i = 0; i < count; i++) {
    const { member, length } = readListed(directory.subarray(position), fail);
    listed.push(member);
    position += length;
  }
  if (position !== directory.length) fail(`the central directory holds more than its ${count} members`);
  return listed;
}

/** The header before a member's data repeats what the directory says. @returns where its data starts */
function checkLocalHeader(file: BinaryFile, member: Listed, fail: Fail): number {
  const { name, rawName, headerOffset } = member;
  const differs = (what: string): never => fail(`member '${name}': ${what} is another before its data`);
  const header = view(file.read(headerOffset, Math.min(30, file.size - headerOffset)));
  if (header.byteLength < 30 || header.getUint32(0, true) !== LOCAL_HEADER) {
    fail(`member '${name}': its local header is not where it should be`);
  }
  const extraStart = 30 + header.getUint16(26, true);
  const length = extraStart + header.getUint16(28, true);
  const whole = file.read(headerOffset, length);
  if (!Buffer.from(rawName).equals(whole.subarray(30, extraStart))) differs('the name');
  if (header.getUint16(6, true) !== member.flags) differs('a flag');
  if (header.getUint16(8, true) !== member.method) differs('the compression method');
  const [crc, packedSize, size] = [14, 18, 22].map((at) => header.getUint32(at, true));
  const isLater = (member.flags & DESCRIPTOR_FOLLOWS) !== 0 && crc === 0;
  if (isLater && (packedSize === 0 || packedSize === IN_ZIP64) && size === packedSize) return headerOffset + length;
  const wide = zip64Fields(view(whole.subarray(extraStart)), fail);
  const sizes = [size, packedSize].map((value) => (value === IN_ZIP64 ? (wide.shift() ?? value) : value));
  if (crc !== member.crc) differs('the CRC');
  if (sizes[0] !== member.size || sizes[1] !== member.packedSize) differs('the size');
  return headerOffset + length;
}

/** What follows the data of a member whose sizes were not known before it. @returns its length in bytes */
function checkDescriptor(file: BinaryFile, member: Listed, at: number, fail: Fail): number {
  const bytes = view(file.read(at, Math.min(24, file.size - at)));
  const signed = bytes.byteLength >= 4 && bytes.getUint32(0, true) === DESCRIPTOR ? 4 : 0;
  const { crc, packedSize, size } = member;
  for (const wide of [false, true]) {
    const length = signed + (wide ? 20 : 12);
    if (bytes.byteLength < length) continue;
    const sizeAt = (field: number): bigint =>
      wide ? bytes.getBigUint64(signed + 4 + 8 * field, true) : BigInt(bytes.getUint32(signed + 4 + 4 * field, true));
    const agrees = sizeAt(0) === BigInt(packedSize) && sizeAt(1) === BigInt(size);
    if (agrees && bytes.getUint32(signed, true) === crc) return length;
  }
  return fail(`member '${member.name}': its size or CRC is another after its data`);
}

function findDirectory(file: BinaryFile, fail: Fail): { count: number; size: number; offset: number } {
  const tailStart = Math.max(0, file.size - END_BYTES - LONGEST_COMMENT);
  const tail = view(file.read(tailStart, file.size - tailStart));
  let at = tail.byteLength - END_BYTES;
  const isEnd = (i: number): boolean =>
    tail.getUint32(i, true) === END && i + END_BYTES + tail.getUint16(i + 20, true) === tail.byteLength;
  while (at >= 0 && !isEnd(at)) at--;
  if (at < 0) return fail('no end of central directory: truncated, or another format');
  const end = tailStart + at;
  const count = tail.getUint16(at + 10, true);
  const size = tail.getUint32(at + 12, true);
  const offset = tail.getUint32(at + 16, true);
  const narrow = { count, size, offset };
  if (tail.getUint16(at + 8, true) !== count) fail('it is one of several volumes');
  if (at < 20 || tail.getUint32(at - 20, true) !== END64_LOCATOR) {
    if (offset + size !== end) fail('truncated: the central directory does not end where the archive does');
    return narrow;
  }
  const start64 = readSize(tail, at - 12, fail);
  const end64 = view(file.read(start64, 56));
  if (end64.getUint32(0, true) !== END64) fail('no zip64 end of central directory where it should be');
  const wide = { count: readSize(end64, 32, fail), size: readSize(end64, 40, fail), offset: readSize(end64, 48, fail) };
  if (wide.offset + wide.size !== start64) fail('truncated: the central directory does not end where the archive does');
  const agrees = (a: number, b: number, unknown: number): boolean => a === b || a === unknown;
  if (
    !agrees(count, wide.count, 0xffff) ||
    !agrees(size, wide.size, IN_ZIP64) ||
    !agrees(offset, wide.offset, IN_ZIP64)
  ) {
    fail('its two ends of the central directory differ');
  }
  return wide;
}

function readSize(from: DataView, at: number, fail: Fail): number {
  const value = Number(from.getBigUint64(at, true));
  return Number.isSafeInteger(value) ? value : fail(`a size of ${value} bytes`);
}

function readListed(bytes: Uint8Array, fail: Fail): { member: Listed; length: number } {
  if (bytes.length < 46) fail('the central directory is shorter than its count of members');
  const header = view(bytes);
  if (header.getUint32(0, true) !== CENTRAL_HEADER) fail('the central directory is damaged');
  const extraStart = 46 + header.getUint16(28, true);
  const length = extraStart + header.getUint16(30, true) + header.getUint16(32, true);
  if (length > bytes.length) fail('the central directory is damaged');
  const rawName = bytes.subarray(46, extraStart);
  const name = new TextDecoder().decode(rawName);

  const method = header.getUint16(10, true);
  const flags = header.getUint16(8, true);
  if (flags & ENCRYPTED) fail(`member '${name}' is encrypted`);
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
  const crc = header.getUint32(16, true);
  const mode = bytes[5] === UNIX ? header.getUint16(40, true) : 0;
  return { member: { name, rawName, size, packedSize, stored, mode, method, flags, crc, headerOffset }, length };
}

function zip64Fields(extra: DataView, fail: Fail): number[] {
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
