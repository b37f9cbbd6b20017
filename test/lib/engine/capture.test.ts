import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { capture, conv2d, engineInfo, selectBackend, type TensorSpec, tf } from '../../../src/lib/engine/index.js';
import { isGpuVisible, isInstalled } from '../../../src/lib/engine/tensorflow/start.js';
import { UnavailableError, UsageError } from '../../../src/lib/errors.js';

const vector: TensorSpec = { shape: [3], dtype: 'float32' };

describe('capture', () => {
  before(() => selectBackend({ backend: 'onnx' }));

  test('runs on host arrays, with every output in an array of its own', () => {
    const program = capture(
      (x, i) => [tf.add(x, 1), x, tf.add(x, 1), tf.gather(x, i)],
      [vector, { shape: [2], dtype: 'int32' }],
    );
    const x = Float32Array.of(1, 2, 3);
    const results = program.run(x, Int32Array.of(2, 0));
    assert.deepEqual(
      results.map((result) => [...(result as Float32Array)]),
      [
        [2, 3, 4],
        [1, 2, 3],
        [2, 3, 4],
        [3, 1],
      ],
    );
    (results[0] as Float32Array).fill(0);
    assert.deepEqual([...(program.run(x, Int32Array.of(1, 1))[3] as Float32Array)], [2, 2]);
    assert.deepEqual([...(results[2] as Float32Array)], [2, 3, 4]);
    program.dispose();
  });

  test('tensors around it are read at each run; baked weights of convolutions are not', () => {
    const weights = Float32Array.of(1);
    const kernel = tf.tensor(weights, [1, 1, 1, 1]);
    const image: TensorSpec = { shape: [1, 1, 1, 3], dtype: 'float32' };
    const convolve = (x: tf.Tensor) => [conv2d(x, kernel, null, { stride: 1, padding: [0, 0, 0, 0] })];
    const fed = capture(convolve, [image]);
    const baked = capture(convolve, [image], { constants: 'bake' });
    weights.fill(2);
    const x = Float32Array.of(1, 2, 3);
    assert.deepEqual([...(fed.run(x)[0] as Float32Array)], [2, 4, 6]);
    assert.deepEqual([...(baked.run(x)[0] as Float32Array)], [1, 2, 3]);
  });

  test('numbers and arrays made inside belong to the program', () => {
    let factor = 2;
    const program = capture((x) => [tf.mul(x, factor), tf.add(x, tf.tensor([1, 1, 1]))], [vector]);
    factor = 3;
    const [product, sum] = program.run(Float32Array.of(1, 2, 3));
    assert.deepEqual([...(product as Float32Array)], [2, 4, 6]);
    assert.deepEqual([...(sum as Float32Array)], [2, 3, 4]);
  });

  test('what was pending before is computed once', () => {
    const source = Float32Array.of(1, 2, 3);
    const pending = tf.square(tf.tensor(source));
    const program = capture((x) => [tf.add(x, pending)], [vector]);
    source.fill(100);
    assert.deepEqual([...(program.run(new Float32Array(3))[0] as Float32Array)], [1, 4, 9]);
  });

  test('gradients can be taken inside', () => {
    const program = capture((x) => [tf.grad((y) => tf.sum(tf.pow(y, 3)))(x)], [vector]);
    assert.deepEqual([...(program.run(Float32Array.of(1, 2, 3))[0] as Float32Array)], [3, 12, 27]);
  });

  test('data cannot be read inside, and tensors work again afterwards', () => {
    assert.throws(() => capture((x) => [tf.tensor(x.dataSync())], [vector]), /cannot read the data/);
    assert.deepEqual([...tf.add(tf.tensor([1]), 1).dataSync()], [2]);
  });

  test('inputs that do not fit are errors', () => {
    const program = capture((x) => [x], [vector]);
    assert.throws(() => program.run(), /takes 1 inputs, not 0/);
    assert.throws(() => program.run(new Float32Array(4)), /input 0 .* has 4 elements, not \[3\]/);
  });

  test('memory that runs out is an error that says where', () => {
    const spec: TensorSpec = { shape: [1], dtype: 'float32' };
    const program = capture((x) => [tf.sum(tf.pad(x, [[0, 1e15]]))], [spec]); // 4 PB, more than there are addresses
    assert.throws(
      () => program.run(new Float32Array(1)),
      (error) => error instanceof UnavailableError && /out of memory in the operation Pad/.test(error.message),
    );
  });

  test('an output that no memory holds is the same error', () => {
    const spec: TensorSpec = { shape: [1], dtype: 'float32' };
    const program = capture((x) => [tf.tile(x, [2 ** 50])], [spec]); // 4 PB
    assert.throws(() => program.run(new Float32Array(1)), UnavailableError);
    program.dispose();
  });

  test('no tensor is left behind', () => {
    const before = tf.memory().numTensors;
    capture((x) => [tf.relu(x), tf.keep(tf.neg(x))], [vector]).run(new Float32Array(3));
    assert.equal(tf.memory().numTensors, before + 1);
  });
});

describe('backend', () => {
  test('says what it is', async () => {
    assert.equal(await selectBackend({ backend: 'onnx', threads: 1 }), 'onnx');
    const { backend, version, threads } = engineInfo();
    assert.deepEqual([backend, threads], ['onnx', 1]);
    assert.match(version, /^\d+\.\d+\.\d+/);
  });

  const other = isGpuVisible() || Boolean(process.env.REPA_PJRT_PLUGIN);
  test('of choice, where there is no GPU and no plugin is named, is onnx', { skip: other }, async () => {
    assert.equal(await selectBackend({ backend: 'auto', threads: 1 }), 'onnx');
  });

  const skip = isInstalled('tensorflow-gpu');
  test('that is not installed is an error that says how to install it', { skip }, async () => {
    await assert.rejects(
      selectBackend({ backend: 'tensorflow-gpu' }),
      (error) => error instanceof UnavailableError && /npm install @tensorflow\/tfjs-node-gpu/.test(error.hint ?? ''),
    );
  });

  test('of an unknown name is an error', async () => {
    await assert.rejects(selectBackend({ backend: 'abacus' as 'onnx' }), UsageError);
  });

  test('without products of a precision is an error that names those it has', async () => {
    for (const [backend, precision, known] of [
      ['onnx', 'f16', /--precision f32 or f32x2 or bf16, /],
      ['webgpu', 'bf16', /--precision f32 or f16, /],
      ['xla', 'f16', /--precision f32 or bf16, /],
    ] as const) {
      await assert.rejects(
        selectBackend({ backend, precision }),
        (error) => error instanceof UsageError && known.test(error.hint ?? ''),
      );
    }
  });

  test('operations that it lacks are named', () => {
    assert.throws(() => tf.fft(tf.complex([1], [0])), /Complex|FFT/);
  });
});
