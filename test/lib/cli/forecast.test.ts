/** What progress says of the time ahead: once, of the second batch, as the first compiles. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Progress } from '../../../src/lib/cli/progress.js';

function linesOf(work: (progress: Progress, pass: (seconds: number) => void) => void, quiet = false): string[] {
  let now = 0;
  const lines: string[] = [];
  const clock = mock.method(performance, 'now', () => now);
  const written = mock.method(process.stderr, 'write', (text: string) => lines.push(text) > 0);
  try {
    work(new Progress('sample', { unit: 'images', total: 1000, batch: 8, quiet }), (seconds) => {
      now += seconds * 1000;
    });
  } finally {
    clock.mock.restore();
    written.mock.restore();
  }
  return lines.filter((line) => line.includes('about'));
}

test('what is left is forecast of the second batch, and parts that were there before count for nothing', () => {
  const work = (progress: Progress, pass: (seconds: number) => void): void => {
    progress.skip(500);
    for (let image = 0; image < 32; image++) {
      pass(image < 8 ? 3 : 0.5);
      progress.advance();
    }
  };
  const lines = linesOf(work);
  assert.equal(lines.length, 1);
  assert.match(lines[0], /^about 4:02 for the 484 images that are left, at 2\.00 a second; .* of memory so far\n$/);
  assert.deepEqual(linesOf(work, true), []);
});

test('what is soon done is not forecast', () => {
  const lines = linesOf((progress, pass) => {
    for (let image = 0; image < 32; image++) {
      pass(0.01);
      progress.advance();
    }
  });
  assert.deepEqual(lines, []);
});
