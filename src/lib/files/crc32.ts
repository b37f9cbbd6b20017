/** CRC-32 (ISO-HDLC, as zlib's and gzip's). */
import zlib from 'node:zlib';

const POLYNOMIAL = 0xedb88320; // reflected

function makeTable(): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ POLYNOMIAL : remainder >>> 1;
    return remainder;
  });
}

let table: Uint32Array | undefined;

/** Byte-wise CRC-32, for the Node releases before 20.15 and 22.2, whose zlib does not export its own. */
export function tableCrc32(bytes: Uint8Array, previous = 0): number {
  table ??= makeTable();
  let remainder = ~previous;
  for (let i = 0; i < bytes.length; i++) remainder = table[(remainder ^ bytes[i]) & 0xff] ^ (remainder >>> 8);
  return ~remainder >>> 0;
}

const crcOf: (bytes: Uint8Array, previous: number) => number = zlib.crc32 ?? tableCrc32;

/** CRC-32 of `bytes`, continuing from the CRC of what came before: an unsigned 32-bit integer. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  // zlib takes an empty buffer without memory for a fresh start, and would forget what came before.
  return bytes.length === 0 ? previous : crcOf(bytes, previous);
}

/** Eight lower-case hexadecimal digits. */
export const showCrc = (crc: number): string => crc.toString(16).padStart(8, '0');
