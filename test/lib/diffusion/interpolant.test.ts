import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interpolants, type PathName, scoreWeights } from '../../../src/lib/diffusion/interpolant.js';
import { drawTimes, drawTimesteps, lognormalTime } from '../../../src/lib/diffusion/time.js';
import { openSafetensors } from '../../../src/lib/formats/safetensors.js';
import { fixturePath } from '../../support.js';

const paths = Object.entries(interpolants) as [PathName, (typeof interpolants)[PathName]][];

test('every path runs from data to noise', () => {
  for (const [name, path] of paths) {
    assert.equal(path(0).alpha, 1, name);
    assert.equal(path(0).sigma, 0, name);
    assert.ok(path(1).alpha < 0.01, name);
    assert.ok(Math.abs(path(1).sigma - 1) < 1e-4, name);
  }
});

test('the derivatives are those of the coefficients', () => {
  const h = 1e-6;
  for (const [name, path] of paths) {
    for (const t of [0.1, 0.5, 0.9]) {
      const [before, at, after] = [path(t - h), path(t), path(t + h)];
      assert.ok(Math.abs((after.alpha - before.alpha) / (2 * h) - at.alphaPrime) < 1e-7, `${name} alpha' at ${t}`);
      assert.ok(Math.abs((after.sigma - before.sigma) / (2 * h) - at.sigmaPrime) < 1e-7, `${name} sigma' at ${t}`);
    }
  }
});

test('the score agrees with the official conversion from velocity', () => {
  const file = openSafetensors(fixturePath('samplers/io.safetensors'));
  const [v, x, t] = ['v', 'x', 't'].map((name) => file.read(`score.${name}`).data as Float64Array) as Float64Array[];
  const rowSize = x!.length / t!.length;
  for (const name of ['linear', 'cosine'] as const) {
    const expected = file.read(`score.${name}`).data as Float64Array;
    for (let i = 0; i < expected.length; i++) {
      const { onVelocity, onState } = scoreWeights(interpolants[name](t![Math.floor(i / rowSize)]));
      const score = onVelocity * v![i] + onState * x![i];
      assert.ok(Math.abs(score - expected[i]) <= 1e-12 * Math.abs(expected[i]), `${name} element ${i}`);
    }
  }
  file.close();
});

test('the score of Gaussian data is that of its Gaussian marginal', () => {
  for (const [name, path] of paths) {
    const [mean, deviation, t, x] = [0.7, 0.3, 0.6, -0.4];
    const { alpha, sigma, alphaPrime, sigmaPrime } = path(t);
    const variance = (alpha * deviation) ** 2 + sigma ** 2;
    const centred = x - alpha * mean;
    const velocity =
      alphaPrime * mean + ((alphaPrime * alpha * deviation ** 2 + sigmaPrime * sigma) / variance) * centred;
    const { onVelocity, onState } = scoreWeights(path(t));
    assert.ok(Math.abs(onVelocity * velocity + onState * x + centred / variance) < 1e-12, name);
  }
});

test('lognormal times give the path a lognormal noise-to-signal ratio', () => {
  for (const name of ['linear', 'cosine'] as const) {
    for (const normal of [-2.5, 0, 1.3]) {
      const { alpha, sigma } = interpolants[name](lognormalTime(normal, name));
      assert.ok(Math.abs(Math.log(sigma / alpha) - normal) < 1e-12, `${name} ${normal}`);
    }
  }
});

test('a time depends on its row of the global batch and on the step, not on the split', () => {
  for (const distribution of ['uniform', 'lognormal'] as const) {
    const draw = (step: number, firstRow: number, rows: number) =>
      drawTimes(distribution, 'cosine', { seed: 3, step, firstRow, rows });
    const whole = draw(5, 0, 8);
    assert.deepEqual(draw(5, 6, 2), whole.slice(6));
    assert.equal(new Set([...whole, ...draw(6, 0, 8)]).size, 16);
    assert.ok(whole.every((t) => t > 0 && t < 1));
  }
});

test('steps of DDPM are uniform over 0 to 999 and depend on their row, not on the split', () => {
  const draw = (firstRow: number, rows: number) => drawTimesteps({ seed: 3, step: 5, firstRow, rows });
  const steps = draw(0, 4000);
  assert.deepEqual(draw(3990, 10), steps.slice(3990));
  assert.ok(steps.every((step) => step >= 0 && step < 1000));
  const mean = steps.reduce((sum, step) => sum + step, 0) / steps.length;
  assert.ok(Math.abs(mean - 499.5) < 20, `${mean}`);
  assert.ok(new Set(steps).size > 950);
});
