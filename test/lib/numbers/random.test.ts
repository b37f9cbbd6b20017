import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  fillNormal,
  fillUniform,
  PURPOSE,
  permutation,
  philox,
  randomInteger,
} from '../../../src/lib/numbers/random.js';

const normals = (count: number, ...at: [number, number, number, number?]): Float64Array => {
  const out = new Float64Array(count);
  fillNormal(out, ...at);
  return out;
};

const uint32 = fc.integer({ min: 0, max: 0xffffffff });

/** Philox4x32-10 as its paper states it, with 64-bit integers. */
function philoxByDefinition(counter: number[], key: number[]): number[] {
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  const mask = 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const a = 0xd2511f53n * c0;
    const b = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & mask, (a >> 32n) ^ c3 ^ k1, a & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3].map(Number);
}

describe('philox', () => {
  // The known-answer vectors that the Random123 library ships for philox4x32 with 10 rounds.
  const vectors: [counter: [number, number, number, number], key: [number, number], words: number[]][] = [
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  for (const [counter, key, expected] of vectors) {
    it(`gives the known answer for counter ${counter[0].toString(16)}...`, () => {
      const words = new Uint32Array(4);
      philox(words, ...counter, ...key);
      assert.deepEqual([...words], expected);
    });
  }

  it('agrees with its definition in 64-bit integers', () => {
    fc.assert(
      fc.property(fc.tuple(uint32, uint32, uint32, uint32), fc.tuple(uint32, uint32), (counter, key) => {
        const words = new Uint32Array(4);
        philox(words, ...counter, ...key);
        assert.deepEqual([...words], philoxByDefinition(counter, key));
      }),
    );
  });
});

describe('fillNormal', () => {
  it('follows the documented layout of counter and key', () => {
    const seed = 5 * 2 ** 32 + 7;
    const words = philoxByDefinition([1, 11, 13, PURPOSE.noise], [7, 5]);
    const radius = Math.sqrt(-2 * Math.log((words[2] + 0.5) / 2 ** 32));
    const angle = (2 * Math.PI * words[3]) / 2 ** 32;
    const values = normals(8, seed, PURPOSE.noise, 11, 13);
    assert.equal(values[6], radius * Math.cos(angle));
    assert.equal(values[7], radius * Math.sin(angle));
  });

  it('gives each element whatever the length of the array and its precision', () => {
    const long = normals(4096, 1, PURPOSE.noise, 2, 3);
    for (const length of [1, 2, 3, 5, 4095]) {
      assert.deepEqual(normals(length, 1, PURPOSE.noise, 2, 3), long.slice(0, length));
    }
    const single = new Float32Array(4096);
    fillNormal(single, 1, PURPOSE.noise, 2, 3);
    assert.deepEqual(single, Float32Array.from(long));
  });

  it('differs by seed, purpose, row and step', () => {
    const base = normals(1, 1, 1, 1, 1)[0];
    for (const other of [
      [2, 1, 1, 1],
      [1, 2, 1, 1],
      [1, 1, 2, 1],
      [1, 1, 1, 2],
      [1 + 2 ** 32, 1, 1, 1],
    ] as [number, number, number, number][]) {
      assert.notEqual(normals(1, ...other)[0], base);
    }
  });

  it('has the moments and tails of a standard normal', () => {
    const count = 1 << 20;
    const values = normals(count, 0, PURPOSE.noise, 0);
    const moment = (power: number): number => values.reduce((sum, value) => sum + value ** power, 0) / count;
    // Bounds are five standard errors of each sample moment.
    const error = 5 / Math.sqrt(count);
    assert.ok(Math.abs(moment(1)) < error);
    assert.ok(Math.abs(moment(2) - 1) < error * Math.sqrt(2));
    assert.ok(Math.abs(moment(3)) < error * Math.sqrt(15));
    assert.ok(Math.abs(moment(4) - 3) < error * Math.sqrt(96));
    const beyondTwo = values.filter((value) => Math.abs(value) > 2).length / count;
    assert.ok(Math.abs(beyondTwo - 0.0455) < error * Math.sqrt(0.0455 * 0.9545));
  });

  it('refuses numbers that do not fit their counter word', () => {
    const out = new Float32Array(1);
    assert.throws(() => fillNormal(out, -1, 0, 0), RangeError);
    assert.throws(() => fillNormal(out, 2 ** 53, 0, 0), RangeError);
    assert.throws(() => fillNormal(out, 0, 0, 2 ** 32), RangeError);
    assert.throws(() => fillNormal(out, 0, 0, 0, 0.5), RangeError);
  });
});

describe('fillUniform', () => {
  it('lies in [0, 1) even in f32, evenly', () => {
    const values = new Float32Array(1 << 18);
    fillUniform(values, 3, PURPOSE.time, 0);
    const counts = new Float64Array(64);
    for (const value of values) {
      assert.ok(value >= 0 && value < 1);
      counts[Math.floor(value * 64)]++;
    }
    const expected = values.length / 64;
    const chiSquare = counts.reduce((sum, seen) => sum + (seen - expected) ** 2 / expected, 0);
    assert.ok(chiSquare < 120, `chi-square ${chiSquare} of 63 degrees of freedom`); // p < 2e-5
  });
});

describe('randomInteger and permutation', () => {
  it('draws integers evenly below the bound', () => {
    const counts = new Float64Array(10);
    for (let row = 0; row < 50_000; row++) counts[randomInteger(10, 1, PURPOSE.labels, row)]++;
    const chiSquare = counts.reduce((sum, seen) => sum + (seen - 5000) ** 2 / 5000, 0);
    assert.ok(chiSquare < 40, `chi-square ${chiSquare} of 9 degrees of freedom`); // p < 1e-5
    assert.throws(() => randomInteger(0, 1, 1, 1), RangeError);
  });

  it('skips the words that would favour small integers', () => {
    // Three quarters of 2^32 leaves a quarter of the words to skip: taken modulo, a third of them would come twice.
    const bound = 3 * 2 ** 30;
    let low = 0;
    for (let row = 0; row < 20_000; row++) if (randomInteger(bound, 1, PURPOSE.labels, row) < 2 ** 30) low++;
    assert.ok(Math.abs(low / 20_000 - 1 / 3) < 0.017, `${low} of 20000 in the lowest third`);
  });

  it('permutes, and differently at each epoch', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 300 }), fc.nat(), (n, seed) => {
        const order = permutation(n, seed, PURPOSE.shuffle, 0);
        assert.deepEqual(
          [...order].sort((a, b) => a - b),
          [...Array(n).keys()],
        );
        assert.deepEqual(permutation(n, seed, PURPOSE.shuffle, 0), order);
      }),
    );
    assert.notDeepEqual(permutation(100, 1, PURPOSE.shuffle, 0), permutation(100, 1, PURPOSE.shuffle, 1));
  });

  it('makes each of the 24 orders of four equally often', () => {
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < 24_000; epoch++) {
      const order = permutation(4, 9, PURPOSE.shuffle, epoch).join();
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    assert.equal(counts.size, 24);
    const chiSquare = [...counts.values()].reduce((sum, seen) => sum + (seen - 1000) ** 2 / 1000, 0);
    assert.ok(chiSquare < 68, `chi-square ${chiSquare} of 23 degrees of freedom`); // p < 3e-6
  });
});
