/** Averages along powers of the time, and their mixtures, against the published code and against integrals. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import {
  decayAt,
  exponentOf,
  type Profile,
  parseAverage,
  powerAverage,
  profileProduct,
} from '../../../src/lib/optim/average.js';
import { ParameterStore } from '../../../src/lib/optim/index.js';
import { misfitOf, mixtureOf } from '../../../src/lib/training/post-hoc.js';
import { fixturePath } from '../../support.js';
import { assertClose, largestMagnitude } from '../../tensors.js';

interface Published {
  exponents: [sigma: number, exponent: number][];
  decays: [sigma: number, time: number, passed: number, decay: number][];
  mixtures: { times: number[]; sigmas: number[]; wanted: number[]; coefficients: number[][] }[];
  tracked: { batch: number; weights: number[][]; averages: number[][] };
}
const published: Published = JSON.parse(readFileSync(fixturePath('published/post-hoc-ema.json'), 'utf8'));

const close = (actual: number, expected: number, relative: number): void =>
  assert.ok(Math.abs(actual - expected) <= relative * Math.abs(expected), `${actual}, expected ${expected}`);

describe('averages along a power of the time', () => {
  before(() => selectBackend());

  test('exponents and decays are those of the published code', () => {
    for (const [sigma, exponent] of published.exponents) close(exponentOf(sigma), exponent, 1e-12);
    for (const [sigma, time, passed, decay] of published.decays) {
      close(decayAt(powerAverage(sigma), time / passed), decay, 1e-12);
    }
  });

  test('an exponent gives the width that it is of', () => {
    for (const sigma of [0.001, 0.02, 0.1, 0.2, 0.288]) {
      const g = exponentOf(sigma);
      close(Math.sqrt((g + 1) / ((g + 2) ** 2 * (g + 3))), sigma, 1e-12);
    }
  });

  test('the store tracks what the published code tracks', () => {
    const { weights, averages } = published.tracked;
    const store = new ParameterStore([{ name: 'w', shape: [3] }], { averages: 2 });
    const [w] = store.parameters;
    for (const [i, values] of weights.entries()) {
      store.fetch(); // a device has newer averages than what is written again
      w.value.set(values);
      store.refresh();
      const emaDecays = [0.05, 0.1].map((sigma) => decayAt(powerAverage(sigma), i + 1));
      const still = { lr: 0, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0 };
      store.step({ ...still, step: i + 1, clip: null, emaDecays });
    }
    averages.forEach((expected, i) => {
      assertClose(w.averages[i], expected, 2e-7 * largestMagnitude(expected), `average ${i}`);
    });
    store.dispose();
  });

  test('inner products of profiles are integrals', () => {
    const pairs: [Profile, Profile][] = [
      [
        { time: 3, sigma: 0.05 },
        { time: 4, sigma: 0.1 },
      ],
      [
        { time: 4, sigma: 0.2 },
        { time: 3.5, sigma: 0.05 },
      ],
      [
        { time: 2, sigma: 0.1 },
        { time: 2, sigma: 0.1 },
      ],
    ];
    const at = ({ time, sigma }: Profile, t: number): number => {
      const g = exponentOf(sigma);
      return ((g + 1) * (t / time) ** g) / time;
    };
    for (const [a, b] of pairs) {
      const [end, count] = [Math.min(a.time, b.time), 20_000];
      let sum = 0; // Simpson's rule
      for (let i = 0; i <= count; i++) {
        const weight = i === 0 || i === count ? 1 : i % 2 ? 4 : 2;
        sum += weight * at(a, (i * end) / count) * at(b, (i * end) / count);
      }
      close(profileProduct(a, b), (sum * end) / count / 3, 1e-10);
    }
  });

  test('mixtures are those of the published code', () => {
    for (const { times, sigmas, wanted, coefficients } of published.mixtures) {
      const kept = times.flatMap((time) => sigmas.map((sigma) => ({ time, sigma })));
      wanted.forEach((sigma, i) => {
        const shares = mixtureOf(kept, { time: times.at(-1)!, sigma });
        assertClose(shares, coefficients[i], 1e-9 * largestMagnitude(coefficients[i]), `${times}, ${sigma}`);
      });
    }
  });

  test('a mixture of more averages is nearer, and of one that was kept it is that one', () => {
    const kept = (count: number): Profile[] =>
      Array.from({ length: count }, (_, i) => (i + 1) / count).flatMap((time) =>
        [0.05, 0.1].map((sigma) => ({ time, sigma })),
      );
    const misfit = (count: number, sigma: number): number =>
      misfitOf(kept(count), mixtureOf(kept(count), { time: 1, sigma }), { time: 1, sigma });
    assert.ok(misfit(4, 0.1) < 1e-6);
    for (const sigma of [0.07, 0.12, 0.15]) {
      const misfits = [1, 4, 16].map((count) => misfit(count, sigma));
      assert.ok(misfits[0] > misfits[1] && misfits[1] > 2 * misfits[2] && misfits[2] < 0.02, `${misfits}`);
    }
  });

  test('an average is told in words, and nothing else is', () => {
    assert.equal(parseAverage('0.9999'), 0.9999);
    assert.equal(parseAverage('sigma:.05'), 'sigma:0.05');
    for (const text of ['', ' ', 'sigma:', 'sigma:0', 'sigma:0.3', 'sigma:x', '1', '1.5', '-1', 'NaN', 'power:0.1']) {
      assert.throws(() => parseAverage(text), /a decay of at least 0 and below 1, or sigma:/, text);
    }
  });
});
