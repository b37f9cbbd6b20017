import assert from 'node:assert/strict';
import { test } from 'node:test';
import { terminalPlot } from '../../../src/lib/cli/terminal-plot.js';

const plain = (text: string): string => text;

test('a falling line goes from the upper left to the lower right, with its numbers at the axes', () => {
  const plot = terminalPlot([{ x: [0, 100], y: [4, 1], paint: plain }], 31, 6);
  const lines = plot.split('\n');
  assert.equal(lines.length, 4 + 2 + 1);
  assert.match(lines[0], /^ {8}4 │[⠀-⣿]+$/);
  assert.match(lines[3], /^ {8}1 │ +[⠀-⣿]+$/);
  assert.match(lines[5], /^ {11}0 +100$/);
  assert.ok(lines.every((line) => line.length <= 31));
});

test('curves are painted apart, gaps are not bridged, and nothing is drawn of nothing', () => {
  const plot = terminalPlot(
    [
      { x: [0, 1, 2], y: [1, Number.NaN, 1], paint: (text) => `a${text}` },
      { x: [0, 2], y: [0, 0], paint: (text) => `b${text}` },
    ],
    40,
    8,
  );
  const [top] = plot.split('\n');
  assert.equal(top.match(/a/g)?.length, 2);
  assert.match(plot, /b/);
  assert.equal(terminalPlot([{ x: [], y: [], paint: plain }], 40, 8), '');
});
