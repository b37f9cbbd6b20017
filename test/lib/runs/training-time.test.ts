import assert from 'node:assert/strict';
import { test } from 'node:test';
import { trainingTime } from '../../../src/lib/runs/training-time.js';

test('seconds of training stand for the steps between lines, and none for what was measured', () => {
  const secondsAt = trainingTime([
    { step: 10, seconds: 0.5 },
    { step: 15, evaluation: 'samples', seconds: 1000 },
    { step: 20, seconds: 0.25 },
    { step: 20, evaluation: 'samples', seconds: 1000 },
  ]);
  assert.deepEqual([0, 4, 10, 15, 20, 30].map(secondsAt), [0, 2, 5, 6.25, 7.5, 7.5]);
});

test('a log that begins anew at an earlier step loses no time', () => {
  const secondsAt = trainingTime([
    { step: 10, seconds: 1 },
    { step: 8, seconds: 1 },
    { step: 20, seconds: 1 },
  ]);
  assert.equal(secondsAt(20), 22);
});
