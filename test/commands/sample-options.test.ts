import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { encodeNpy } from '../../src/lib/formats/npy.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { fixtureWeights, fixtureWeightsFile, writeWeights } from '../fixture-weights.js';
import { temporaryFolder } from '../support.js';
import { largestError, largestMagnitude } from '../tensors.js';
import { repa } from './binary.js';

const cwd = temporaryFolder();
const ckpt = fixtureWeightsFile('sit');

interface Sampled {
  latents: number[];
  sampler: Record<string, unknown>;
  /** Of the weights. */
  sha256: string;
  stderr: string;
}

async function sample(...args: string[]): Promise<Sampled> {
  const common = ['--heads', '3', '--num', '2', '--steps', '5', '--latents', '--threads', '1', '-o', 'z'];
  const { code, stderr } = await repa(['sample', '--ckpt', ckpt, ...common, ...args], { cwd });
  assert.equal(code, 0, stderr);
  const reader = await openTensorStream(`${cwd}/z`);
  const latents: number[] = [];
  for await (const batch of reader) latents.push(...(batch.tensors.latent as Float32Array));
  const { 'repa.sampler': sampler, 'repa.model.sha256': sha256 } = reader.schema.metadata;
  return { latents, sampler: JSON.parse(sampler), sha256, stderr };
}

const differ = (a: Sampled, b: Sampled): boolean =>
  largestError(a.latents, b.latents) > 1e-3 * largestMagnitude(b.latents);

test("the SDE's w(t) and last step change the samples and are recorded", async () => {
  const official = await sample('--mode', 'sde');
  assert.deepEqual(
    [official.sampler.diffusion, official.sampler.last_step, official.sampler.solver],
    ['linear', 'mean', undefined],
  );
  const same = await sample('--mode', 'sde', '--diffusion', 'linear', '--last-step', 'mean');
  assert.deepEqual(same.latents, official.latents);
  for (const form of ['decreasing', 'increasing-decreasing']) {
    const other = await sample('--mode', 'sde', '--diffusion', form);
    assert.equal(other.sampler.diffusion, form);
    assert.ok(differ(other, official), form);
  }
  // On the linear path sigma is t.
  assert.ok(!differ(await sample('--mode', 'sde', '--diffusion', 'sigma'), official));
  const [euler, tweedie] = [
    await sample('--mode', 'sde', '--last-step', 'euler'),
    await sample('--mode', 'sde', '--last-step', 'tweedie'),
  ];
  assert.deepEqual([euler.sampler.last_step, tweedie.sampler.last_step], ['euler', 'tweedie']);
  assert.ok(differ(euler, official));
  // On the linear path both go to x - t v.
  assert.ok(!differ(tweedie, euler));
});

test('shifted steps change the samples and are recorded', async () => {
  const [even, shifted] = [await sample(), await sample('--time-shift', '3')];
  assert.equal(even.sampler.time_shift, undefined);
  assert.equal(shifted.sampler.time_shift, 3);
  assert.match(shifted.stderr, /note: --time-shift 3: the model was trained at 1/);
  assert.ok(differ(shifted, even));
  assert.deepEqual((await sample('--time-shift', '1')).latents, even.latents);
});

test('autoguidance moves away from another checkpoint, and not at all from its own', async () => {
  const plain = await sample();
  const alike = await sample('--cfg', '2', '--guide-ckpt', ckpt);
  assert.ok(!differ(alike, plain));
  assert.match(plain.sha256, /^[0-9a-f]{64}$/);
  assert.deepEqual(alike.sampler.guide, { checkpoint: path.relative(cwd, ckpt), step: 0, sha256: plain.sha256 });

  const weights = fixtureWeights('sit');
  for (const [name, { data }] of weights) if (name.startsWith('blocks.3.')) data.fill(0);
  const weaker = `${cwd}/weaker.safetensors`;
  writeWeights(weaker, weights);
  const guided = await sample('--cfg', '2', '--guide-ckpt', weaker);
  assert.ok(differ(guided, plain));
  assert.ok(!differ(await sample('--cfg', '2', '--guide-ckpt', weaker, '--guidance-high', '0'), plain));
});

test('an option that is not for the sampler is refused, and a checkpoint that cannot guide', async () => {
  const refused = async (args: string[], code: number, message: RegExp) => {
    const outcome = await repa(['sample', '--ckpt', ckpt, '--heads', '3', '--latents', '-o', 'z', ...args], { cwd });
    assert.equal(outcome.code, code, outcome.stderr);
    assert.match(outcome.stderr, message);
  };
  await refused(['--diffusion', 'sigma'], 2, /--diffusion is for the SDE, this is ode/);
  await refused(['--last-step', 'tweedie'], 2, /--last-step is for the SDE/);
  await refused(['--mode', 'sde', '--solver', 'heun'], 2, /--solver is for the ODE, this is sde/);
  await refused(
    ['--solver', 'dopri5', '--time-shift', '2'],
    2,
    /--time-shift is for the ODE and the SDE, this is dopri5, which chooses its own/,
  );
  await refused(['--solver', 'dopri5', '--steps', '9'], 2, /--steps is for .*, this is dopri5/);
  await refused(['--spacing', 'stride'], 2, /--spacing is for DDIM, this is ode/);
  await refused(['--atol', '1'], 2, /--atol is for dopri5, this is ode/);
  await refused(['--mode', 'sde', '--last-step', 'none', '--last-step-size', '0.1'], 2, /nothing without a last step/);
  await refused(['--time-shift', '0'], 2, /--time-shift/);
  for (const cfg of ['0', '0.5']) await refused(['--cfg', cfg], 2, /--cfg <w>.* It takes a number of at least 1/);
  await refused(['--cfg', '2', '--guidance-low', '0.8', '--guidance-high', '0.2'], 2, /nothing would be guided/);
  await refused(['--grid', 'x.png'], 2, /'--latents' cannot be used with option '--grid <file.png>'/);
  await refused(['--guide-ckpt', ckpt], 2, /--guide-ckpt does nothing without a --cfg above 1/);
  await refused(['--cfg', '2', '--guide-ckpt', 'nowhere'], 66, /nowhere/);
  const other = fixtureWeightsFile('sit_transport');
  await refused(
    ['--model', 'SiT', '--cfg', '2', '--guide-ckpt', other],
    65,
    /cannot guide .*latent shape is 4 x 8 x 8, not 4 x 16 x 16/,
  );
});

test('an interval without guidance is told and not recorded; latents are stored as asked', async () => {
  const args = ['--num', '1', '--steps', '2', '--guidance-high', '0.7', '--latents', '--dtype', 'f16', '-o', 'half'];
  const { code, stderr } = await repa(['sample', '--ckpt', ckpt, '--heads', '3', ...args], { cwd });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /note: --guidance-high: nothing is guided at --cfg 1/);
  const reader = await openTensorStream(`${cwd}/half`);
  assert.deepEqual(JSON.parse(reader.schema.metadata['repa.sampler']).interval, [0, 1]);
  assert.equal(reader.schema.columns[0].dtype, 'f16');
  await reader.close();
});

test('noise that is no number is refused, and so are latents that are none', async () => {
  const shape = [1, 4, 16, 16];
  for (const [value, message] of [
    [Number.NaN, /noise\.npy: holds NaN or infinity/],
    [3e38, /of images 0 to 0, a latent comes out as NaN or infinity/], // and more, once it is scaled back
  ] as const) {
    const data = new Float32Array(4 * 16 * 16).fill(value);
    writeFileSync(path.join(cwd, 'noise.npy'), encodeNpy({ shape, dtype: 'f32', data }));
    const args = [
      'sample',
      '--ckpt',
      ckpt,
      '--heads',
      '3',
      '--noise',
      'noise.npy',
      '--steps',
      '1',
      '--latents',
      '-o',
      'n',
    ];
    const { code, stderr } = await repa(args, { cwd });
    assert.equal(code, 65, stderr);
    assert.match(stderr, message);
  }
});
