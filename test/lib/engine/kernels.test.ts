import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';

const close = (tensor: tf.Tensor, expected: number[], tolerance = 1e-6) => {
  const actual = tensor.dataSync();
  assert.equal(actual.length, expected.length);
  expected.forEach((value, index) => {
    const equal =
      Object.is(actual[index], value) || Math.abs(actual[index] - value) <= tolerance * (1 + Math.abs(value));
    assert.ok(equal, `element ${index}: ${actual[index]}, expected ${value}`);
  });
};

describe('tensor operations', () => {
  before(() => selectBackend());

  const x = [-2.5, -1, -0.5, 0, 0.5, 1, 2.5];
  const unary: [string, (t: tf.Tensor) => tf.Tensor, (value: number) => number][] = [
    ['abs', tf.abs, Math.abs],
    ['atan', tf.atan, Math.atan],
    ['ceil', tf.ceil, (v) => Math.ceil(v) + 0],
    ['cos', tf.cos, Math.cos],
    ['exp', tf.exp, Math.exp],
    ['expm1', tf.expm1, Math.expm1],
    ['floor', tf.floor, Math.floor],
    ['log of 1 + x^2', (t) => tf.log1p(tf.square(t)), (v) => Math.log1p(v * v)],
    ['negative', tf.neg, (v) => 0 - v],
    ['reciprocal', (t) => tf.reciprocal(tf.add(t, 10)), (v) => 1 / (v + 10)],
    ['relu', tf.relu, (v) => Math.max(v, 0)],
    ['relu6', (t) => tf.relu6(tf.mul(t, 4)), (v) => Math.min(Math.max(4 * v, 0), 6)],
    ['leaky relu', (t) => tf.leakyRelu(t, 0.25), (v) => (v > 0 ? v : v / 4)],
    ['round half to even', tf.round, (v) => [-2, -1, 0, 0, 0, 1, 2][x.indexOf(v)]],
    ['rsqrt', (t) => tf.rsqrt(tf.add(t, 4)), (v) => 1 / Math.sqrt(v + 4)],
    ['sigmoid', tf.sigmoid, (v) => 1 / (1 + Math.exp(-v))],
    ['sign', tf.sign, Math.sign],
    ['sin', tf.sin, Math.sin],
    ['softplus', tf.softplus, (v) => Math.log1p(Math.exp(v))],
    ['sqrt', (t) => tf.sqrt(tf.add(t, 4)), (v) => Math.sqrt(v + 4)],
    ['step', (t) => tf.step(t, 0.5), (v) => (v > 0 ? 1 : 0.5)],
    ['tan', tf.tan, Math.tan],
    ['tanh', tf.tanh, Math.tanh],
    ['clip', (t) => tf.clipByValue(t, -1, 0.75), (v) => Math.min(Math.max(v, -1), 0.75)],
  ];
  for (const [name, operation, definition] of unary) {
    test(name, () => close(operation(tf.tensor(x)), x.map(definition), 2e-6));
  }

  test('arithmetic broadcasts in both directions', () => {
    const column = tf.tensor([1, 2], [2, 1]);
    const row = tf.tensor([3, 5, 7], [3]);
    close(tf.add(column, row), [4, 6, 8, 5, 7, 9]);
    close(tf.sub(row, column), [2, 4, 6, 1, 3, 5]);
    close(tf.mul(column, row), [3, 5, 7, 6, 10, 14]);
    close(tf.div(row, column), [3, 5, 7, 1.5, 2.5, 3.5]);
    close(tf.pow(row, column), [3, 5, 7, 9, 25, 49]);
    close(tf.maximum(tf.mul(column, 3), row), [3, 5, 7, 6, 6, 7]);
    close(tf.minimum(tf.mul(column, 3), row), [3, 3, 3, 3, 5, 6]);
    close(tf.squaredDifference(column, row), [4, 16, 36, 1, 9, 25]);
    close(tf.addN([row, row, row]), [9, 15, 21]);
    assert.throws(() => tf.add(tf.zeros([2]), tf.zeros([3])), /broadcast|incompatible/i);
  });

  test('division of integers rounds down', () => {
    const a = tf.tensor([7, -7, 6], [3], 'int32');
    const b = tf.tensor([2, 2, -3], [3], 'int32');
    close(tf.floorDiv(a, b), [3, -4, -2]);
    close(tf.mod(a, b), [1, 1, 0]);
    assert.equal(tf.floorDiv(a, b).dtype, 'int32');
  });

  test('comparisons and choices', () => {
    const a = tf.tensor([1, 2, 3]);
    const b = tf.tensor([2, 2, 2]);
    close(tf.greater(a, b), [0, 0, 1]);
    close(tf.greaterEqual(a, b), [0, 1, 1]);
    close(tf.less(a, b), [1, 0, 0]);
    close(tf.lessEqual(a, b), [1, 1, 0]);
    close(tf.equal(a, b), [0, 1, 0]);
    close(tf.notEqual(a, b), [1, 0, 1]);
    close(tf.logicalAnd(tf.less(a, 3), tf.greater(a, 1)), [0, 1, 0]);
    close(tf.logicalOr(tf.less(a, 2), tf.greater(a, 2)), [1, 0, 1]);
    close(tf.logicalNot(tf.less(a, 2)), [0, 1, 1]);
    close(tf.where(tf.less(a, b), a, tf.neg(b)), [1, -2, -2]);
    const special = tf.tensor([1, Number.NaN, Number.POSITIVE_INFINITY]);
    close(tf.isNaN(special), [0, 1, 0]);
    close(tf.isInf(special), [0, 0, 1]);
    close(tf.isFinite(special), [1, 0, 0]);
  });

  test('reductions', () => {
    const t = tf.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    close(tf.sum(t), [21]);
    close(tf.sum(t, 0), [5, 7, 9]);
    close(tf.mean(t, -1), [2, 5]);
    assert.deepEqual(tf.mean(t, 1, true).shape, [2, 1]);
    close(tf.max(t, 1), [3, 6]);
    close(tf.min(t, 0), [1, 2, 3]);
    close(tf.prod(t, 1), [6, 120]);
    close(tf.argMax(t, 1), [2, 2]);
    close(tf.argMin(t, 0), [0, 0, 0]);
    close(tf.cumsum(t, 1, true), [0, 1, 3, 0, 4, 9]);
    close(tf.any(tf.greater(t, 5), 1), [0, 1]);
    close(tf.all(tf.greater(t, 1), 1), [0, 1]);
    close(tf.logSumExp(t), [6 + Math.log(Array.from({ length: 6 }, (_, i) => Math.exp(-i)).reduce((a, b) => a + b))]);
    const { values, indices } = tf.topk(tf.tensor([3, 9, 4, 7]), 2);
    close(values, [9, 7]);
    close(indices, [1, 3]);
    const { mean, variance } = tf.moments(t, 1);
    close(mean, [2, 5]);
    close(variance, [2 / 3, 2 / 3]);
    close(tf.softmax(tf.tensor([0, Math.log(3)])), [0.25, 0.75]);
    close(tf.logSoftmax(tf.tensor([0, Math.log(3)])), [Math.log(0.25), Math.log(0.75)]);
  });

  test('shapes', () => {
    const t = tf.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    close(tf.transpose(t), [1, 4, 2, 5, 3, 6]);
    close(tf.reshape(t, [3, -1]), [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(tf.expandDims(t, -1).shape, [2, 3, 1]);
    assert.deepEqual(tf.squeeze(tf.expandDims(t, 0)).shape, [2, 3]);
    close(tf.slice(t, [0, 1], [2, -1]), [2, 3, 5, 6]);
    close(tf.pad(tf.tensor([1, 2]), [[1, 2]], 9), [9, 1, 2, 9, 9]);
    close(tf.tile(tf.tensor([1, 2]), [2]), [1, 2, 1, 2]);
    close(tf.broadcastTo(tf.tensor([1, 2], [2, 1]), [2, 2]), [1, 1, 2, 2]);
    close(tf.reverse(t, 1), [3, 2, 1, 6, 5, 4]);
    close(tf.concat([t, tf.tensor([7, 8], [2, 1])], 1), [1, 2, 3, 7, 4, 5, 6, 8]);
    close(tf.stack([tf.tensor([1, 2]), tf.tensor([3, 4])], 1), [1, 3, 2, 4]);
    const [left, right] = tf.split(t, [1, 2], 1);
    close(left, [1, 4]);
    close(right, [2, 3, 5, 6]);
    close(tf.unstack(t)[1], [4, 5, 6]);
    close(tf.gather(t, tf.tensor([2, 0], [2], 'int32'), 1), [3, 1, 6, 4]);
    close(tf.oneHot(tf.tensor([2, 0], [2], 'int32'), 3), [0, 0, 1, 1, 0, 0]);
    close(tf.zerosLike(t), [0, 0, 0, 0, 0, 0]);
    close(tf.onesLike(left), [1, 1]);
    close(tf.fill([2], 5), [5, 5]);
    close(tf.cast(tf.tensor([1.9, -1.9]), 'int32'), [1, -1]);
    assert.throws(() => tf.concat([t, tf.zeros([3, 1])], 1), /[Cc]oncat/);
  });

  test('matrix products, transposed and batched', () => {
    const a = tf.tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    const b = tf.tensor([1, 0, 2, 0, 1, 1], [3, 2]);
    close(tf.matMul(a, b), [8, 3, 20, 6]);
    close(tf.matMul(a, a, false, true), [14, 32, 32, 77]);
    close(tf.matMul(a, a, true, false), [17, 22, 27, 22, 29, 36, 27, 36, 45]);
    const batch = tf.stack([a, tf.mul(a, 2)]);
    close(tf.matMul(batch, tf.stack([b, b])), [8, 3, 20, 6, 16, 6, 40, 12]);
    close(tf.matMul(batch, batch, false, true), [14, 32, 32, 77, 56, 128, 128, 308]);
    assert.throws(() => tf.matMul(a, a), /inner shapes|incompatible/i);
  });

  test('gradients reach every input through shapes, broadcasts and reductions', () => {
    const embed = tf.tensor([1, 2, 3, 4, 5, 6], [3, 2]);
    const rows = tf.tensor([2, 0, 2], [3], 'int32');
    // Row 0 is gathered once, row 2 twice.
    close(tf.grad((table) => tf.sum(tf.gather(table, rows)))(embed), [1, 1, 0, 0, 2, 2]);
    // mean over 6 of (x^T - b)^2, b broadcast over rows.
    const b = tf.tensor([1, 2, 3]);
    const [dx, db] = tf.grads((t, u) => tf.mean(tf.square(tf.sub(tf.transpose(t), u))))([embed, b]);
    close(
      dx,
      [0, 1, 1, 2, 2, 3].map((difference) => difference / 3),
    );
    close(db, [-1 / 3, -1, -5 / 3]);
    const parts = tf.grad((t) => tf.sum(tf.mul(tf.split(t, 2, 1)[1], tf.reshape(tf.unstack(t, 1)[0], [3, 1]))))(embed);
    close(parts, [2, 1, 4, 3, 6, 5]);
    close(tf.grad((t) => tf.sum(tf.mul(tf.slice(t, [1, 0], [1, 2]), 3)))(embed), [0, 0, 3, 3, 0, 0]);
    close(tf.grad((t) => tf.sum(tf.concat([t, tf.mul(t, 2)], 0)))(embed), [3, 3, 3, 3, 3, 3]);
    close(tf.grad((t) => tf.sum(tf.relu(tf.sub(t, 3))))(embed), [0, 0, 0, 1, 1, 1]);
    close(tf.grad((t) => tf.sum(tf.clipByValue(t, 2, 4)))(embed), [0, 1, 1, 1, 0, 0]);
    close(tf.grad((t) => tf.sum(tf.maximum(t, 3.5)))(embed), [0, 0, 0, 1, 1, 1]);
    const y = [0.25, 0.75];
    close(tf.grad((t) => tf.sum(tf.slice(tf.softmax(t), [1], [1])))(tf.tensor([0, Math.log(3)])), [
      -y[0] * y[1],
      y[0] * y[1],
    ]);
  });
});
