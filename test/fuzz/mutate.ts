/** Changes of files, drawn from a seed: blind ones of bytes, and ones that know how a format is built. */

export type Random = () => number;

/** Uniform numbers in [0, 1) from a seed (mulberry32): the same on every machine. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const below = (random: Random, end: number): number => Math.floor(random() * end);

export const pick = <T>(random: Random, from: readonly T[]): T => from[below(random, from.length)];

const WORDS = [0, 1, 7, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff8];
const NUMBERS = ['0', '-1', '1e9', '2147483648', '9007199254740993', '1e400', '999999999999', 'null', '[]', '""'];

type Change = (bytes: Buffer, random: Random) => Buffer;

/** Some bytes from `at` on, none if the file is shorter. */
function span(bytes: Buffer, random: Random): [start: number, end: number] {
  const start = below(random, bytes.length + 1);
  return [start, Math.min(bytes.length, start + 1 + below(random, 64))];
}

const BLIND: readonly Change[] = [
  (bytes, random) => {
    bytes[below(random, bytes.length)] ^= 1 << below(random, 8);
    return bytes;
  },
  (bytes, random) => {
    bytes[below(random, bytes.length)] = below(random, 256);
    return bytes;
  },
  (bytes, random) => {
    if (bytes.length >= 4) bytes.writeUInt32LE(pick(random, WORDS), below(random, bytes.length - 3));
    return bytes;
  },
  (bytes, random) => bytes.subarray(0, below(random, bytes.length)),
  (bytes, random) => {
    const [start, end] = span(bytes, random);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  },
  (bytes, random) => {
    const [start, end] = span(bytes, random);
    return Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)]);
  },
  (bytes, random) => {
    const [start, end] = span(bytes, random);
    return bytes.fill(0, start, end);
  },
  (bytes, random) => {
    const [start, end] = span(bytes, random);
    bytes.copy(bytes, below(random, bytes.length), start, end);
    return bytes;
  },
];

/** Of formats whose headers are text: another number in the place of one, a bracket again and again. */
export const TEXTUAL: readonly Change[] = [
  (bytes, random) => {
    const found = [...bytes.toString('latin1').matchAll(/\d+/g)];
    if (found.length === 0) return bytes;
    const { 0: digits, index } = pick(random, found);
    return Buffer.concat([
      bytes.subarray(0, index),
      Buffer.from(pick(random, NUMBERS)),
      bytes.subarray(index + digits.length),
    ]);
  },
  (bytes, random) => {
    const at = below(random, bytes.length);
    return Buffer.concat([
      bytes.subarray(0, at),
      Buffer.alloc(1 + below(random, 2000), pick(random, ['[', '{', '(', ']'])),
      bytes.subarray(at),
    ]);
  },
];

/** One to three changes of a copy. */
export function mutant(good: Buffer, random: Random, more: readonly Change[] = []): Buffer {
  let bytes: Buffer = Buffer.from(good);
  for (let left = 1 + below(random, 3); left > 0 && bytes.length > 0; left--) {
    bytes = Buffer.from(pick(random, [...BLIND, ...more])(bytes, random));
  }
  return bytes;
}
