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
