import assert from 'node:assert/strict';
import { test } from 'node:test';
import { campaign } from './campaign.js';

test('changed files of every format are refused, or read to what they held where checksums tell', async () => {
  let formats = 0;
  for await (const { format, inputs, refused, faults } of campaign(60, 1)) {
    assert.deepEqual(faults, []);
    assert.ok(refused > inputs / 4, `${format}: ${refused} of ${inputs} refused`);
    formats++;
  }
  assert.equal(formats, 8);
});
