import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ddpmSchedule, evenTimesteps, stridedTimesteps } from '../../../src/lib/diffusion/ddpm-schedule.js';
import { sampleDdim } from '../../../src/lib/diffusion/samplers/ddim.js';
import { sampleDdpm } from '../../../src/lib/diffusion/samplers/ddpm.js';
import { UsageError } from '../../../src/lib/errors.js';
import { openSafetensors } from '../../../src/lib/formats/safetensors.js';
import { fixturePath } from '../../support.js';

const file = openSafetensors(fixturePath('dit/io.safetensors'));
const doubles = (name: string) => file.read(name).data as Float64Array;
const integers = (name: string) => Array.from(file.read(name).data as BigInt64Array, Number);

function assertClose(actual: Float64Array, expected: Float64Array, relative: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  for (const [i, value] of actual.entries()) {
    const bound = relative * Math.abs(expected[i]);
    assert.ok(Math.abs(value - expected[i]) <= bound, `${what}[${i}]: ${value} for ${expected[i]}`);
  }
}

test('the schedule of 1000 steps is the official one', () => {
  const schedule = ddpmSchedule();
  assertClose(schedule.betas, doubles('sched1000.betas'), 1e-12, 'betas');
  assertClose(schedule.alphasCumprod, doubles('sched1000.alphas_cumprod'), 1e-12, 'alphasCumprod');
  assertClose(schedule.posteriorVariance, doubles('sched1000.posterior_variance'), 1e-12, 'posteriorVariance');
  const logVariance = doubles('sched1000.posterior_log_variance_clipped');
  assertClose(schedule.posteriorLogVariance, logVariance, 1e-12, 'posteriorLogVariance');
  assertClose(schedule.posteriorOnData, doubles('sched1000.posterior_mean_coef1'), 1e-12, 'posteriorOnData');
  assertClose(schedule.posteriorOnState, doubles('sched1000.posterior_mean_coef2'), 1e-12, 'posteriorOnState');
});

test('respacing visits the official timesteps and keeps their noise levels', () => {
  assert.deepEqual([...evenTimesteps(10)], integers('sched10.timestep_map'));
  assert.deepEqual([...evenTimesteps(250)], integers('sched250.timestep_map'));
  assert.deepEqual([...stridedTimesteps(10)], integers('schedddim10.timestep_map'));
  const schedule = ddpmSchedule(evenTimesteps(10));
  assertClose(schedule.betas, doubles('sched10.betas'), 1e-12, 'betas');
  assertClose(schedule.alphasCumprod, doubles('sched10.alphas_cumprod'), 1e-12, 'alphasCumprod');
});

test('a number of steps that cannot be taken is refused', () => {
  assert.throws(() => evenTimesteps(1001), UsageError);
  assert.throws(() => evenTimesteps(0), UsageError);
  assert.throws(() => stridedTimesteps(999), UsageError);
});

/** Predicts the exact noise when every clean sample is 0.5, and a variance halfway between its bounds. */
const schedule = ddpmSchedule(evenTimesteps(25));
const full = ddpmSchedule();
const pointNetwork = (x: Float32Array, timestep: number) => {
  const product = full.alphasCumprod[timestep];
  const out = new Float64Array(2 * x.length);
  for (const [row, value] of x.entries()) out[2 * row] = (value - Math.sqrt(product) * 0.5) / Math.sqrt(1 - product);
  return out;
};
const latents = Float32Array.of(-1.2, 0.3, 2.2);
const noise = (out: Float64Array, row: number, step: number) => void out.fill(Math.sin(7 * step + row));

test('both samplers end at the clean sample that the network knows', async () => {
  const options = { schedule, noise };
  for (const x of [
    await sampleDdpm(pointNetwork, latents, 3, options),
    await sampleDdim(pointNetwork, latents, 3, options),
    await sampleDdim(pointNetwork, latents, 3, { ...options, eta: 1 }),
  ]) {
    for (const value of x) assert.ok(Math.abs(value - 0.5) < 1e-5, `${value}`);
  }
});

test('clipping keeps the clean sample within [-1, 1]', async () => {
  const wild = (x: Float32Array) => new Float64Array(2 * x.length).fill(-50);
  const clipped = await sampleDdim(wild, latents, 3, { schedule, noise, clipDenoised: true });
  assert.deepEqual([...clipped], [1, 1, 1]);
});

test('the guidance interval sees timesteps as times between 0 and 1', async () => {
  const times: number[] = [];
  const observer = (x: Float32Array, timestep: number, stepTime: number) => {
    times.push(stepTime);
    return pointNetwork(x, timestep);
  };
  await sampleDdim(observer, latents, 3, { schedule: ddpmSchedule(evenTimesteps(3)), noise });
  assert.deepEqual(times, [0.999, 0.5, 0]);
});
