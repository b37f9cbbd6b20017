/** Which image each is to be far from. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Draw, PlacedBatch } from '../../../src/lib/diffusion/draws.js';
import { deltaFM } from '../../../src/lib/repa/delta-fm.js';

const NULL_CLASS = 4;
const batchOf = (rows: number, step = 0): PlacedBatch => ({
  ...{ rows, step, seed: 7, position: 8 },
  ...{ latents: new Float32Array(), labels: new Int32Array(rows), features: [] },
});
/** Draws of a batch whose classes, after label dropout, are these. */
function drawn(from: string, labelled: boolean, classes: readonly number[], step = 0): Record<string, number[]> {
  const y: Draw = { shape: [], dtype: 'int32', values: () => Int32Array.from(classes) };
  const surroundings = { model: { numClasses: NULL_CLASS }, y } as never;
  const all = deltaFM.draws!({ weight: 1, from, labelled } as never, surroundings);
  const batch = batchOf(classes.length, step);
  return Object.fromEntries(Object.entries(all).map(([name, { values }]) => [name, Array.from(values(batch), Number)]));
}

test('any other image is drawn, each as often as another, and never the image itself', () => {
  const counts = Array.from({ length: 4 }, () => new Array(4).fill(0));
  for (let step = 0; step < 600; step++) {
    const { other, share } = drawn('random', false, [0, 0, 0, 0], step);
    assert.equal(share, undefined);
    other.forEach((chosen, row) => {
      counts[row][chosen]++;
    });
  }
  counts.forEach((row, i) => {
    row.forEach((count, j) => {
      assert.ok(i === j ? count === 0 : Math.abs(count - 200) < 60, `${i} drew ${j} ${count} times`);
    });
  });
});

test('of another class where there is one', () => {
  const classes = [1, 1, 2, NULL_CLASS];
  for (let step = 0; step < 50; step++) {
    drawn('other-class', false, classes, step).other.forEach((chosen, row) => {
      assert.notEqual(classes[chosen], classes[row]);
    });
    for (const [row, chosen] of drawn('other-class', false, [3, 3, 3], step).other.entries())
      assert.notEqual(chosen, row);
  }
});

test('images without a label count nothing, the others more', () => {
  assert.deepEqual(drawn('next', true, [0, NULL_CLASS, 2, 2]), {
    other: [1, 2, 3, 0],
    share: [4 / 3, 0, 4 / 3, 4 / 3].map(Math.fround),
  });
  assert.deepEqual(drawn('next', true, [NULL_CLASS, NULL_CLASS]).share, [0, 0]);
  assert.deepEqual(drawn('next', false, [0, 1]), {});
});
