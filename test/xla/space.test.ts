/** Samplers whose states stay on the devices give what those in the host's memory give. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { autoguidance } from '../../src/lib/diffusion/autoguidance.js';
import { classifierFreeGuidance, type Times, timesOfRows } from '../../src/lib/diffusion/guidance.js';
import { type SamplerOptions, settle } from '../../src/lib/diffusion/samplers/index.js';
import { hostSpace, type Space, type Values } from '../../src/lib/diffusion/space.js';
import {
  capture,
  type DeviceRows,
  deviceSpace,
  selectBackend,
  type TensorSpec,
  tf,
} from '../../src/lib/engine/index.js';
import { fillNormal, PURPOSE } from '../../src/lib/numbers/random.js';
import { testPlugin } from './support.js';

const SIZE = 6;
const NULL_LABEL = 7;

/** A prediction that depends on states, times and labels; of a DiT with a variance. */
const predictionOf =
  (of: Case['of']) =>
  (x: tf.Tensor, t: tf.Tensor, y: tf.Tensor): tf.Tensor[] => {
    const bent = tf.tanh(tf.add(tf.mul(x, 1.5), tf.reshape(tf.cast(y, 'float32'), [-1, 1]))); // [N, S]
    const velocity = tf.add(tf.mul(bent, tf.reshape(tf.cos(t), [-1, 1])), tf.mul(x, 0.3));
    return [of === 'DiT' ? tf.concat([velocity, bent], 1) : velocity];
  };

const inputs = (rows: number, dtype: 'float32' | 'float64'): TensorSpec[] => [
  { shape: [rows, SIZE], dtype },
  { shape: [rows], dtype: 'float32' },
  { shape: [rows], dtype: 'int32' },
];

function onHost({ of }: Case) {
  return (x: Float32Array, t: Times, labels: Int32Array): Values => {
    const rows = labels.length;
    const program = capture(predictionOf(of), inputs(rows, 'float32'), { byRow: true });
    const [out] = program.run(x, timesOfRows(t, rows), labels) as Float32Array[];
    program.dispose();
    return out;
  };
}

const noise = (rows: number) => {
  const states = new Float32Array(rows * SIZE);
  fillNormal(states, 5, PURPOSE.sampleNoise, 0);
  return states;
};

interface Case {
  of?: 'SiT' | 'DiT';
  path?: 'linear' | 'geodesic';
  sampler: SamplerOptions;
  cfg?: number;
  low?: number;
  channels?: number;
  weak?: boolean;
  /** Relative to the largest number; 1e-6 if it is not said. */
  tolerance?: number;
}

async function sampled<State, Input>(
  network: (x: Input, t: Times, labels: Int32Array) => State | Promise<State>,
  space: Space<State, Input>,
  rows: number,
  { of = 'SiT', path = 'linear', sampler, cfg: scale = 1, low = 0, channels, weak }: Case,
): Promise<number[]> {
  const batch = { labels: Int32Array.from({ length: rows }, (_, row) => row % 3), channelSize: 2 };
  const options = { scale, low, channels };
  const predictor = weak
    ? autoguidance(network, (x: Input, t: Times) => network(x, t, new Int32Array(rows).fill(2)), batch, options, space)
    : classifierFreeGuidance(network, batch, NULL_LABEL, options, space);
  const start = {
    states: noise(rows),
    rows,
    channelSize: 2,
    noise: (out: Float64Array, row: number, step: number) => fillNormal(out, 3, PURPOSE.sdeNoise, row, step),
  };
  return [...(await settle(of, { path, timeShift: 1 }, sampler).sample(predictor, start, space))];
}

const CASES: Record<string, Case> = {
  euler: { sampler: { steps: 9 } },
  'guided heun': { sampler: { solver: 'heun', steps: 6 }, cfg: 1.8, low: 0.3 },
  'guided sde': { sampler: { mode: 'sde', steps: 9 }, cfg: 2 },
  'sde, guided in one channel': { sampler: { mode: 'sde', steps: 6, lastStep: 'tweedie' }, cfg: 2, channels: 1 },
  // It keeps 1e-3 by itself: its first step is measured over so short a way that 1e-7 in the network moves the end by
  // 1e-4.
  'dopri5, guided in an interval': { sampler: { solver: 'dopri5' }, cfg: 1.5, low: 0.5, tolerance: 1e-3 },
  'guided dopri5': { sampler: { solver: 'dopri5', rtol: 1e-5 }, cfg: 1.5, tolerance: 1e-5 },
  'dopri5 by the batch': { sampler: { solver: 'dopri5', stepControl: 'batch' }, cfg: 1.5 },
  'guided ddpm': { of: 'DiT', sampler: { steps: 5 }, cfg: 2, channels: 1 },
  'along the sphere': { path: 'geodesic', sampler: { steps: 5 } },
  'guided by another network': { sampler: { steps: 5 }, cfg: 1.5, weak: true },
};

describe('states on the devices', () => {
  before(() => selectBackend({ backend: 'xla', plugin: testPlugin(), precision: 'f32' }));

  for (const [name, one] of Object.entries(CASES)) {
    test(`are those of the host: ${name}`, async () => {
      for (const rows of [1, 3, 4]) {
        const expected = await sampled(onHost(one), hostSpace<Values, Float32Array>(), rows, one);
        const space = deviceSpace()!;
        const program = space.program(predictionOf(one.of), (count) => inputs(count, 'float64'), 'feed');
        const network = (x: DeviceRows, t: Times, labels: Int32Array) =>
          program.run(x, timesOfRows(t, labels.length), labels)[0];
        const actual = await sampled<DeviceRows, DeviceRows>(network, space, rows, one);
        program.dispose();
        space.keep();
        assert.equal(actual.length, expected.length);
        const tolerance = (one.tolerance ?? 1e-6) * Math.max(1, ...expected.map(Math.abs));
        for (const [i, value] of actual.entries()) {
          assert.ok(Math.abs(value - expected[i]) <= tolerance, `${rows} rows, ${i}: ${value}, ${expected[i]}`);
        }
      }
    });
  }
});
