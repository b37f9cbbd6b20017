/** Kernels that work element by element, with broadcasting. */
import { sameShape } from '../../../numbers/typed-array.js';
import * as tf from '../../tfjs.js';
import { cast, expand, fill, float, op, scalar, type Value } from '../graph.js';
import type { ElementType } from '../model.js';
import { defineKernel } from './define.js';

const broadcastShape = (a: Value, b: Value): number[] =>
  tf.broadcast_util.assertAndGetBroadcastShape([...a.shape], [...b.shape]);

/** A broadcast operand needs no Expand where the other operand has the full shape. */
const withoutExpand = (value: Value, other: Value, shape: readonly number[]): Value =>
  value.producer?.type === 'Expand' && sameShape(other.shape, shape) ? value.producer.inputs[0]! : value;

function isOne(value: Value): boolean {
  const source = value.producer?.type === 'Expand' ? value.producer.inputs[0]! : value;
  return source.kind === 'constant' && source.shape.length === 0 && source.data![0] === 1;
}

function broadcast(type: string, a: Value, b: Value, dtype: ElementType = a.dtype): Value {
  const shape = broadcastShape(a, b);
  const left = withoutExpand(a, b, shape);
  return op(type, [left, withoutExpand(b, left, shape)], dtype, shape);
}

function multiply(a: Value, b: Value): Value {
  if (isOne(a)) return expand(b, broadcastShape(a, b));
  if (isOne(b)) return expand(a, broadcastShape(a, b));
  return broadcast('Mul', a, b);
}

const unary = (type: string, x: Value): Value => op(type, [x], x.dtype, x.shape);
const test = (type: string, x: Value): Value => op(type, [x], 'bool', x.shape);
const not = (x: Value): Value => unary('Not', x);
const clip = (x: Value, low: number, high: number): Value =>
  op('Clip', [x, scalar(low, x.dtype), scalar(high, x.dtype)], x.dtype, x.shape);

/** Rounded towards minus infinity, for integers as well. */
const floorDivide = (a: Value, b: Value): Value =>
  cast(unary('Floor', broadcast('Div', cast(a, 'float32'), cast(b, 'float32'))), a.dtype);

defineKernel('Multiply', ({ a, b }) => multiply(a, b));
for (const [kernel, type] of [
  ['Add', 'Add'],
  ['Sub', 'Sub'],
  ['RealDiv', 'Div'],
  ['Maximum', 'Max'],
  ['Minimum', 'Min'],
  ['Pow', 'Pow'],
]) {
  defineKernel(kernel, ({ a, b }) => broadcast(type, a, b));
}
for (const [kernel, type] of [
  ['Greater', 'Greater'],
  ['GreaterEqual', 'GreaterOrEqual'],
  ['Less', 'Less'],
  ['LessEqual', 'LessOrEqual'],
  ['Equal', 'Equal'],
  ['LogicalAnd', 'And'],
  ['LogicalOr', 'Or'],
]) {
  defineKernel(kernel, ({ a, b }) => broadcast(type, a, b, 'bool'));
}
defineKernel('NotEqual', ({ a, b }) => not(broadcast('Equal', a, b, 'bool')));
defineKernel('LogicalNot', ({ x }) => not(x));
defineKernel('FloorDiv', ({ a, b }) => floorDivide(a, b));
defineKernel('Mod', ({ a, b }) => broadcast('Sub', a, multiply(floorDivide(a, b), b)));
defineKernel('SquaredDifference', ({ a, b }) => {
  const difference = broadcast('Sub', a, b);
  return multiply(difference, difference);
});
defineKernel('AddN', (inputs) => {
  const values = Object.values(inputs);
  return op('Sum', values, values[0].dtype, values[0].shape);
});

// Named alike in tfjs and in ONNX.
for (const type of [
  'Abs',
  'Acos',
  'Asin',
  'Atan',
  'Ceil',
  'Cos',
  'Erf',
  'Exp',
  'Floor',
  'Log',
  'Neg',
  'Reciprocal',
  'Relu',
  'Round',
  'Sigmoid',
  'Sign',
  'Sin',
  'Softplus',
  'Sqrt',
  'Tan',
  'Tanh',
]) {
  defineKernel(type, ({ x }) => unary(type, x));
}
defineKernel('Rsqrt', ({ x }) => unary('Reciprocal', unary('Sqrt', x)));
defineKernel('Square', ({ x }) => multiply(x, x));
defineKernel('Expm1', ({ x }) => broadcast('Sub', unary('Exp', x), scalar(1)));
defineKernel('Log1p', ({ x }) => unary('Log', broadcast('Add', x, scalar(1))));
defineKernel('Relu6', ({ x }) => clip(x, 0, 6));
defineKernel('IsNan', ({ x }) => test('IsNaN', x));
defineKernel('IsInf', ({ x }) => test('IsInf', x));
defineKernel('IsFinite', ({ x }) => not(broadcast('Or', test('IsNaN', x), test('IsInf', x))));
defineKernel<{ alpha: number }>('LeakyRelu', ({ x }, { alpha }) =>
  op('LeakyRelu', [x], x.dtype, x.shape, { alpha: float(alpha) }),
);
defineKernel<{ alpha: number }>('Step', ({ x }, { alpha }) => {
  const positive = broadcast('Greater', x, scalar(0, x.dtype), 'bool');
  return op('Where', [positive, scalar(1, x.dtype), scalar(alpha, x.dtype)], x.dtype, x.shape);
});
defineKernel<{ clipValueMin: number; clipValueMax: number }>('ClipByValue', ({ x }, { clipValueMin, clipValueMax }) =>
  clip(x, clipValueMin, clipValueMax),
);
defineKernel('Select', ({ condition, t, e }) => {
  const shape = tf.broadcast_util.assertAndGetBroadcastShape([...condition.shape], broadcastShape(t, e));
  return op('Where', [condition, t, e], t.dtype, shape);
});

defineKernel<{ dtype: ElementType }>('Cast', ({ x }, { dtype }) => cast(x, dtype));
defineKernel('Identity', ({ x }) => x);
defineKernel('ZerosLike', ({ x }) => fill(0, x.dtype, x.shape));
defineKernel('OnesLike', ({ x }) => fill(1, x.dtype, x.shape));
defineKernel<{ shape: number[]; value: number; dtype?: ElementType }>('Fill', (_, { shape, value, dtype }) =>
  fill(value, dtype ?? 'float32', shape),
);
