import assert from 'node:assert/strict';
import { test } from 'node:test';
import { autoguidance } from '../../../src/lib/diffusion/autoguidance.js';
import { classifierFreeGuidance, type Predictor } from '../../../src/lib/diffusion/guidance.js';
import { interpolants, type PathName } from '../../../src/lib/diffusion/interpolant.js';
import type { DiffusionForm } from '../../../src/lib/diffusion/samplers/diffusion-form.js';
import { sampleDopri5 } from '../../../src/lib/diffusion/samplers/dopri5.js';
import { sampleOde } from '../../../src/lib/diffusion/samplers/ode.js';
import { sampleSde } from '../../../src/lib/diffusion/samplers/sde.js';
import { evenlySpaced, shiftedTimes } from '../../../src/lib/diffusion/samplers/time-grid.js';
import { DataError } from '../../../src/lib/errors.js';
import { openSafetensors } from '../../../src/lib/formats/safetensors.js';
import { fillNormal, PURPOSE } from '../../../src/lib/numbers/random.js';
import { fixturePath } from '../../support.js';

const MEAN = 0.7;
const DEVIATION = 0.3;

/** The exact velocity when the data are N(0.7, 0.3^2): the probability flow then maps noise z to 0.7 + 0.3 z. */
const gaussianVelocity =
  (path: PathName): Predictor =>
  (x, t) => {
    const { alpha, sigma, alphaPrime, sigmaPrime } = interpolants[path](t);
    const slope = (alphaPrime * alpha * DEVIATION ** 2 + sigmaPrime * sigma) / ((alpha * DEVIATION) ** 2 + sigma ** 2);
    return Float64Array.from(x, (value) => alphaPrime * MEAN + slope * (value - alpha * MEAN));
  };

/** One time for the whole batch, which dopri5 then steps as one image. */
const together =
  (predict: Predictor): Predictor<Float64Array> =>
  (x, t, stepTime) =>
    predict(x, t[0], stepTime[0]);

const noise = Float64Array.of(-1.5, -0.2, 0.4, 2);
const target = noise.map((z) => MEAN + DEVIATION * z);
const largestError = (x: Float64Array): number => Math.max(...x.map((value, i) => Math.abs(value - target[i])));

test('the time grids are the official ones', () => {
  const file = openSafetensors(fixturePath('samplers/io.safetensors'));
  const grids: [string, Float64Array][] = [
    ['t_steps_ode_10', evenlySpaced(1, 0, 11)],
    ['t_steps_sde_10', Float64Array.of(...evenlySpaced(1, 0.04, 10), 0)],
    ['t_steps_sde_250', Float64Array.of(...evenlySpaced(1, 0.04, 250), 0)],
  ];
  for (const [name, grid] of grids) {
    const expected = file.read(name).data as Float64Array;
    assert.equal(grid.length, expected.length);
    // Not to the last bit: PyTorch's own CPU and GPU codes differ there.
    for (const [i, t] of grid.entries()) assert.ok(Math.abs(t - expected[i]) <= 2 ** -53, `${name}[${i}]`);
  }
  file.close();
  assert.equal(evenlySpaced(1, 0, 11)[3], 0.7, 'the end of the usual guidance interval is hit exactly');
});

test('shifted times keep their ends and lie closer to the noise', () => {
  for (const end of [0, 0.04]) {
    assert.deepEqual(shiftedTimes(end, 11, 1), evenlySpaced(1, end, 11));
    const [near, far] = [shiftedTimes(end, 11, 3), shiftedTimes(end, 11, 0.3)];
    for (const times of [near, far]) {
      assert.deepEqual([times[0], times[10]], [1, end]);
      assert.ok(times.every((t, i) => i === 0 || t < times[i - 1]));
    }
    const even = evenlySpaced(1, end, 11);
    assert.ok(even.every((t, i) => i === 0 || i === 10 || (near[i] > t && far[i] < t)));
  }
  // Equation 23 with sqrt(m / n) = 3: the middle of [0, 1] moves to 3/4.
  assert.ok(Math.abs(shiftedTimes(0, 3, 3)[1] - 0.75) < 1e-15);
});

test('shifted steps converge to the same samples', async () => {
  for (const timeShift of [0.5, 3]) {
    const error = async (steps: number) =>
      largestError(await sampleOde(gaussianVelocity('linear'), noise, { solver: 'euler', steps, timeShift }));
    const ratio = (await error(80)) / (await error(160));
    assert.ok(
      Math.abs(Math.log2(ratio) - 1) < 0.2,
      `shift ${timeShift}: halving the steps divides the error by ${ratio}`,
    );
  }
});

test('Euler converges with order 1, Heun with order 2', async () => {
  for (const [solver, order] of [
    ['euler', 1],
    ['heun', 2],
  ] as const) {
    const error = async (steps: number) =>
      largestError(await sampleOde(gaussianVelocity('linear'), noise, { solver, steps }));
    const ratio = (await error(40)) / (await error(80));
    // Heun's last step is an Euler step, but its error is of second order in the step's length.
    assert.ok(Math.abs(Math.log2(ratio) - order) < 0.2, `${solver}: halving the step divides the error by ${ratio}`);
  }
});

test('dopri5 reaches its tolerance with few evaluations on every path', async () => {
  for (const path of ['linear', 'cosine', 'vp'] as const) {
    let evaluations = 0;
    const counted: Predictor = (x, t, stepTime) => {
      evaluations++;
      return gaussianVelocity(path)(x, t, stepTime);
    };
    const endTime = path === 'vp' ? 1e-3 : 0;
    const x = await sampleDopri5(together(counted), noise, 1, { endTime });
    assert.ok(largestError(x) < (path === 'vp' ? 1e-2 : 3e-3), `${path}: ${largestError(x)}`);
    assert.ok(evaluations < 150, `${path}: ${evaluations} evaluations`);
    const finer = await sampleDopri5(together(counted), noise, 1, {
      endTime,
      absoluteTolerance: 1e-7,
      relativeTolerance: 1e-5,
    });
    if (path !== 'vp') assert.ok(largestError(finer) < 1e-4, `${path}: ${largestError(finer)}`);
  }
});

test('dopri5 steps each image by its own error: its samples are the same bits alone and among others', async () => {
  const rows = 5;
  const size = 3;
  const start = new Float32Array(rows * size);
  fillNormal(start, 3, PURPOSE.sdeNoise, 0);
  let calls = 0;
  /** A velocity that is stiffer in later rows, and guided in the middle of the way. */
  const stiff =
    (first: number): Predictor<Float64Array> =>
    (x, t, stepTime) => {
      calls++;
      return Float64Array.from(x, (value, i) => {
        const row = Math.floor(i / size);
        const guided = stepTime[row] > 0.3 && stepTime[row] < 0.7 ? 1.5 : 1;
        return guided * (value * Math.cos((1 + 3 * (first + row)) * t[row]) + t[row]);
      });
    };
  const whole = await sampleDopri5(stiff(0), start, rows);
  const callsTogether = calls;
  calls = 0;
  const most: number[] = [];
  for (let row = 0; row < rows; row++) {
    const before = calls;
    const own = start.subarray(row * size, (row + 1) * size);
    const alone = await sampleDopri5(stiff(row), own, 1);
    assert.deepEqual(alone, whole.slice(row * size, (row + 1) * size), `row ${row}`);
    most.push(calls - before);
  }
  assert.ok(new Set(most).size > 1, 'the rows take different numbers of steps');
  assert.equal(callsTogether, Math.max(...most), 'a batch takes as many calls as its slowest image');
});

test('what f32 rounds otherwise in another batch moves the samples of dopri5 by little of its tolerance', async () => {
  const start = new Float32Array(48);
  fillNormal(start, 5, PURPOSE.sdeNoise, 0);
  /** A velocity whose last bits are chance. */
  const rounded = (seed: number): Predictor<Float64Array> => {
    let call = 0;
    return (x, t) => {
      const chance = new Float32Array(x.length);
      fillNormal(chance, seed, PURPOSE.sdeNoise, 0, call++);
      return Float64Array.from(x, (value, i) => (Math.cos(3 * t[0] + i) * value + 1) * (1 + 2 ** -24 * chance[i]));
    };
  };
  const spread = async (boundByRounding: boolean): Promise<number> => {
    const [first, ...others] = await Promise.all(
      [1, 2, 3, 4, 5, 6].map((seed) => sampleDopri5(rounded(seed), start, 1, { boundByRounding })),
    );
    return Math.max(...others.flatMap((other) => [...other].map((value, i) => Math.abs(value - first[i]))));
  };
  const [bound, free] = [await spread(true), await spread(false)];
  assert.ok(bound < 2e-5 && bound < free / 5, `${bound}, and ${free} where rounding decides the steps`);
});

test('guidance in an interval is that of each row with its own time', async () => {
  const batch = { labels: Int32Array.of(3, 5, 7), channelSize: 1 };
  const network = (_x: Float32Array, t: Float64Array, labels: Int32Array) =>
    Float64Array.from(labels, (label, row) => label + 10 * t[row]);
  const options = { scale: 2, low: 0.2, high: 0.8 };
  const predict = classifierFreeGuidance(network, batch, 0, options);
  const times = Float64Array.of(0.1, 0.5, 0.9);
  const x = new Float32Array(3);
  assert.deepEqual(await predict(x, times, times), Float64Array.of(4, 2 * 10 - 5, 16));
  const weak = (_x: Float32Array, t: Float64Array) => new Float64Array(t.length).fill(1);
  const guided = autoguidance(network, weak, batch, options);
  assert.deepEqual(await guided(x, times, Float64Array.of(Number.NaN, 0.5, 0.5)), Float64Array.of(4, 19, 31));
});

test('dopri5 stops with an error when the network gives NaN', async () => {
  const broken: Predictor = (x, t) => x.map((value) => (t < 0.5 ? Number.NaN : value));
  await assert.rejects(async () => sampleDopri5(together(broken), noise, 1), DataError);
});

test('every diffusion coefficient samples the data distribution', async () => {
  const rows = 4000;
  const normals = (row: number, step: number) => {
    const out = new Float64Array(1);
    fillNormal(out, 1, PURPOSE.sdeNoise, row, step);
    return out[0];
  };
  const latents = Float64Array.from({ length: rows }, (_, row) => normals(row, 1000));
  const cases: [path: PathName, diffusion: DiffusionForm, norm?: number][] = [
    ['linear', 'linear'],
    ['linear', 'linear', 0.3],
    ['linear', 'constant', 0.1],
    ['cosine', 'constant', 0.1],
    ['linear', 'decreasing', 0.5],
    ['linear', 'sigma'],
    ['cosine', 'sigma'],
    ['linear', 'decreasing'],
    ['cosine', 'increasing-decreasing'],
    ['vp', 'sbdm'],
  ];
  for (const [path, diffusion, diffusionNorm] of cases) {
    const x = await sampleSde(gaussianVelocity(path), latents, rows, {
      path,
      diffusion,
      diffusionNorm,
      steps: 100,
      noise: (out, row, step) => out.fill(normals(row, step)),
    });
    const mean = x.reduce((sum, value) => sum + value, 0) / rows;
    const deviation = Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (rows - 1));
    assert.ok(Math.abs(mean - MEAN) < 0.03, `${path} ${diffusion}: mean ${mean}`);
    // The last step is long for `vp`: at t = 0.04 it still holds noise of deviation 0.14.
    assert.ok(
      Math.abs(deviation - DEVIATION) < (path === 'vp' ? 0.08 : 0.03),
      `${path} ${diffusion}: deviation ${deviation}`,
    );
  }
});

test('without a last step, the noisy steps reach the end, as in the original SiT', async () => {
  const [w, steps] = [0.6, 5];
  const velocity = gaussianVelocity('linear');
  const step = (i: number) => Math.cos(3 * i + 1);
  const sampled = await sampleSde(velocity, noise, noise.length, {
    path: 'linear',
    diffusion: 'constant',
    diffusionNorm: w / 2,
    lastStep: 'none',
    steps,
    noise: (out, _row, i) => out.fill(step(i)),
  });
  let x: Float64Array = noise.slice();
  for (let i = 0; i < steps - 1; i++) {
    const [t, dt] = [1 - i / (steps - 1), 1 / (steps - 1)];
    const v = await velocity(new Float32Array(x), t, t);
    // On the linear path the score is -(x + (1 - t) v) / t.
    x = x.map(
      (value, j) => value - dt * (v[j] + (w / 2) * ((value + (1 - t) * v[j]) / t)) + Math.sqrt(w * dt) * step(i),
    );
  }
  for (const [i, value] of sampled.entries()) assert.ok(Math.abs(value - x[i]) < 1e-6, `${value} for ${x[i]}`);
});

test('a last step of another length starts where it says', async () => {
  const times: number[] = [];
  const observed: Predictor = (x, t, stepTime) => {
    times.push(t);
    return gaussianVelocity('linear')(x, t, stepTime);
  };
  const options = { path: 'linear', steps: 5, lastStepSize: 0.2, noise: (out: Float64Array) => out.fill(0) } as const;
  await sampleSde(observed, noise, 4, options);
  assert.deepEqual(
    times.map((t) => t.toFixed(6)),
    ['1.000000', '0.800000', '0.600000', '0.400000', '0.200000'],
  );
});

test('progress ends at 1 and never goes back', async () => {
  const seen: Record<string, number[]> = { ode: [], sde: [], dopri5: [] };
  const follow = (name: string) => (fraction: number) => void seen[name].push(fraction);
  const velocity = gaussianVelocity('linear');
  await sampleOde(velocity, noise, { solver: 'heun', steps: 4, onProgress: follow('ode') });
  await sampleSde(velocity, noise, 4, {
    path: 'linear',
    steps: 4,
    noise: (out) => out.fill(0),
    onProgress: follow('sde'),
  });
  await sampleDopri5(together(velocity), noise, 1, { onProgress: follow('dopri5') });
  assert.deepEqual(seen.ode, [0.25, 0.5, 0.75, 1]);
  assert.deepEqual(seen.sde, [0.25, 0.5, 0.75, 1]);
  assert.equal(seen.dopri5!.at(-1), 1);
  assert.deepEqual(
    seen.dopri5,
    seen.dopri5!.toSorted((a, b) => a - b),
  );
});

/** Two rows of two channels of one pixel; the network returns its labels and records how many rows it was given. */
const labelBatch = { labels: Int32Array.of(3, 5), channelSize: 1 };
function labelNetwork() {
  const rows: number[] = [];
  const network = (_x: Float32Array, _t: number, labels: Int32Array) => {
    rows.push(labels.length);
    return Float32Array.from({ length: 2 * labels.length }, (_, i) => labels[i >> 1]);
  };
  return { rows, network };
}

test('guidance moves away from the null label, in the guided channels and within the interval only', async () => {
  const { rows, network } = labelNetwork();
  const x = new Float32Array(4);
  const guided = (time: number, options: { scale: number; low?: number; high?: number; channels?: number }) =>
    classifierFreeGuidance(network, labelBatch, 10, options)(x, 0.5, time);
  assert.deepEqual([...(await guided(0.5, { scale: 2 }))], [-4, -4, 0, 0]);
  assert.deepEqual([...(await guided(0.5, { scale: 2, channels: 1 }))], [-4, 3, 0, 5]);
  assert.deepEqual([...(await guided(0.7, { scale: 2, low: 0.1, high: 0.7 }))], [-4, -4, 0, 0]);
  assert.deepEqual([...(await guided(0.1, { scale: 2, low: 0.1, high: 0.7 }))], [-4, -4, 0, 0]);
  assert.deepEqual(rows, [4, 4, 4, 4]);
  assert.deepEqual([...(await guided(0.71, { scale: 2, low: 0.1, high: 0.7 }))], [3, 3, 5, 5]);
  assert.deepEqual([...(await guided(0.5, { scale: 1 }))], [3, 3, 5, 5]);
  assert.deepEqual(rows.slice(4), [2, 2], 'unguided calls do not pay for the null label');
});

test('autoguidance moves away from the weak network under the same labels', async () => {
  const { network } = labelNetwork();
  const weak = (x: Float32Array, t: number, labels: Int32Array) => network(x, t, labels).map((value) => value - 1);
  const guided = autoguidance(network, weak, labelBatch, { scale: 3, high: 0.5 });
  assert.deepEqual([...(await guided(new Float32Array(4), 0.2, 0.2))], [5, 5, 7, 7]);
  assert.deepEqual([...(await guided(new Float32Array(4), 0.2, 0.6))], [3, 3, 5, 5]);
});
