/**
 * What headers tell of samplers: entries of streams that were written once must be those of the same settings for good.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TrainingPath } from '../../../src/lib/diffusion/interpolant.js';
import { publishedNotes, type SamplerOptions, settle } from '../../../src/lib/diffusion/samplers/index.js';
import type { Architecture } from '../../../src/lib/diffusion/samplers/sampler.js';
import { UsageError } from '../../../src/lib/errors.js';

const described = (architecture: Architecture, options: SamplerOptions, timeShift = 1): string =>
  JSON.stringify(settle(architecture, { path: 'linear', timeShift }, options).describe());

test('the entries of each sampler, in the order and under the names of all streams so far', () => {
  const cases: [Architecture, SamplerOptions, string][] = [
    ['SiT', {}, '{"mode":"ode","solver":"euler","steps":50}'],
    ['SiT', { solver: 'heun', steps: 9, timeShift: 2 }, '{"mode":"ode","solver":"heun","steps":9,"time_shift":2}'],
    [
      'SiT',
      { mode: 'sde' },
      '{"mode":"sde","diffusion":"linear","diffusion_norm":1,"last_step":"mean","last_step_size":0.04,"steps":50}',
    ],
    [
      'SiT',
      { mode: 'sde', diffusion: 'sigma', diffusionNorm: 0.5, lastStep: 'none', steps: 250 },
      '{"mode":"sde","diffusion":"sigma","diffusion_norm":0.5,"last_step":"none","steps":250}',
    ],
    ['DiT', {}, '{"mode":"ddpm","steps":250}'],
    ['DiT', { mode: 'ddim', steps: 50 }, '{"mode":"ddim","steps":50}'],
    ['DiT', { mode: 'ddim', steps: 50, spacing: 'even' }, '{"mode":"ddim","steps":50}'],
    ['DiT', { mode: 'ddim', steps: 50, spacing: 'stride' }, '{"mode":"ddim","spacing":"stride","steps":50}'],
    [
      'SiT',
      { solver: 'dopri5', rtol: 1e-4 },
      '{"mode":"ode","solver":"dopri5","atol":0.000001,"rtol":0.0001,"steps":"adaptive","step_control":"image"}',
    ],
  ];
  for (const [architecture, options, entries] of cases) assert.equal(described(architecture, options), entries);
  assert.equal(described('SiT', {}, 3), '{"mode":"ode","solver":"euler","steps":50,"time_shift":3}', 'as in training');
  assert.equal(described('SiT', { timeShift: 1 }, 3), '{"mode":"ode","solver":"euler","steps":50}');
  assert.doesNotMatch(described('SiT', { solver: 'dopri5' }, 3), /time_shift/);
});

test('what is not for a sampler, or does not go together, is refused', () => {
  const refused = (
    architecture: Architecture,
    options: SamplerOptions,
    message: RegExp,
    path: TrainingPath = 'linear',
  ) =>
    assert.throws(
      () => settle(architecture, { path, timeShift: 1 }, options),
      (error) => error instanceof UsageError && message.test(error.message),
    );
  refused('DiT', { mode: 'ode' }, /--mode ode is not for a DiT/);
  refused('SiT', { mode: 'ddim' }, /--mode ddim is not for a SiT/);
  refused('DiT', { solver: 'heun' }, /--solver is for the ODE, this is ddpm/);
  refused('DiT', { timeShift: 2 }, /--time-shift is for the ODE and the SDE, this is ddpm/);
  refused('DiT', { spacing: 'stride' }, /--spacing is for DDIM, this is ddpm/);
  refused('DiT', { steps: 1001 }, /cannot take 1001 sampling steps of a process of 1000/);
  refused('DiT', { mode: 'ddim', spacing: 'stride', steps: 999 }, /cannot be cut to 999 by a whole stride/);
  refused('SiT', { mode: 'sde', steps: 1 }, /at least 2 steps/);
  refused('SiT', { mode: 'sde' }, /--mode sde is not for a SiT of the geodesic path/, 'geodesic');
  refused('SiT', { solver: 'heun' }, /--solver heun is not for a SiT of the geodesic path/, 'geodesic');
});

test('a header of a sampler that nobody knows draws no conclusions', () => {
  assert.deepEqual(publishedNotes({ mode: 'telepathy', steps: 3 }), []);
  assert.deepEqual(publishedNotes({}), []);
});
