import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillNormal, PURPOSE } from '../../../src/lib/numbers/random.js';
import { principalColours } from '../../../src/lib/plots/principal-colours.js';

const [ROWS, DIM] = [400, 12];

/** How alike two lists are, whatever their sign and scale. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (x: readonly number[]) => x.reduce((sum, value) => sum + value, 0) / x.length;
  const [am, bm] = [mean(a), mean(b)];
  const product = (x: readonly number[], xm: number, y: readonly number[], ym: number) =>
    x.reduce((sum, value, i) => sum + (value - xm) * (y[i] - ym), 0);
  return Math.abs(product(a, am, b, bm)) / Math.sqrt(product(a, am, a, am) * product(b, bm, b, bm));
}

test('colours are the places along the directions in which rows vary most', () => {
  const noise = new Float32Array(ROWS * DIM);
  fillNormal(noise, 0, PURPOSE.noise, 0);
  const hidden = [9, 4, 2].map((size, c) =>
    Array.from({ length: ROWS }, (_, i) => size * Math.sin(i * (0.7 + c * 1.3))),
  );
  // Three directions of the space in turn, and a little noise in all.
  const rows = noise.map((value, i) => {
    const [row, d] = [Math.floor(i / DIM), i % DIM];
    return 0.05 * value + 5 + (d < 3 ? hidden[d][row] : 0);
  });
  const colours = principalColours(rows, DIM);
  for (const [c, along] of hidden.entries()) {
    const shown = Array.from({ length: ROWS }, (_, i) => colours[3 * i + c]);
    assert.ok(correlation(shown, along) > 0.99, `component ${c}: ${correlation(shown, along)}`);
    assert.deepEqual([Math.min(...shown), Math.max(...shown)], [0, 255]);
  }
});

test('rows of fewer directions than colours leave the others dark', () => {
  const rows = Float32Array.from({ length: 10 * 4 }, (_, i) => (i % 4 === 1 ? Math.floor(i / 4) : 3));
  const colours = principalColours(rows, 4);
  for (let i = 0; i < 10; i++) assert.deepEqual([colours[3 * i + 1], colours[3 * i + 2]], [0, 0]);
  assert.notEqual(colours[0], colours[27]);
});
