/** Factors of terms over the steps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkTerms, factorAt, factorDraws, parseTermSchedule } from '../../../src/lib/training/term-schedule.js';

const at = (text: string, ...steps: number[]): number[] => steps.map((step) => factorAt(parseTermSchedule(text), step));

test('a term grows, falls and ends', () => {
  assert.deepEqual(at('projection:warmup:4', 1, 2, 4, 5), [0.25, 0.5, 1, 1]);
  assert.deepEqual(at('projection:until:3', 1, 3, 4), [1, 1, 0]);
  const cosine = at('projection:cosine:2-6', 1, 2, 4, 6, 9);
  assert.deepEqual(
    cosine.map((factor) => Number(factor.toFixed(12))),
    [1, 1, 0.5, 0, 0],
  );
});

test('factors of one term multiply, and are the same for each image', () => {
  const schedules = ['projection:warmup:4', 'projection:until:2', 'velocity:until:9'].map(parseTermSchedule);
  const draws = factorDraws(schedules);
  assert.deepEqual([...draws.keys()], ['projection', 'velocity']);
  const values = (step: number) => [...draws.get('projection')!.values({ rows: 2, step } as never)];
  assert.deepEqual([0, 1, 2].map(values), [
    [0.25, 0.25],
    [0.5, 0.5],
    [0, 0],
  ]);
});

test('anything else is refused', () => {
  for (const text of [
    '',
    'projection',
    'projection:warmup',
    'projection:warmup:0',
    'projection:cosine:5',
    'projection:until:1-2',
  ]) {
    assert.throws(() => parseTermSchedule(text), /such as projection|at least 1/, text);
  }
  assert.throws(() => parseTermSchedule('projection:cosine:5-5'), /ends before it begins/);
});

test('a schedule is of a term that the loss has; the sum is none', () => {
  const terms = ['velocity', 'projection'];
  checkTerms([parseTermSchedule('projection:warmup:3')], terms);
  assert.throws(
    () => checkTerms([parseTermSchedule('total:warmup:3')], terms),
    /total: the loss has no such term, but velocity, projection/,
  );
});
