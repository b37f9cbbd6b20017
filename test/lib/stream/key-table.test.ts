import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hashKeys, KeyTable } from '../../../src/lib/stream/key-table.js';

const COUNT = 200_000;
const imagenet = (i: number): string => `n${String(1440764 + (i % 1000)).padStart(8, '0')}/${i}.JPEG`;
const keys = Array.from({ length: COUNT }, (_, i) => imagenet(i));

describe('rows by their keys', () => {
  test('are found by equal keys, and by no others', () => {
    const table = new KeyTable(hashKeys(keys));
    assert.equal(table.duplicate, undefined);
    const shuffled = keys.map((_, i) => (i * 7919) % COUNT);
    const wanted = hashKeys(shuffled.map((i) => keys[i]));
    assert.ok(shuffled.every((row, i) => table.find(wanted, i) === row));
    const strangers = hashKeys(keys.map((key) => `${key}x`));
    assert.ok(keys.every((_, i) => table.find(strangers, i) === undefined));
  });

  test('of no rows are never found', () => {
    assert.equal(new KeyTable(new Float64Array(0)).find(hashKeys(['']), 0), undefined);
  });

  test('tell the first key that comes again', () => {
    const { duplicate } = new KeyTable(hashKeys(['a', 'b', 'c', 'b', 'a']));
    assert.deepEqual(duplicate, { first: 1, second: 3 });
  });
});

test('each half of a hash tells keys apart that differ in one character, and uses all its bits', () => {
  const near = ['', '\0', '\0\0', 'a', 'A', 'ab', 'ba', 'é', 'e\u0301', '\ud83d\ude00', '\ud83d\ude01'];
  for (let i = 0; i < 3000; i++) near.push(`image-${i}.png`, `${i}`, `imag${String.fromCharCode(i + 128)}`);
  const hashes = hashKeys([...new Set(near)]);
  for (const half of [0, 1]) {
    const words = Array.from(hashes.filter((_, i) => i % 2 === half));
    assert.equal(new Set(words).size, words.length);
    assert.ok(words.every((word) => Number.isSafeInteger(word) && word >= 0));
    for (let bit = 0; bit < 53; bit++) {
      const share = words.filter((word) => Math.floor(word / 2 ** bit) % 2 === 1).length / words.length;
      assert.ok(Math.abs(share - 0.5) < 0.03, `bit ${bit} is set in ${share} of the keys`);
    }
  }
});
