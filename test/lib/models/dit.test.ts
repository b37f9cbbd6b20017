import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { ddpmSchedule, evenTimesteps, stridedTimesteps } from '../../../src/lib/diffusion/ddpm-schedule.js';
import { classifierFreeGuidance } from '../../../src/lib/diffusion/guidance.js';
import { sampleDdim } from '../../../src/lib/diffusion/samplers/ddim.js';
import { sampleDdpm } from '../../../src/lib/diffusion/samplers/ddpm.js';
import { capture, selectBackend } from '../../../src/lib/engine/index.js';
import { dit } from '../../../src/lib/models/dit.js';
import { matchWeights, toParameters } from '../../../src/lib/models/parameters.js';
import { inferNetwork } from '../../../src/lib/repa/infer.js';
import { networkParameters, startingNetwork } from '../../../src/lib/repa/network.js';
import { fixtureWeights } from '../../fixture-weights.js';
import { networkOf, repaOf } from '../../networks.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

describe('DiT', () => {
  const weights = fixtureWeights('dit');
  const io = fixtureTensors('dit/io');
  const network = inferNetwork('DiT', weights, 'dit', { numHeads: 3 });
  const config = network.model;

  /** The fixture's network on host arrays, for one time or one a row. */
  const open = () => {
    const p = toParameters(matchWeights(weights, networkParameters(network), 'dit'));
    return (x: Float32Array, t: number | ArrayLike<number>, y: ArrayLike<number>) => {
      const rows = y.length;
      const { inChannels, inputSize } = config;
      const program = capture(
        (...[noisy, time, label]) => [dit(p, config, noisy, time, label).output],
        [
          { shape: [rows, inChannels, inputSize, inputSize], dtype: 'float32' },
          { shape: [rows], dtype: 'float32' },
          { shape: [rows], dtype: 'int32' },
        ],
      );
      const times = typeof t === 'number' ? new Float32Array(rows).fill(t) : Float32Array.from(t);
      const [prediction] = program.run(x, times, Int32Array.from(y));
      program.dispose();
      return prediction as Float32Array; // [rows, 2C, H, W]
    };
  };
  const data = (name: string) => io.get(name)!.data;

  test('noise and variance are those of the official code', () => {
    assert.deepEqual([config.depth, config.outChannels, network.methods], [3, 8, {}]);
    const expected = data('forward');
    const actual = open()(data('x'), data('t'), data('y'));
    assertClose(actual, expected, 2e-5 * largestMagnitude(expected), 'forward');
  });

  test('guidance of the first three channels', async () => {
    const network = open();
    const expected = data('cfg.forward_with_cfg_4.0'); // two conditional rows, then two unconditional
    const tolerance = 2e-5 * largestMagnitude(expected);
    for (const row of [0, 1]) {
      const batch = { labels: Int32Array.of(data('cfg.y')[row]), channelSize: 16 * 16 };
      const guided = classifierFreeGuidance(network, batch, config.numClasses, { scale: 4, channels: 3 });
      const x = data('cfg.x').subarray(row * 4 * 256, (row + 1) * 4 * 256);
      const out = await guided(x, data('cfg.t')[row], 0.5);
      assertClose(out, expected.subarray(row * 8 * 256, (row + 1) * 8 * 256), tolerance, `guided row ${row}`);
    }
  });

  const noise = (out: Float64Array, row: number, step: number) => {
    const offset = (step * 2 + row) * out.length;
    out.set(data('sample.noise').subarray(offset, offset + out.length));
  };

  for (const { name, sampler, clipDenoised, eta, timesteps } of [
    { name: 'p', sampler: sampleDdpm, timesteps: evenTimesteps(10) },
    { name: 'p_clip', sampler: sampleDdpm, clipDenoised: true, timesteps: evenTimesteps(10) },
    { name: 'ddim', sampler: sampleDdim, timesteps: evenTimesteps(10) },
    { name: 'ddim_eta0.5', sampler: sampleDdim, eta: 0.5, timesteps: evenTimesteps(10) },
    { name: 'ddim_respace_ddim10', sampler: sampleDdim, timesteps: stridedTimesteps(10) },
  ]) {
    test(`sampling in ten steps: ${name}`, async () => {
      const network = open();
      const options = { schedule: ddpmSchedule(timesteps), noise, clipDenoised, eta };
      const predict = (x: Float32Array, t: number) => network(x, t, data('sample.y'));
      const samples = await sampler(predict, data('sample.z'), 2, options);
      const expected = data(`sample.${name}`);
      assertClose(samples, expected, 1e-4 * largestMagnitude(expected), name);
    });
  }
});

test('named sizes, with and without projectors', () => {
  const published = networkOf('DiT-XL/2');
  assert.equal(published.model.outChannels, 8);
  assert.equal(networkParameters(published).has('projectors.0.0.weight'), false);
  const sizes = { hiddenSize: 24, numHeads: 2, depth: 2, numClasses: 3 };
  const tiny = networkOf('DiT-S/4', sizes, repaOf([8], 16));
  const weights = new Map(startingNetwork(tiny, 3));
  const known = { numHeads: 2, alignDepth: tiny.model.alignDepth };
  assert.deepEqual(inferNetwork('DiT', weights, 'tiny', known), tiny);
});
