import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { toFloat32 } from '../../src/lib/formats/host-tensor.js';
import { openSafetensors, writeSafetensors } from '../../src/lib/formats/safetensors.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { fixtureWeightsFile } from '../fixture-weights.js';
import { fixturePath, writeNpy } from '../support.js';
import { assertClose, largestMagnitude } from '../tensors.js';
import { repa, temporaryFolder } from './binary.js';
import { makeTensors } from './support.js';

/** What the official code made of its weights, sampled by the real program from the same noise. */
async function sampleAsOfficial(
  t: TestContext,
  fixture: string,
  names: [noise: string, labels: string],
  args: string[],
) {
  const cwd = temporaryFolder(t);
  const [folder, weights = folder] = fixture.split(' ');
  const file = openSafetensors(fixturePath(`${folder}/io.safetensors`));
  const [noise, labels] = names.map((name) => file.read(name));
  writeNpy(path.join(cwd, 'noise.npy'), noise);
  const fixed = ['--noise', 'noise.npy', '--labels', labels.data.join(','), '--latents', '--threads', '1'];
  const ckpt = fixtureWeightsFile(weights);
  const { code, stdout, stderr } = await repa(['sample', '--ckpt', ckpt, ...fixed, ...args, '-o', 'z'], { cwd });
  assert.equal(code, 0, `${stdout}${stderr}`);
  const reader = await openTensorStream(path.join(cwd, 'z'));
  const latents: number[] = [];
  for await (const batch of reader) latents.push(...(batch.tensors.latent as Float32Array));
  const { metadata } = reader.schema;
  const sampler = JSON.parse(metadata['repa.sampler']);
  return {
    sampler,
    metadata,
    compare(name: string, tolerance: number) {
      const expected = toFloat32(file.read(name));
      // The stream holds latents as the codec gave them; the fixtures, as the model sees them.
      const scaled = Float32Array.from(latents, (value) => value * 0.18215);
      assertClose(scaled, expected, tolerance * largestMagnitude(expected), name);
    },
  };
}

test("REPA's weights alone are sampled as the official code does", async (t) => {
  const args = ['--heads', '3', '--mode', 'ode', '--steps', '10', '--cfg', '1.8', '--guidance-high', '0.7'];
  const { compare, sampler, metadata } = await sampleAsOfficial(t, 'samplers sit', ['latents', 'y'], args);
  compare('final.ode_cfg1.8_g0-0.7', 1e-4);
  assert.equal(sampler.guidance_channels, 'all');
  assert.equal(metadata['repa.latent.scale'], '[0.18215]');
});

test('the original SiT, whose time is reversed, on both paths', async (t) => {
  const run = (more: string[]) =>
    sampleAsOfficial(t, 'sit_transport', ['sample.z', 'y'], ['--model', 'SiT', '--heads', '3', ...more]);
  (await run(['--steps', '10'])).compare('ode.Linear.euler', 1e-4);
  (await run(['--solver', 'dopri5', '--step-control', 'batch', '--path', 'cosine'])).compare('ode.GVP.dopri5', 1e-4);
});

test('DiT in respaced steps of DDIM, three of its channels guided', async (t) => {
  const args = ['--model', 'DiT', '--heads', '3', '--mode', 'ddim', '--steps', '10'];
  (await sampleAsOfficial(t, 'dit', ['sample.z', 'sample.y'], args)).compare('sample.ddim', 1e-4);
  const guided = await sampleAsOfficial(t, 'dit', ['sample.z', 'sample.y'], [...args, '--cfg', '1.5']);
  guided.compare('sample.ddim_cfg1.5', 1e-4);
  assert.equal(guided.sampler.guidance_channels, 3);
});

test("DDPM is DiT's default, and its samples depend on the seed and the image alone", async (t) => {
  const cwd = temporaryFolder(t);
  const common = ['sample', '--ckpt', fixtureWeightsFile('dit'), '--model', 'DiT', '--heads', '3'];
  const latents = async (...args: string[]) => {
    const { code, stderr } = await repa([...common, '--steps', '6', '--latents', '-o', 'z', ...args], { cwd });
    assert.equal(code, 0, stderr);
    const reader = await openTensorStream(path.join(cwd, 'z'));
    const values: number[] = [];
    for await (const batch of reader) values.push(...(batch.tensors.latent as Float32Array));
    return { values, sampler: JSON.parse(reader.schema.metadata['repa.sampler']) };
  };
  const whole = await latents('--num', '4', '--batch-size', '4', '--cfg', '2');
  assert.equal(whole.sampler.mode, 'ddpm');
  const pieces = await latents('--num', '4', '--batch-size', '1', '--cfg', '2');
  assertClose(pieces.values, whole.values, 1e-4 * largestMagnitude(whole.values), 'pieces');
  assert.notDeepEqual((await latents('--num', '4', '--cfg', '2', '--seed', '1')).values, whole.values);
});

test('what a file does not tell has to be said, and what is said has to fit', async (t) => {
  const cwd = temporaryFolder(t);
  const fail = async (fixture: string, args: string[], code: number, message: RegExp) => {
    const ckpt = fixture.includes('/') ? fixture : fixtureWeightsFile(fixture);
    const outcome = await repa(['sample', '--ckpt', ckpt, '--latents', '--num', '1', '-o', 'z', ...args], { cwd });
    assert.equal(outcome.code, code, outcome.stderr);
    assert.match(outcome.stderr, message);
  };
  await fail('dit', [], 2, /nothing in the file tells apart[\s\S]*--model DiT-XL\/2/);
  await fail(
    'dit',
    ['--model', 'DiT-XL/2'],
    65,
    /holds 3 blocks of width 96 .*, but DiT-XL\/2 is 28 blocks of width 1152/,
  );
  await fail('sit', ['--model', 'DiT'], 65, /4 output channels/);
  await fail('dit', ['--model', 'UNet'], 2, /--model UNet/);
  await fail(
    'dit',
    ['--model', 'DiT', '--heads', '3', '--mode', 'sde'],
    2,
    /--mode sde is not for a DiT[\s\S]*ddpm or ddim/,
  );
  await fail('sit', ['--heads', '3', '--mode', 'ddim'], 2, /--mode ddim is not for a SiT[\s\S]*ode or sde/);
  await fail('sit', ['--heads', '3', '--raw'], 2, /one set of weights/);
  await fail('vae', [], 65, /not the weights of a SiT or DiT: final_layer\.linear\.weight is missing/);

  const file = openSafetensors(fixtureWeightsFile('sit'));
  const without = path.join(cwd, 'without.safetensors');
  const kept = file.names.filter((name) => name !== 'blocks.1.mlp.fc2.bias');
  writeSafetensors(
    without,
    kept.map((name) => [name, file.read(name)]),
  );
  await fail(without, ['--heads', '3'], 65, /1 missing:\s+blocks\.1\.mlp\.fc2\.bias/);
  const notes = path.join(cwd, 'notes.pt');
  writeFileSync(notes, 'nothing of the kind');
  await fail(notes, [], 65, /not a weights file/);
});

test('hidden states of a checkpoint file', async (t) => {
  const cwd = temporaryFolder(t);
  const metadata = { 'repa.latent.scale': '[0.18215]' };
  await makeTensors(
    path.join(cwd, 'latents'),
    ['a', 'b'],
    { name: 'latent', dtype: 'f32', shape: [4, 16, 16] },
    metadata,
  );
  for (const [fixture, model] of [
    ['sit', 'SiT'],
    ['dit', 'DiT'],
  ]) {
    const ckpt = fixtureWeightsFile(fixture);
    const args = ['--model', model, '--heads', '3', '--blocks', '2', '--t', '0.3', '-o', 'hidden'];
    const { code, stderr } = await repa(['extract-hidden', '--ckpt', ckpt, ...args], { cwd });
    assert.equal(code, 0, stderr);
    const { schema } = await openTensorStream(path.join(cwd, 'hidden'));
    assert.deepEqual(schema.columns[0].shape, [96]);
  }
});
