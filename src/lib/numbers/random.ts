/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A value is a pure function of what it is for, so a run gives the same numbers for any batch size, number of ranks or
 * order of work. To reproduce them in another language:
 *
 *     key     = [seed mod 2^32, floor(seed / 2^32)]          seed: an integer in [0, 2^53)
 *     counter = [block, row, step, purpose]                  each an unsigned 32-bit integer
 *     words   = philox4x32-10(counter, key)                  four unsigned 32-bit integers w0..w3
 *
 * - uniforms: element j is floor(w / 2^8) / 2^24 with w = word j mod 4 of block floor(j / 4), so that it is exact in
 *   f32 and below 1;
 * - normals: elements 4b..4b+3 are two Box-Muller pairs of block b, from (w0, w1) and (w2, w3), computed in f64:
 *   r = sqrt(-2 ln((u + 0.5) / 2^32)), angle = 2 pi v / 2^32, pair = (r cos angle, r sin angle);
 * - integers below n: words of blocks 0, 1, 2, ... in order; a word at or above the largest multiple of n that fits
 *   in 2^32 is skipped, any other taken modulo n.
 */

/**
 * What random numbers are for: the last counter word. Numbers are part of the file formats' reproducibility: never
 * reuse one.
 */
export const PURPOSE = {
  init: 1,
  shuffle: 2,
  posterior: 3,
  noise: 4,
  time: 5,
  labelDropout: 6,
  sampleNoise: 7,
  sdeNoise: 8,
  labels: 9,
  augment: 10,
  subset: 11,
  probe: 12,
  teacherTime: 13,
  classNoise: 14,
  route: 15,
  pathDrop: 16,
  components: 17,
  direction: 18,
  transported: 19,
  caption: 20,
  negative: 30,
  routeGroups: 31,
  tokenTimes: 32,
  maskedTokens: 33,
} as const;

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const TWO_32 = 2 ** 32;
const ANGLE_UNIT = (2 * Math.PI) / TWO_32;

/**
 * High word of a 32 x 32 bit product, in 16-bit halves: no partial sum exceeds 32 bits, so all of it is integer code.
 */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const carried = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (carried >>> 16)) | 0;
}

/** The four words of counter [block, row, step, purpose] under key [low, high], written to `words`. */
export function philox(
  words: Uint32Array,
  block: number,
  row: number,
  step: number,
  purpose: number,
  low: number,
  high: number,
): void {
  let c0 = block | 0;
  let c1 = row | 0;
  let c2 = step | 0;
  let c3 = purpose | 0;
  let k0 = low | 0;
  let k1 = high | 0;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

function checkCounter(name: string, value: number, limit: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= limit) {
    throw new RangeError(`random ${name} must be an integer in [0, ${limit}), got ${value}`);
  }
}

/** Successive blocks of words of one (seed, purpose, row, step). */
class WordSource {
  readonly words = new Uint32Array(4);
  readonly #keyLow: number;
  readonly #keyHigh: number;
  readonly #purpose: number;
  readonly #row: number;
  readonly #step: number;
  #drawn = 0;

  constructor(seed: number, purpose: number, row: number, step: number) {
    checkCounter('seed', seed, 2 ** 53);
    checkCounter('purpose', purpose, TWO_32);
    checkCounter('row', row, TWO_32);
    checkCounter('step', step, TWO_32);
    this.#keyLow = seed % TWO_32;
    this.#keyHigh = Math.floor(seed / TWO_32);
    this.#purpose = purpose;
    this.#row = row;
    this.#step = step;
  }

  /** Fills `words` with those of one block. */
  load(block: number): void {
    philox(this.words, block, this.#row, this.#step, this.#purpose, this.#keyLow, this.#keyHigh);
  }

  /** The next unbiased integer in [0, bound). */
  integer(bound: number): number {
    const limit = TWO_32 - (TWO_32 % bound);
    for (;;) {
      const lane = this.#drawn & 3;
      if (lane === 0) this.load(this.#drawn >>> 2);
      this.#drawn++;
      const word = this.words[lane];
      if (word < limit) return word % bound;
    }
  }
}

/**
 * Standard normals into `out` (Box-Muller in f64, |value| < 6.8): element j depends only on (seed, purpose, step, row,
 * j).
 *
 * @throws RangeError if the seed is not an integer in [0, 2^53), or another number is not one in [0, 2^32).
 */
export function fillNormal(
  out: Float32Array | Float64Array,
  seed: number,
  purpose: number,
  row: number,
  step = 0,
): void {
  const source = new WordSource(seed, purpose, row, step);
  const { words } = source;
  for (let start = 0, block = 0; start < out.length; start += 4, block++) {
    source.load(block);
    for (let lane = 0; lane < 4; lane += 2) {
      const radius = Math.sqrt(-2 * Math.log((words[lane] + 0.5) / TWO_32));
      const angle = words[lane + 1] * ANGLE_UNIT;
      // Writes past the end of a typed array are dropped, which trims the last block.
      out[start + lane] = radius * Math.cos(angle);
      out[start + lane + 1] = radius * Math.sin(angle);
    }
  }
}

/**
 * Uniforms in [0, 1) into `out`, multiples of 2^-24: element j depends only on (seed, purpose, step, row, j).
 *
 * @throws RangeError as {@link fillNormal}.
 */
export function fillUniform(
  out: Float32Array | Float64Array,
  seed: number,
  purpose: number,
  row: number,
  step = 0,
): void {
  const source = new WordSource(seed, purpose, row, step);
  for (let j = 0; j < out.length; j++) {
    if ((j & 3) === 0) source.load(j >>> 2);
    out[j] = (source.words[j & 3] >>> 8) / 2 ** 24;
  }
}

/**
 * An unbiased integer in [0, bound) that depends only on (seed, purpose, step, row).
 *
 * @throws RangeError if `bound` is not an integer in [1, 2^32], or as {@link fillNormal}.
 */
export function randomInteger(bound: number, seed: number, purpose: number, row: number, step = 0): number {
  checkCounter('bound', bound - 1, TWO_32);
  return new WordSource(seed, purpose, row, step).integer(bound);
}

/**
 * A random order of 0..n-1 (Fisher-Yates from the end, each swap partner an unbiased integer), drawn with row `row` and
 * step `step` (of a shuffled set: row 0, and its epoch).
 *
 * @throws RangeError if `n` is not an integer in [0, 2^32), or as {@link fillNormal}.
 */
export function permutation(n: number, seed: number, purpose: number, step: number, row = 0): Uint32Array {
  checkCounter('permutation size', n, TWO_32);
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  const source = new WordSource(seed, purpose, row, step);
  for (let last = n - 1; last > 0; last--) {
    const partner = source.integer(last + 1);
    const moved = order[last];
    order[last] = order[partner];
    order[partner] = moved;
  }
  return order;
}
