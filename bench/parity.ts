/** How far XLA's devices are from the processor's engine: operations, training steps, guided samples, encoders. */
import {
  type ConditionalNetwork,
  classifierFreeGuidance,
  type Times,
  timesOfRows,
} from '../src/lib/diffusion/guidance.js';
import { settle } from '../src/lib/diffusion/samplers/index.js';
import { hostSpace, type Space } from '../src/lib/diffusion/space.js';
import { OPERATION_NAMES } from '../src/lib/engine/graph/operations.js';
import { capture, type DeviceRows, deviceSpace, selectBackend, type TensorSpec, tf } from '../src/lib/engine/index.js';
import { OnnxTarget } from '../src/lib/engine/onnx/target.js';
import { findPlugin } from '../src/lib/engine/xla/plugin.js';
import { ProgramCache } from '../src/lib/engine/xla/program-cache.js';
import { DeviceCopies } from '../src/lib/engine/xla/residency.js';
import { clientOf } from '../src/lib/engine/xla/start.js';
import { XlaTarget } from '../src/lib/engine/xla/target.js';
import { sit, transformerParameters } from '../src/lib/models/dit.js';
import { sitConfig } from '../src/lib/models/dit-sizes.js';
import { type Shapes, toParameters, type Weights } from '../src/lib/models/parameters.js';
import { type ViTConfig, vit, vitShapes } from '../src/lib/models/vit.js';
import { sizeOf, type TypedArray } from '../src/lib/numbers/typed-array.js';
import { captureGradients, ParameterStore } from '../src/lib/optim/index.js';
import { SAMPLES } from '../test/lib/engine/operation-samples.js';

type Precision = 'f32' | 'bf16';

/** The largest difference, relative to the largest number. */
function distance(actual: readonly TypedArray[], expected: readonly TypedArray[]): number {
  let largest = 0;
  let error = 0;
  expected.forEach((values, i) => {
    values.forEach((value, k) => {
      if (!Number.isFinite(Number(value))) return;
      largest = Math.max(largest, Math.abs(Number(value)));
      error = Math.max(error, Math.abs(Number(value) - Number(actual[i][k])));
    });
  });
  return error / Math.max(largest, 1e-30);
}

/** The same numbers at each call with the same seed. */
function waves(length: number, seed: number, scale: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => scale * Math.SQRT2 * Math.sin(12.9898 * i + 78.233 * seed));
}

function weightsOf(shapes: Shapes): Weights {
  return new Map(
    [...shapes].map(([name, { shape }], i) => {
      const isScale = shape.length === 1 && !name.endsWith('.bias');
      const data = waves(sizeOf(shape), i, shape.length === 1 ? 0.1 : sizeOf(shape.slice(1)) ** -0.5);
      return [name, { shape, data: isScale ? data.map((value) => 1 + value) : data }];
    }),
  );
}

const config = sitConfig('SiT-S/2', { depth: 4, alignDepth: 2 });
const rows = 4;
const images: TensorSpec[] = [
  { shape: [rows, 4, 32, 32], dtype: 'float32' },
  { shape: [rows], dtype: 'float32' },
  { shape: [rows], dtype: 'int32' },
];
const batch = [waves(rows * 4096, 1, 1), Float32Array.of(0.1, 0.4, 0.6, 0.9), Int32Array.of(1, 20, 300, 1000)];

/** A sampling step: the velocity of a batch. */
function sample(): TypedArray[] {
  const p = toParameters(weightsOf(transformerParameters(config)));
  const program = capture((x, t, y) => [sit(p, config, x, t, y).output], images, { constants: 'bake' });
  const results = program.run(...batch);
  program.dispose();
  return results;
}

/** Guided samples of four steps of the SDE, whose states stay on the device where there is one. */
async function sampleGuided(): Promise<TypedArray[]> {
  const p = toParameters(weightsOf(transformerParameters(config)));
  const size = sizeOf(images[0].shape.slice(1));
  const compute = (x: tf.Tensor, t: tf.Tensor, y: tf.Tensor): tf.Tensor[] => {
    const { output } = sit(p, config, tf.reshape(x, [x.shape[0], ...images[0].shape.slice(1)]), t, y);
    return [tf.reshape(output, [x.shape[0], size])];
  };
  const inputs = (count: number, dtype: 'float32' | 'float64'): TensorSpec[] => [
    { shape: [count, size], dtype },
    { shape: [count], dtype: 'float32' },
    { shape: [count], dtype: 'int32' },
  ];
  const sampler = settle('SiT', { path: 'linear', timeShift: 1 }, { mode: 'sde', steps: 4 });
  const noise = (out: Float64Array, row: number, step: number): void => out.set(waves(out.length, 10 * row + step, 1));
  const start = { states: waves(rows * size, 1, 1), rows, channelSize: 1024, noise };
  const labels = { labels: Int32Array.of(1, 20, 300, 999), channelSize: 1024 };
  const run = <State, Input>(network: ConditionalNetwork<Times, State, Input>, space: Space<State, Input>) =>
    sampler.sample(classifierFreeGuidance(network, labels, 1000, { scale: 1.8 }, space), start, space);
  const space = deviceSpace();
  if (!space) {
    const program = capture(compute, inputs(2 * rows, 'float32'), { constants: 'bake' });
    const network: ConditionalNetwork<Times> = (x, t, y) =>
      program.run(x, timesOfRows(t, y.length), y)[0] as Float32Array;
    const states = await run(network, hostSpace());
    program.dispose();
    return [states];
  }
  const program = space.program(compute, (count) => inputs(count, 'float64'), 'bake');
  const network: ConditionalNetwork<Times, DeviceRows, DeviceRows> = (x, t, y) =>
    program.run(x, timesOfRows(t, y.length), y)[0];
  const states = await run(network, space);
  program.dispose();
  space.keep();
  return [states];
}

/** Losses and gradient norms of five steps. */
function train(): TypedArray[] {
  const weights = weightsOf(transformerParameters(config));
  const store = new ParameterStore([...weights].map(([name, { shape, data }]) => ({ name, shape, data })));
  const program = captureGradients(
    store,
    (x, t, y) => [tf.mean(tf.squaredDifference(sit(store.tensors, config, x, t, y).output, x))],
    images,
  );
  const numbers: number[] = [];
  for (let step = 1; step <= 5; step++) {
    const [loss] = program.run(...batch);
    const options = { step, lr: 1e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 };
    numbers.push(Number(loss[0]), store.step({ ...options, emaDecays: [0.9999] }));
  }
  program.dispose();
  store.dispose();
  return [Float64Array.from(numbers)];
}

const ENCODER: ViTConfig = {
  ...{ width: 384, depth: 4, heads: 6, patchSize: 14, grid: { height: 16, width: 16 }, inner: 1536, registers: 0 },
  ...{ classToken: true, classPosition: true, feedForward: 'mlp', qkvBias: true, layerScale: true, finalNorm: true },
  ...{ patchBias: true, preNorm: false, activation: 'erf', epsilon: 1e-6 },
};

/** The tokens of a frozen encoder. */
function encode(): TypedArray[] {
  const p = toParameters(weightsOf(vitShapes(ENCODER)));
  const shape = [2, 3, 224, 224];
  const specs: TensorSpec[] = [{ shape, dtype: 'float32' }];
  const program = capture((x) => [vit(p, ENCODER, x).patchTokens], specs, { constants: 'bake' });
  const tokens = program.run(waves(sizeOf(shape), 3, 1));
  program.dispose();
  return tokens;
}

const client = clientOf(findPlugin(undefined).file);
const onnx = new OnnxTarget(1);
const precisions: Precision[] = ['f32', 'bf16'];
for (const precision of precisions) {
  const xla = new XlaTarget(new DeviceCopies(client), new ProgramCache(client, null), precision);
  const errors = OPERATION_NAMES.map((name) => {
    return [distance(xla.evaluate(SAMPLES[name]()), onnx.evaluate(SAMPLES[name]())), name] as const;
  });
  xla.clear();
  const [worst, name] = errors.reduce((a, b) => (b[0] > a[0] ? b : a));
  process.stdout.write(`operations, ${precision}: largest relative error ${worst.toExponential(1)} (${name})\n`);
}

const WORK = { 'sampling step': sample, 'guided samples': sampleGuided, 'five training steps': train, encoder: encode };
for (const [name, work] of Object.entries(WORK)) {
  await selectBackend({ backend: 'onnx' });
  const expected = await work();
  for (const precision of precisions) {
    await selectBackend({ backend: 'xla', precision });
    process.stdout.write(
      `${name}, ${precision}: largest relative error ${distance(await work(), expected).toExponential(1)}\n`,
    );
  }
}
