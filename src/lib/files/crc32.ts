/** CRC-32 (ISO-HDLC, as zlib's and gzip's). */
import zlib from 'node:zlib';

/** Generators with their bits reflected. */
const IEEE = 0xedb88320;
const CASTAGNOLI = 0x82f63b78;

function makeTable(generator: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ generator : remainder >>> 1;
    return remainder;
  });
}

function byTable(table: Uint32Array, bytes: Uint8Array, previous: number): number {
  let remainder = ~previous;
  for (let i = 0; i < bytes.length; i++) remainder = table[(remainder ^ bytes[i]) & 0xff] ^ (remainder >>> 8);
  return ~remainder >>> 0;
}

let ieeeTable: Uint32Array | undefined;
let castagnoliTable: Uint32Array | undefined;

/** Byte-wise CRC-32, for the Node releases before 20.15 and 22.2, whose zlib does not export its own. */
export function tableCrc32(bytes: Uint8Array, previous = 0): number {
  ieeeTable ??= makeTable(IEEE);
  return byTable(ieeeTable, bytes, previous);
}

/** CRC-32C (Castagnoli's generator), which TensorFlow's records have: an unsigned 32-bit integer. */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  castagnoliTable ??= makeTable(CASTAGNOLI);
  return byTable(castagnoliTable, bytes, previous);
}

const crcOf: (bytes: Uint8Array, previous: number) => number = zlib.crc32 ?? tableCrc32;

/** CRC-32 of `bytes`, continuing from the CRC of what came before: an unsigned 32-bit integer. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  // zlib takes an empty buffer without memory for a fresh start, and would forget what came before.
  return bytes.length === 0 ? previous : crcOf(bytes, previous);
}

/** Eight lower-case hexadecimal digits. */
export const showCrc = (crc: number): string => crc.toString(16).padStart(8, '0');
