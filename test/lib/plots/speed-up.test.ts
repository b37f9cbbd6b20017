import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bands, curvesOf, type Point, smooth } from '../../../src/lib/plots/run-points.js';
import { reaches, speedUps } from '../../../src/lib/plots/speed-up.js';

const curve = (run: string, field: string, values: number[]): Point[] =>
  values.map((value, i) => ({ run, field, x: 100 * (i + 1), value }));

test('a level is reached on the line between the points around it', () => {
  const falling = curve('a', 'FD', [8, 4, 2]);
  assert.equal(reaches(falling, 3, true), 250);
  assert.equal(reaches(falling, 4, true), 200);
  assert.equal(reaches(falling, 9, true), 100);
  assert.equal(reaches(falling, 1, true), undefined);
  assert.equal(reaches(curve('a', 'accuracy', [0.2, 0.4]), 0.3, false), 150);
});

test('runs are compared with the last value of another, in the direction that took', () => {
  const points = [
    ...curve('plain', 'FD', [9, 6, 4]),
    ...curve('repa', 'FD', [8, 4, 3]),
    ...curve('late', 'FD', [9, 8, 7]),
    ...curve('plain', 'cknna', [0.1, 0.2, 0.3]),
    ...curve('repa', 'cknna', [0.4, 0.5, 0.6]),
  ];
  const found = speedUps(curvesOf(points), 'plain');
  assert.deepEqual(
    found.map(({ field, run, x, factor }) => [field, run, x, factor]),
    [
      ['FD', 'repa', 200, 1.5],
      ['FD', 'late', undefined, undefined],
      ['cknna', 'repa', 100, 3],
    ],
  );
});

test('runs that differ in the number at their end are one band, where all of them were measured', () => {
  const points = [
    ...curve('repa-seed1', 'FD', [8, 4]),
    ...curve('repa-seed2', 'FD', [6, 2, 1]),
    ...curve('plain', 'FD', [9]),
  ];
  assert.deepEqual(bands(points), [
    { run: 'repa', field: 'FD', x: 100, value: 7, low: 6, high: 8, runs: 2 },
    { run: 'repa', field: 'FD', x: 200, value: 3, low: 2, high: 4, runs: 2 },
    { run: 'plain', field: 'FD', x: 100, value: 9, low: 9, high: 9, runs: 1 },
  ]);
});

test('smoothing averages each curve by itself', () => {
  const points = [...curve('a', 'loss', [1, 2, 6]), ...curve('b', 'loss', [10, 20])];
  assert.deepEqual(
    smooth(points, 3).map(({ value }) => value),
    [1.5, 3, 4, 15, 15],
  );
});
