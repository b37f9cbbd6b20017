/** Writing zip archives of stored members, with zip64 fields where sizes or offsets need them. */
import { writeSync } from 'node:fs';
import { crc32 } from '../files/crc32.js';

const FITS_32 = 0xffffffff;
/** 1980-01-01 00:00, the earliest date a zip can hold: the same data makes the same archive. */
const DOS_DATE = 0x21;
const UTF8_NAMES = 0x0800;

interface Written {
  name: Uint8Array;
  size: number;
  crc: number;
  offset: number;
}

export class ZipWriter {
  readonly #fd: number;
  readonly #members: Written[] = [];
  #position = 0;

  /** @param fd a seekable file, at position 0: CRCs are filled in after the data. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Adds a member of `size` bytes in all, given in pieces. */
  async add(name: string, size: number, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
    const member: Written = { name: new TextEncoder().encode(name), size, crc: 0, offset: this.#position };
    this.#write(localHeader(member));
    const end = this.#position + size;
    for await (const chunk of chunks) {
      member.crc = crc32(chunk, member.crc);
      this.#write(chunk);
    }
    if (this.#position !== end) throw new RangeError(`'${name}' has ${this.#position - end + size} bytes, not ${size}`);
    writeSync(this.#fd, localHeader(member), 0, 18, member.offset);
    this.#members.push(member);
  }

  /** Writes the central directory; nothing can be added after it. */
  end(): void {
    const start = this.#position;
    for (const member of this.#members) this.#write(centralHeader(member));
    this.#write(endOfDirectory(this.#members.length, this.#position - start, start));
  }

  #write(bytes: Uint8Array): void {
    // At a position of its own, since filling in a CRC moves the file's.
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#position + done);
    }
    this.#position += bytes.length;
  }
}

function localHeader({ name, size, crc }: Written): Uint8Array {
  const wide = size >= FITS_32;
  const extra = wide ? zip64Extra([size, size]) : new Uint8Array();
  const header = new Uint8Array(30 + name.length + extra.length);
  const view = new DataView(header.buffer);
  view.setUint32(0, 0x04034b50, true);
  setCommonFields(view, 4, wide, crc, size);
  view.setUint16(26, name.length, true);
  view.setUint16(28, extra.length, true);
  header.set(name, 30);
  header.set(extra, 30 + name.length);
  return header;
}

function centralHeader({ name, size, crc, offset }: Written): Uint8Array {
  const wide = size >= FITS_32 || offset >= FITS_32;
  const extra = wide
    ? zip64Extra([...(size >= FITS_32 ? [size, size] : []), ...(offset >= FITS_32 ? [offset] : [])])
    : new Uint8Array();
  const header = new Uint8Array(46 + name.length + extra.length);
  const view = new DataView(header.buffer);
  view.setUint32(0, 0x02014b50, true);
  view.setUint16(4, wide ? 45 : 20, true);
  setCommonFields(view, 6, wide, crc, size);
  view.setUint16(28, name.length, true);
  view.setUint16(30, extra.length, true);
  view.setUint32(42, Math.min(offset, FITS_32), true);
  header.set(name, 46);
  header.set(extra, 46 + name.length);
  return header;
}

/** Version needed, flags, method (stored), time, date, CRC and both sizes: 22 bytes that the two headers share. */
function setCommonFields(view: DataView, at: number, wide: boolean, crc: number, size: number): void {
  view.setUint16(at, wide ? 45 : 20, true);
  view.setUint16(at + 2, UTF8_NAMES, true);
  view.setUint16(at + 8, DOS_DATE, true);
  view.setUint32(at + 10, crc, true);
  view.setUint32(at + 14, Math.min(size, FITS_32), true);
  view.setUint32(at + 18, Math.min(size, FITS_32), true);
}

function zip64Extra(values: number[]): Uint8Array {
  const extra = new DataView(new ArrayBuffer(4 + 8 * values.length));
  extra.setUint16(0, 1, true);
  extra.setUint16(2, 8 * values.length, true);
  values.forEach((value, i) => {
    extra.setBigUint64(4 + 8 * i, BigInt(value), true);
  });
  return new Uint8Array(extra.buffer);
}

function endOfDirectory(count: number, size: number, offset: number): Uint8Array {
  const wide = count >= 0xffff || size >= FITS_32 || offset >= FITS_32;
  const out = new DataView(new ArrayBuffer(wide ? 56 + 20 + 22 : 22));
  if (wide) {
    out.setUint32(0, 0x06064b50, true);
    out.setBigUint64(4, 44n, true); // what follows this field
    out.setUint16(12, 45, true);
    out.setUint16(14, 45, true);
    out.setBigUint64(24, BigInt(count), true);
    out.setBigUint64(32, BigInt(count), true);
    out.setBigUint64(40, BigInt(size), true);
    out.setBigUint64(48, BigInt(offset), true);
    out.setUint32(56, 0x07064b50, true);
    out.setBigUint64(64, BigInt(offset + size), true);
    out.setUint32(72, 1, true);
  }
  const end = wide ? 76 : 0;
  out.setUint32(end, 0x06054b50, true);
  out.setUint16(end + 8, Math.min(count, 0xffff), true);
  out.setUint16(end + 10, Math.min(count, 0xffff), true);
  out.setUint32(end + 12, Math.min(size, FITS_32), true);
  out.setUint32(end + 16, Math.min(offset, FITS_32), true);
  return new Uint8Array(out.buffer);
}
