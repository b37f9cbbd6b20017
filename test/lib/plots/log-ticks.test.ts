import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logTicks } from '../../../src/lib/plots/log-ticks.js';

test('a logarithmic axis is labelled at powers, at 1, 2 and 5, or evenly, as its range asks', () => {
  assert.deepEqual(logTicks(0.5, 1.1), [0.6, 0.8, 1]);
  assert.deepEqual(logTicks(26.1, 28.6), [26.5, 27, 27.5, 28, 28.5]);
  assert.deepEqual(logTicks(66, 233), [100, 150, 200]);
  assert.deepEqual(logTicks(0.7, 12), [1, 2, 5, 10]);
  assert.deepEqual(logTicks(3, 800), [5, 10, 20, 50, 100, 200, 500]);
  assert.deepEqual(logTicks(1e-4, 1), [1e-4, 1e-3, 0.01, 0.1, 1]);
  assert.deepEqual(logTicks(7, 7), [7]);
  assert.deepEqual(logTicks(0, 7), []);
});

test('any range has labels within it, neither too few nor too many', () => {
  for (let exponent = -12; exponent < 12; exponent += 0.37) {
    for (let width = 0.01; width < 20; width *= 1.3) {
      const [low, high] = [10 ** exponent, 10 ** (exponent + width)];
      const ticks = logTicks(low, high);
      assert.ok(ticks.length >= 2 && ticks.length <= 10, `${low} to ${high}: ${ticks}`);
      assert.ok(
        ticks.every((tick, i) => tick >= low && tick <= high && (i === 0 || tick > ticks[i - 1])),
        `${low} to ${high}: ${ticks}`,
      );
    }
  }
});
