import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { DataError } from '../../../src/lib/errors.js';
import { captureGradients, type ParameterSpec, ParameterStore } from '../../../src/lib/optim/index.js';

// An epsilon of the size of the gradients: where it stands in the formula makes a difference.
const ADAMW = { lr: 1e-2, beta1: 0.9, beta2: 0.99, epsilon: 1e-3, weightDecay: 0.1 };

const wave = (length: number, phase: number): Float32Array =>
  Float32Array.from({ length }, (_, index) => Math.sin(index + phase));

/** A layer of 3 x 5 with a frozen offset, and a parameter that the loss does not use. */
const specs = (): (ParameterSpec & { data: Float32Array })[] => [
  { name: 'weight', shape: [3, 5], data: wave(15, 0) },
  { name: 'offset', shape: [5], data: wave(5, 1), learning: 'frozen' },
  { name: 'bias', shape: [3], data: wave(3, 2) },
  { name: 'unused', shape: [2], data: wave(2, 3) },
];

const ROWS = 4;
const inputs = [{ shape: [ROWS, 5], dtype: 'float32' as const }];
const input = wave(ROWS * 5, 4);

/** Mean of tanh((x + offset) W^T + b)^2, and the mean of its root. */
function lossOf(store: ParameterStore) {
  const { weight, offset, bias } = store.tensors;
  return (x: tf.Tensor): tf.Tensor[] => {
    const y = tf.tanh(tf.add(tf.matMul(tf.add(x, offset) as tf.Tensor2D, weight as tf.Tensor2D, false, true), bias));
    return [tf.mean(tf.square(y)), tf.mean(y)];
  };
}

/** The same loss in float64. */
function hostLoss(values: Record<string, Float64Array>): number {
  let total = 0;
  for (let row = 0; row < ROWS; row++) {
    for (let out = 0; out < 3; out++) {
      let sum = values.bias[out];
      for (let i = 0; i < 5; i++) sum += (input[row * 5 + i] + values.offset[i]) * values.weight[out * 5 + i];
      total += Math.tanh(sum) ** 2;
    }
  }
  return total / (ROWS * 3);
}

function hostGradient(values: Record<string, Float64Array>, name: string): Float64Array {
  const array = values[name];
  return array.map((original, index) => {
    const at = (value: number) => {
      array[index] = value;
      return hostLoss(values);
    };
    const slope = (at(original + 1e-5) - at(original - 1e-5)) / 2e-5;
    array[index] = original;
    return slope;
  });
}

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    assert.ok(Math.abs(actual[i] - expected[i]) <= tolerance, `element ${i}: ${actual[i]}, expected ${expected[i]}`);
  }
}

const find = (store: ParameterStore, name: string) => store.parameters.find((parameter) => parameter.name === name)!;

/** Writes gradients as ranks that sum them do: a store that lies on a device hears of it. */
function setGradients(store: ParameterStore, gradients: Iterable<[string, ArrayLike<number>]>): void {
  const all = [...gradients];
  store.exchangeGradients(() => {
    for (const [name, gradient] of all) find(store, name).gradient!.set(gradient);
  });
}

describe('parameter store', () => {
  before(() => selectBackend());

  test('captured gradients equal numeric ones, and the other results are handed through', () => {
    const store = new ParameterStore(specs());
    const step = captureGradients(store, lossOf(store), inputs);
    const values = Object.fromEntries(specs().map(({ name, data }) => [name, Float64Array.from(data)]));
    find(store, 'unused').gradient!.fill(7);
    const [loss, mean] = step.run(input);
    assertClose(loss as Float32Array, [hostLoss(values)], 1e-6);
    assert.ok(Math.abs(Number(mean[0])) < 1 && Number(mean[0]) !== 0);
    for (const name of ['weight', 'bias']) assertClose(find(store, name).gradient!, hostGradient(values, name), 1e-6);
    assertClose(find(store, 'unused').gradient!, [0, 0], 0);
    assert.equal(find(store, 'offset').gradient, null);
  });

  test('steps follow AdamW, clipping and moving averages as PyTorch defines them', () => {
    const store = new ParameterStore(specs());
    const trainable = specs().filter(({ learning }) => learning !== 'frozen');
    const copies = () => new Map(specs().map(({ name, data }) => [name, Float64Array.from(data)]));
    const zeros = () => new Map(specs().map(({ name, data }) => [name, new Float64Array(data.length)]));
    const [values, ema, first, second] = [copies(), copies(), zeros(), zeros()];
    for (let step = 1; step <= 20; step++) {
      const gradients = new Map(trainable.map(({ name, data }) => [name, wave(data.length, 7 * step)]));
      setGradients(store, gradients);
      const norm = store.step({ ...ADAMW, step, clip: 0.1, emaDecays: [0.9] });

      const squares = [...gradients.values()].flatMap((gradient) => [...gradient].map((g) => g * g));
      const hostNorm = Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
      assertClose([norm], [hostNorm], 1e-5);
      for (const [name, gradient] of gradients) {
        const [p, m, v] = [values.get(name)!, first.get(name)!, second.get(name)!];
        gradient.forEach((slope, i) => {
          const g = slope * Math.min(1, 0.1 / (hostNorm + 1e-6));
          m[i] = ADAMW.beta1 * m[i] + (1 - ADAMW.beta1) * g;
          v[i] = ADAMW.beta2 * v[i] + (1 - ADAMW.beta2) * g * g;
          const [mHat, vHat] = [m[i] / (1 - ADAMW.beta1 ** step), v[i] / (1 - ADAMW.beta2 ** step)];
          p[i] -= ADAMW.lr * ADAMW.weightDecay * p[i];
          p[i] -= (ADAMW.lr * mHat) / (Math.sqrt(vHat) + ADAMW.epsilon);
        });
      }
      for (const [name, average] of ema) {
        average.forEach((mean, i) => {
          average[i] = 0.9 * mean + 0.1 * values.get(name)![i];
        });
      }
    }
    for (const { name } of specs()) {
      assertClose(find(store, name).value, values.get(name)!, 1e-6);
      assertClose(store.tensors[name].dataSync(), values.get(name)!, 1e-6);
      assertClose(store.emaTensors[name].dataSync(), ema.get(name)!, 1e-6);
    }
    for (const { name } of trainable) {
      assertClose(find(store, name).firstMoment!, first.get(name)!, 1e-8);
      assertClose(find(store, name).secondMoment!, second.get(name)!, 1e-9);
    }
  });

  test('a model spread over several memories trains the same', () => {
    const train = (memoryBytes: number) => {
      const store = new ParameterStore(specs(), { memoryBytes });
      const gradients = captureGradients(store, lossOf(store), inputs);
      for (let step = 1; step <= 3; step++) {
        gradients.run(input);
        store.step({ ...ADAMW, step, clip: 0.1, emaDecays: [0.99] });
      }
      let buffers = 0;
      store.exchangeGradients(() => buffers++);
      return { buffers, values: store.parameters.map(({ value }) => [...value]) };
    };
    const [one, many] = [train(2 ** 20), train(400)];
    assert.equal(one.buffers, 1);
    assert.equal(many.buffers, 3);
    assert.deepEqual(many.values, one.values);
  });

  test('gradients of several batches average', () => {
    const store = new ParameterStore(specs(), { accumulation: true });
    const set = (gradient: readonly number[]) => setGradients(store, [['bias', gradient]]);
    for (let repeat = 0; repeat < 2; repeat++) {
      set([1, 2, 3]);
      store.accumulateGradients();
      set([2, 4, 9]);
      store.accumulateGradients();
      set([3, 0, 0]);
      store.averageGradients(3);
      assert.deepEqual([...find(store, 'bias').gradient!], [2, 2, 4]);
    }
    assert.throws(() => new ParameterStore(specs()).accumulateGradients(), /without room/);
  });

  test('a gradient that is not finite is refused by name and changes nothing', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const store = new ParameterStore(specs());
      find(store, 'bias').gradient![1] = bad;
      assert.ok(!Number.isFinite(store.gradientNorm()));
      assert.throws(
        () => store.step({ ...ADAMW, step: 5, clip: 1, emaDecays: [0.9] }),
        (error) => error instanceof DataError && /step 5: the gradient of bias is not finite/.test(error.message),
      );
      assert.deepEqual([...find(store, 'bias').value], [...wave(3, 2)]);
    }
  });

  test('the norm neither overflows nor underflows where the squares of float32 do', () => {
    const store = new ParameterStore([{ name: 'p', shape: [2], data: new Float32Array(2) }]);
    find(store, 'p').gradient!.set([3e30, 4e30]);
    assertClose([store.gradientNorm() / 5e30], [1], 1e-6);
    find(store, 'p').gradient!.set([3e-30, 4e-30]);
    assertClose([store.gradientNorm() / 5e-30], [1], 1e-6);
  });

  test('parameters whose data does not fit their shape are refused', () => {
    assert.throws(() => new ParameterStore([{ name: 'p', shape: [2, 2], data: new Float32Array(3) }]), /parameter p/);
  });
});
