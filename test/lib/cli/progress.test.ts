import assert from 'node:assert/strict';
import { test } from 'node:test';
import { progressLine } from '../../../src/lib/cli/progress.js';

const facts = ['1200/400000 steps', '2.3/s', '48:12:03 left'];
// biome-ignore lint/suspicious/noControlCharactersInRegex: colours, which take no room
const visible = (line: string): string => line.replace(/\u001b\[[0-9;]*m/g, '');

test('a line of progress fits the terminal, and leaves out what matters least', () => {
  const shown = { label: 'train', facts, note: 'loss 0.7312' };
  const at = (width: number) => visible(progressLine({ ...shown, fraction: 0.5 }, width));
  for (let width = 10; width <= 120; width++) assert.ok(at(width).length <= width, `${width}: ${at(width)}`);
  const words = facts.join('  ');
  assert.equal(at(119), `train  ${'━'.repeat(12)}${'─'.repeat(12)}  ${words}  loss 0.7312`);
  assert.equal(at(75), `train  ${'━'.repeat(7)}${'─'.repeat(7)}  ${words}  loss 0.7312`);
  assert.equal(at(59), `train  ${words}  loss 0.7312`);
  assert.equal(at(50), `train  ${words}`);
  assert.equal(
    progressLine({ ...shown, fraction: undefined }, Number.POSITIVE_INFINITY),
    `train  ${words}  loss 0.7312`,
  );
});

test('a note cannot leave its line', () => {
  const line = progressLine({ label: 'x\r', facts: [], note: '\u001b[1A\nb', fraction: undefined }, 80);
  assert.equal(line, 'x\\u000d  \\u001b[1A b');
});
