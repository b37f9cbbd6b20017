import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flattened } from '../../../src/lib/runs/facts.js';
import { blockMeasures, curveOf, fieldsOf, placesOf, smoothed } from '../../../src/page/series.js';

const LINES = [
  { step: 10, epoch: 0, velocity_loss: 2, seconds: 0.5 },
  { step: 20, epoch: 0, velocity_loss: 1, seconds: 0.25 },
  { step: 20, evaluation: 'samples', FID: 30, count: 5000, sampler: { steps: 50 } },
];

test('fields are the numbers that change, not places nor the protocol of a measure', () => {
  assert.deepEqual(fieldsOf(LINES), ['velocity_loss', 'seconds', 'FID']);
});

test('a curve by step, by images and by seconds of computing', () => {
  const curve = (axis: 'step' | 'images' | 'seconds', field: string) =>
    curveOf(LINES, field, placesOf(LINES, axis, 32)!);
  assert.deepEqual(curve('step', 'velocity_loss'), { x: [10, 20], y: [2, 1] });
  assert.deepEqual(curve('images', 'FID'), { x: [640], y: [30] });
  // Ten steps of half a second, then ten of a quarter.
  assert.deepEqual(curve('seconds', 'velocity_loss'), { x: [5, 7.5], y: [2, 1] });
  assert.deepEqual(curve('seconds', 'FID'), { x: [7.5], y: [30] });
  assert.equal(placesOf(LINES, 'images', undefined), undefined);
});

test('smoothing has no bias at its start, and none of 0 changes nothing', () => {
  assert.deepEqual(smoothed([3, 5, 4], 0), [3, 5, 4]);
  assert.deepEqual(smoothed([2, 2, 2], 0.9), [2, 2, 2]);
  assert.deepEqual(smoothed([1, 4], 0.5), [1, (0.5 * 1 + 4) / 1.5]);
});

test('measures of hidden states are told by block and time', () => {
  const results = [
    { metric: 'cknna', column: 'hidden.b4.t0.5 ~ feats', value: 0.3 },
    { metric: 'linear', column: 'hidden.b2.t0.1', accuracy: 0.7 },
    { metric: 'FID', value: 3 },
  ];
  assert.deepEqual(blockMeasures(results), [
    { name: 'cknna with feats', block: 4, time: 0.5, value: 0.3 },
    { name: 'linear', block: 2, time: 0.1, value: 0.7 },
  ]);
});

test('settings have dotted names', () => {
  assert.deepEqual(flattened({ features: [{ rows: 3 }, { rows: 4, of: [] }], none: [] }), [
    ['features.0.rows', 3],
    ['features.1.rows', 4],
    ['features.1.of', []],
    ['none', []],
  ]);
  assert.deepEqual(flattened({ model: { depth: 2, widths: [1, 2] }, step: 3, note: null }), [
    ['model.depth', 2],
    ['model.widths', [1, 2]],
    ['step', 3],
    ['note', null],
  ]);
});
