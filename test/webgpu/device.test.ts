import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { graphBackend } from '../../src/lib/engine/graph/backend.js';
import { OPERATION_NAMES } from '../../src/lib/engine/graph/operations.js';
import { op, operation, Value } from '../../src/lib/engine/graph/value.js';
import { capture, selectBackend, tf } from '../../src/lib/engine/index.js';
import { lower } from '../../src/lib/engine/onnx/lower/index.js';
import { CPU_LOWERING } from '../../src/lib/engine/onnx/lower/lowering.js';
import { SessionCache } from '../../src/lib/engine/onnx/session-cache.js';
import { DataError } from '../../src/lib/errors.js';
import type { TypedArray } from '../../src/lib/numbers/typed-array.js';
import { captureGradients, ParameterStore, type StepOptions } from '../../src/lib/optim/index.js';
import { SAMPLES } from '../lib/engine/operation-samples.js';
import { assertClose, largestMagnitude } from '../tensors.js';

before(() => selectBackend({ backend: 'webgpu', threads: 2 }));

describe('operations on the device', () => {
  const processor = new SessionCache(4);

  for (const name of OPERATION_NAMES) {
    test(name, () => {
      const tolerance = name === 'unary' ? 5e-4 : 4e-6; // Vulkan lets acos and asin be that far off
      const wanted = SAMPLES[name]();
      const { graph, feeds } = lower(wanted, CPU_LOWERING, () => false);
      const expected = processor.get(graph, 1).run(feeds.map(({ data }) => data!));
      const program = graphBackend().target.load(wanted, [], 'feed', {});
      program.run([]).forEach((actual, i) => {
        const numbers = (array: TypedArray) =>
          Float64Array.from(array as Float32Array, (v) => (Number.isFinite(v) ? v : 0));
        const scale = Math.max(1, largestMagnitude(numbers(expected[i])));
        assertClose(numbers(actual), numbers(expected[i]), tolerance * scale, `${name}, output ${i}`);
      });
      program.dispose();
    });
  }
});

// ONNX Runtime binds it as two buffers, of which some of its kernels see the first alone.
test('a tensor above the largest binding is computed whole', () => {
  const [rows, size, seen] = [34 * 1024, 1024, 4]; // 136 MiB
  const data = Float32Array.from({ length: rows * size }, (_, i) => Math.sin(0.7131 * i + (i >>> 16)));
  const last = (name: 'softmax' | 'layerNorm', x: Value): Value => {
    const [y] =
      name === 'softmax' ? operation('softmax', [x], { axis: 1 }) : operation('layerNorm', [x], { epsilon: 1e-6 }); // [rows, size]
    return op('slice', [y], { start: [x.shape[0] - seen, 0], size: [seen, size], step: [1, 1] });
  };
  const input = (count: number): Value => new Value('float32', [count, size], { kind: 'input' });
  const compute = (count: number, values: Float32Array): Float32Array[] => {
    const x = input(count);
    const program = graphBackend().target.load([last('softmax', x), last('layerNorm', x)], [x], 'feed', {});
    const results = program.run([values]) as Float32Array[];
    program.dispose();
    return results;
  };
  const whole = compute(rows, data);
  compute(seen, data.slice(-seen * size)).forEach((expected, i) => {
    assertClose(whole[i], expected, 1e-6 * largestMagnitude(expected), `result ${i}`);
  });
});

test('products in f16 are those of f32 to its rounding, and other operations stay as they are', async () => {
  const compute = (name: 'product' | 'layerNorm') => {
    const program = graphBackend().target.load(SAMPLES[name](), [], 'feed', {});
    const results = program.run([]) as Float32Array[];
    program.dispose();
    return results;
  };
  const whole = [compute('product'), compute('layerNorm')];
  await selectBackend({ backend: 'webgpu', threads: 2, precision: 'f16' });
  const half = [compute('product'), compute('layerNorm')];
  await selectBackend({ backend: 'webgpu', threads: 2 });
  half[0].forEach((actual, i) => {
    assertClose(actual, whole[0][i], 4e-3, `product ${i}`);
  });
  assert.notDeepEqual(half[0], whole[0]);
  assert.deepEqual(half[1], whole[1]);
});

describe('arrays with copies on the device', () => {
  test('are read by programs as they are when these are made, and again when they are said to be written', () => {
    const weights = Float32Array.of(1, 2, 3);
    const tensor = tf.tensor(weights);
    const program = capture(
      (x) => [tf.mul(x, tensor), tf.mul(x, tf.reshape(tensor, [3, 1]))],
      [{ shape: [3], dtype: 'float32' }],
    );
    const run = () => [...(program.run(Float32Array.of(1, 1, 1))[0] as Float32Array)];
    assert.deepEqual(run(), [1, 2, 3]);
    assert.deepEqual(run(), [1, 2, 3]);
    assert.deepEqual([...tf.add(tensor, 1).dataSync()], [2, 3, 4]);
    program.dispose();
  });
});

describe('parameters on the device', () => {
  const STEP: StepOptions = {
    ...{ step: 1, lr: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
    ...{ clip: 1, emaDecays: [0.5] },
  };
  const spec = { shape: [2], dtype: 'float32' } as const;

  /** Follows losses whose gradient is the input. */
  function stepped(batches: readonly number[][], options = STEP) {
    const store = new ParameterStore([{ name: 'w', shape: [2], data: Float32Array.of(1, -1) }], { accumulation: true });
    const gradients = captureGradients(store, (x) => [tf.sum(tf.mul(store.tensors.w, x))], [spec]);
    const losses = batches.map((batch, i) => {
      const [[loss]] = gradients.run(Float32Array.from(batch)) as Float32Array[];
      if (i < batches.length - 1) store.accumulateGradients();
      return loss;
    });
    if (batches.length > 1) store.averageGradients(batches.length);
    const norm = store.step(options);
    const [{ value, averages, firstMoment, secondMoment }] = store.parameters;
    const results = [losses, [norm], value, averages[0], firstMoment!, secondMoment!].map((array) => [...array]);
    gradients.dispose();
    store.dispose();
    return results;
  }

  const cases: [string, number[][]][] = [
    ['of one batch', [[0.5, 2]]],
    [
      'of the mean of three',
      [
        [3, 0],
        [0, 1],
        [0, 0.5],
      ],
    ],
  ];
  for (const [what, batches] of cases) {
    test(`follow the gradient ${what} as in the host's memory`, async () => {
      const device = stepped(batches);
      await selectBackend({ backend: 'onnx' });
      const host = stepped(batches);
      await selectBackend({ backend: 'webgpu', threads: 2 });
      device.forEach((array, i) => {
        assertClose(array, host[i], 1e-6, `quantity ${i}`);
      });
    });
  }

  test('stay as they are when a gradient is not finite, and the error names it', () => {
    const store = new ParameterStore([{ name: 'w', shape: [2], data: Float32Array.of(1, -1) }]);
    const gradients = captureGradients(store, (x) => [tf.sum(tf.mul(store.tensors.w, x))], [spec]);
    gradients.run(Float32Array.of(Number.NaN, 1));
    assert.throws(
      () => store.step(STEP),
      (error) => error instanceof DataError && /step 1: the gradient of w is not finite/.test(error.message),
    );
    assert.deepEqual([...store.parameters[0].value], [1, -1]);
    gradients.run(Float32Array.of(1, 1));
    store.step(STEP);
    assert.ok(store.parameters[0].value.every((value) => Number.isFinite(value) && Math.abs(value) !== 1));
    gradients.dispose();
    store.dispose();
  });

  test('take no more memory with each step', () => {
    const store = new ParameterStore([{ name: 'w', shape: [256, 256] }]);
    const gradients = captureGradients(store, (x) => [tf.mean(tf.matMul(x, store.tensors.w))], [
      { shape: [256, 256], dtype: 'float32' },
    ]);
    const input = new Float32Array(256 * 256).fill(0.5);
    const steps = (from: number, to: number) => {
      for (let step = from; step <= to; step++) {
        gradients.run(input);
        store.step({ ...STEP, step });
      }
    };
    steps(1, 200);
    const before = process.memoryUsage.rss();
    steps(201, 1000);
    const grown = process.memoryUsage.rss() - before;
    assert.ok(grown < 32 * 2 ** 20, `${grown} bytes in 800 steps, of which each uploads 256 KiB`);
    gradients.dispose();
    store.dispose();
  });
});
