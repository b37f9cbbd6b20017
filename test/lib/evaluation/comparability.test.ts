import assert from 'node:assert/strict';
import { test } from 'node:test';
import { comparabilityWarnings } from '../../../src/lib/evaluation/comparability.js';
import { FeatureSet } from '../../../src/lib/evaluation/feature-set.js';

const published = {
  name: 'inception-2015',
  dims: { pooled: 2, spatial: 3 },
  isInception: true,
  isPublished: true,
  resize: 'adm',
};

/** A set of `count` images. */
function setOf(count: number, size = 256): FeatureSet {
  const set = new FeatureSet();
  set.count = count;
  set.size = size;
  set.use('pooled', { mean: new Float64Array(2), covariance: new Float64Array(4), count });
  return set;
}

const PAPER = {
  sampler: {
    mode: 'sde',
    diffusion: 'linear',
    diffusion_norm: 1,
    last_step: 'mean',
    last_step_size: 0.04,
    steps: 250,
    labels: 'random',
    weights: 'ema 0.9999',
  },
  decoder: { name: 'sd-vae-ft-ema', sha256: 'ab', rounding: 'truncate' },
};

/** The warnings about samples of the paper's settings with some of them changed. */
const warningsOf = (sampler: object, decoder: object = {}, set = setOf(50_000)): string[] =>
  comparabilityWarnings(published, set, setOf(10_000), {
    sampler: { ...PAPER.sampler, ...sampler },
    decoder: { ...PAPER.decoder, ...decoder },
  });

test('the settings of the papers go without a warning', () => {
  assert.deepEqual(warningsOf({}), []);
  assert.deepEqual(warningsOf({}, { name: 'vae/sd-vae-ft-mse.pt' }, setOf(50_000, 512)), []);
  const dit = { mode: 'ddpm', steps: 250, labels: 'random', weights: 'ema 0.9999' };
  assert.deepEqual(comparabilityWarnings(published, setOf(50_000), undefined, { ...PAPER, sampler: dit }), []);
});

test('each setting that published numbers do not have is named', () => {
  const cases: [string[], RegExp][] = [
    [warningsOf({}, { name: 'taesd' }), /decoder is taesd/],
    [warningsOf({}, { rounding: 'round' }), /pixels are rounded/],
    [warningsOf({ labels: 'balanced' }), /labels are balanced/],
    [warningsOf({ labels: '1,2' }), /labels are 1,2/],
    [warningsOf({ weights: 'raw' }), /not averaged/],
    [warningsOf({ steps: 50 }), /took 50 steps; .* 250/],
    [warningsOf({ mode: 'ode', solver: 'heun' }), /the ODE \(heun\)/],
    [warningsOf({ mode: 'ode', solver: 'dopri5', steps: 'adaptive' }), /the ODE \(dopri5\)/],
    [warningsOf({ mode: 'ddim' }), /DDIM/],
    [warningsOf({ diffusion: 'sigma' }), /diffusion is sigma; .* linear/],
    [warningsOf({ last_step: 'tweedie' }), /last_step is tweedie; .* mean/],
    [warningsOf({ time_shift: 3 }), /shifted/],
    [warningsOf({}, {}, setOf(50_000, 64)), /64x64 pixels/],
    [warningsOf({}, {}, setOf(49_999)), /of 50000 samples, this is of 49999/],
  ];
  for (const [warnings, message] of cases) {
    assert.equal(warnings.length, 1, warnings.join('\n'));
    assert.match(warnings[0], message);
  }
  const few = comparabilityWarnings(published, setOf(50_000), setOf(2), PAPER);
  assert.match(few.join('\n'), /reference are 2 images for 2 features/);
  const clean = comparabilityWarnings({ ...published, resize: 'clean' }, setOf(50_000), setOf(10_000), PAPER);
  assert.match(clean.join('\n'), /resized as 'clean'/);
});

test('images that do not tell how they were made are said to be so', () => {
  const warnings = comparabilityWarnings(published, setOf(50_000), undefined, { sampler: null, decoder: null });
  assert.match(warnings.join('\n'), /do not tell what decoded them\n.*do not tell how they were sampled/);
});

test('another network has no published numbers, but a file that poses as Inception is named', () => {
  const odd = { sampler: { ...PAPER.sampler, labels: '3', weights: 'raw' }, decoder: null };
  const encoder = { name: 'dinov2', dims: { pooled: 2 }, isInception: false, isPublished: false, resize: 'adm' };
  assert.deepEqual(comparabilityWarnings(encoder, setOf(100), setOf(100), odd), []);
  const file = { ...published, name: 'mine.pth', isPublished: false };
  assert.deepEqual(comparabilityWarnings(file, setOf(50_000), undefined, PAPER), [
    'mine.pth is not the file of the published Inception weights: the numbers bear its name',
  ]);
});

test('references of other programs are held against the resize that goes with them', () => {
  const reference = (hasSpatial: boolean): FeatureSet => {
    return Object.assign(setOf(10_000), { source: { file: 'ref.npz', origin: undefined, hasSpatial } });
  };
  const samples = setOf(50_000);
  assert.deepEqual(comparabilityWarnings(published, samples, reference(true), PAPER), []);
  assert.match(
    comparabilityWarnings(published, samples, reference(false), PAPER)[0],
    /ref\.npz .*--resize pytorch-fid/,
  );
  const other = { ...published, resize: 'clean' };
  assert.match(comparabilityWarnings(other, samples, reference(true), PAPER)[0], /ref\.npz .*--resize adm/);
});
