import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import {
  type ConditionalNetwork,
  classifierFreeGuidance,
  type GuidanceOptions,
} from '../../../src/lib/diffusion/guidance.js';
import type { PathName } from '../../../src/lib/diffusion/interpolant.js';
import type { DiffusionForm } from '../../../src/lib/diffusion/samplers/diffusion-form.js';
import { sampleDopri5 } from '../../../src/lib/diffusion/samplers/dopri5.js';
import { sampleOde } from '../../../src/lib/diffusion/samplers/ode.js';
import { type LastStep, sampleSde } from '../../../src/lib/diffusion/samplers/sde.js';
import { type Captured, capture, selectBackend } from '../../../src/lib/engine/index.js';
import { openSafetensors } from '../../../src/lib/formats/safetensors.js';
import { sit } from '../../../src/lib/models/dit.js';
import { inferTransformer } from '../../../src/lib/models/dit-weights.js';
import { toParameters } from '../../../src/lib/models/parameters.js';
import { fixtureWeights } from '../../fixture-weights.js';
import { fixturePath } from '../../support.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

/** A SiT of a fixture as the samplers call it. */
function velocityNetwork(name: string): ConditionalNetwork {
  const weights = fixtureWeights(name);
  const config = inferTransformer('SiT', weights, name, { numHeads: 3 });
  const parameters = toParameters(weights);
  const programs = new Map<number, Captured>();
  const compile = (rows: number): Captured =>
    capture(
      (x, t, y) => [sit(parameters, config, x, t, y).output],
      [
        { shape: [rows, config.inChannels, config.inputSize, config.inputSize], dtype: 'float32' },
        { shape: [rows], dtype: 'float32' },
        { shape: [rows], dtype: 'int32' },
      ],
    );
  return (x, t, labels) => {
    const rows = labels.length;
    const program = programs.get(rows) ?? compile(rows);
    programs.set(rows, program);
    return program.run(x, new Float32Array(rows).fill(t), labels)[0] as Float32Array;
  };
}

/** Hands out rows of recorded noise [steps, rows, C, h, w]. */
const recorded = (noise: Float32Array | Float64Array, rows: number) => (out: Float64Array, row: number, step: number) =>
  out.set(noise.subarray((step * rows + row) * out.length, (step * rows + row + 1) * out.length));

const file = openSafetensors(fixturePath('samplers/io.safetensors'));
const doubles = (name: string) => file.read(name).data as Float64Array;
const latents = file.read('latents').data as Float32Array;
const labels = Int32Array.from(file.read('y').data as BigInt64Array, Number);
const NULL_LABEL = 10;

const RUNS: [string, Partial<GuidanceOptions>][] = [
  ['ode_cfg1.0', {}],
  ['ode_cfg1.8', { scale: 1.8 }],
  ['ode_cfg1.8_g0-0.7', { scale: 1.8, low: 0, high: 0.7 }],
  ['ode_heun_cfg1.0', {}],
  ['ode_heun_cfg1.8_g0.1-0.7', { scale: 1.8, low: 0.1, high: 0.7 }],
  ['sde_cfg1.0', {}],
  ['sde_cfg1.8', { scale: 1.8 }],
  ['sde_cfg1.8_g0-0.7', { scale: 1.8, low: 0, high: 0.7 }],
  ['sde_cosine_cfg1.0', {}],
  ['sde_cosine_cfg1.8_g0-0.7', { scale: 1.8, high: 0.7 }],
];

for (const [name, guidance] of RUNS) {
  test(`REPA ${name}: the samples of the official sampler`, async () => {
    const batch = { labels, channelSize: 256 };
    const velocity = classifierFreeGuidance(velocityNetwork('sit'), batch, NULL_LABEL, { scale: 1, ...guidance });
    const samples = name.startsWith('ode')
      ? await sampleOde(velocity, latents, { solver: name.includes('heun') ? 'heun' : 'euler', steps: 10 })
      : await sampleSde(velocity, latents, 2, {
          path: name.includes('cosine') ? 'cosine' : 'linear',
          steps: 10,
          noise: recorded(doubles('sde_noise'), 2),
        });
    const expected = doubles(`final.${name}`);
    assertClose(samples, expected, 1e-4 * largestMagnitude(expected), name);
  });
}

const transport = fixtureTensors('sit_transport/io');
const z = transport.get('sample.z')!.data;
const transportLabels = Int32Array.from(transport.get('y')!.data);
const paths: [string, PathName][] = [
  ['Linear', 'linear'],
  ['GVP', 'cosine'],
  ['VP', 'vp'],
];

for (const [official, path] of paths) {
  test(`original SiT, ${official}: the samples of its ODE samplers`, async () => {
    const network = velocityNetwork('sit_transport');
    const velocity = (x: Float32Array, t: number) => network(x, t, transportLabels);
    const endTime = path === 'vp' ? 1e-3 : 0;
    const euler = transport.get(`ode.${official}.euler`)!.data;
    const sampled = await sampleOde(velocity, z, { solver: 'euler', steps: 10, endTime });
    assertClose(sampled, euler, 1e-4 * largestMagnitude(euler), 'euler');
    const dopri5 = transport.get(`ode.${official}.dopri5`)!.data;
    // The official solver steps all images alike, by their error together: as if they were one.
    const together = (x: Float32Array, t: Float64Array) => velocity(x, t[0]);
    const followed = await sampleDopri5(together, z, 1, { endTime });
    assertClose(followed, dopri5, 1e-4 * largestMagnitude(dopri5), 'dopri5');
  });

  test(`original SiT, ${official}: the samples of its SDE sampler`, async () => {
    const network = velocityNetwork('sit_transport');
    const velocity = (x: Float32Array, t: number) => network(x, t, transportLabels);
    const noise = recorded(transport.get('sample.noise')!.data, 3);
    let compared = 0;
    for (const [key, { data: expected }] of transport) {
      const [kind, pathName, form, last] = key.split('.');
      if (kind !== 'sde' || pathName !== official) continue;
      const samples = await sampleSde(velocity, z, 3, {
        path,
        steps: 12,
        diffusion: form.toLowerCase().replace('inccreasing', 'increasing') as DiffusionForm,
        lastStep: last.toLowerCase() as LastStep,
        noise,
      });
      // What the fixture allows the diffusion of score-based models, which is stiff near the noise.
      const relative = form === 'SBDM' ? 1e-3 : 1e-4;
      assertClose(samples, expected, relative * largestMagnitude(expected), key);
      compared++;
    }
    assert.ok(compared >= 6, `${compared} samplers`);
  });
}
