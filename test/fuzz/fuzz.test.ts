import assert from 'node:assert/strict';
import { test } from 'node:test';
import { campaign } from './campaign.js';

test('changed files of every format are refused, or read to what they held where checksums tell', async () => {
  let formats = 0;
  for await (const { format, inputs, refused, faults } of campaign(40, 1)) {
    assert.deepEqual(faults, []);
    assert.ok(refused > inputs / 8, `${format}: ${refused} of ${inputs} refused`);
    formats++;
  }
  assert.equal(formats, 18);
});

/**
 * Each was a fault: a chunk of Parquet that nobody asked for, batches without end and of nothing, labels that are
 * objects.
 */
const MENDED: readonly [seed: number, format: string][] = [
  [1990, 'parquet'],
  [5781, 'parquet'],
  [637, 'parquet'],
  [1071, 'onnx'],
  [1707, 'onnx'],
  [128, 'metadata.jsonl'],
  [262, 'log.ndjson'],
];

test('what was a fault once is none any more', async () => {
  for (const [seed, format] of MENDED) {
    for await (const { faults } of campaign(1, seed, [format])) assert.deepEqual(faults, []);
  }
});
