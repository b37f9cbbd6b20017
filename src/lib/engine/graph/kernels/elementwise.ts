/** Kernels that work element by element, with broadcasting. */
import { sameShape } from '../../../numbers/typed-array.js';
import * as tf from '../../tfjs.js';
import type { Binary, ElementType, Relation, Unary } from '../operations.js';
import { broadcast, cast, fill, op, producerOf, scalar, type Value } from '../value.js';
import { defineKernel } from './define.js';

const broadcastShape = (a: Value, b: Value): number[] =>
  tf.broadcast_util.assertAndGetBroadcastShape([...a.shape], [...b.shape]);

/** What a value is a broadcast of, or the value itself. */
const narrow = (value: Value): Value => producerOf(value, 'broadcast')?.inputs[0] ?? value;

/** A broadcast operand may stay narrow where the other operand has the full shape. */
function operands(a: Value, b: Value): [Value, Value] {
  const shape = broadcastShape(a, b);
  const left = sameShape(b.shape, shape) ? narrow(a) : a;
  return [left, sameShape(left.shape, shape) ? narrow(b) : b];
}

const binary = (name: Binary, a: Value, b: Value): Value => op('binary', operands(a, b), { function: name });
const compare = (relation: Relation, a: Value, b: Value): Value => op('compare', operands(a, b), { relation });
const unary = (name: Unary, x: Value): Value => op('unary', [x], { function: name });
const not = (x: Value): Value => unary('not', x);

function isOne(value: Value): boolean {
  const source = narrow(value);
  return source.kind === 'constant' && source.shape.length === 0 && source.data![0] === 1;
}

function multiply(a: Value, b: Value): Value {
  if (isOne(a)) return broadcast(b, broadcastShape(a, b));
  if (isOne(b)) return broadcast(a, broadcastShape(a, b));
  return binary('multiply', a, b);
}

/** Rounded towards minus infinity, for integers as well. */
const floorDivide = (a: Value, b: Value): Value =>
  cast(unary('floor', binary('divide', cast(a, 'float32'), cast(b, 'float32'))), a.dtype);

defineKernel('Multiply', ({ a, b }) => multiply(a, b));
const BINARY: Readonly<Record<string, Binary>> = {
  Add: 'add',
  Sub: 'subtract',
  RealDiv: 'divide',
  Maximum: 'maximum',
  Minimum: 'minimum',
  Pow: 'power',
  LogicalAnd: 'and',
  LogicalOr: 'or',
};
for (const [kernel, name] of Object.entries(BINARY)) defineKernel(kernel, ({ a, b }) => binary(name, a, b));
const RELATIONS: Readonly<Record<string, Relation>> = {
  Greater: 'greater',
  GreaterEqual: 'greaterOrEqual',
  Less: 'less',
  LessEqual: 'lessOrEqual',
  Equal: 'equal',
};
for (const [kernel, relation] of Object.entries(RELATIONS)) {
  defineKernel(kernel, ({ a, b }) => compare(relation, a, b));
}
defineKernel('NotEqual', ({ a, b }) => not(compare('equal', a, b)));
defineKernel('LogicalNot', ({ x }) => not(x));
defineKernel('FloorDiv', ({ a, b }) => floorDivide(a, b));
defineKernel('Mod', ({ a, b }) => binary('subtract', a, multiply(floorDivide(a, b), b)));
defineKernel('SquaredDifference', ({ a, b }) => {
  const difference = binary('subtract', a, b);
  return multiply(difference, difference);
});
defineKernel('AddN', (inputs) => op('sum', Object.values(inputs), {}));

const UNARY: Readonly<Record<string, Unary>> = {
  Abs: 'abs',
  Acos: 'acos',
  Asin: 'asin',
  Atan: 'atan',
  Ceil: 'ceil',
  Cos: 'cos',
  Erf: 'erf',
  Exp: 'exp',
  Floor: 'floor',
  Log: 'log',
  Neg: 'negate',
  Reciprocal: 'reciprocal',
  Relu: 'relu',
  Round: 'round',
  Sigmoid: 'sigmoid',
  Sign: 'sign',
  Sin: 'sin',
  Softplus: 'softplus',
  Sqrt: 'sqrt',
  Tan: 'tan',
  Tanh: 'tanh',
};
for (const [kernel, name] of Object.entries(UNARY)) defineKernel(kernel, ({ x }) => unary(name, x));
defineKernel('Rsqrt', ({ x }) => unary('reciprocal', unary('sqrt', x)));
defineKernel('Square', ({ x }) => multiply(x, x));
defineKernel('Expm1', ({ x }) => binary('subtract', unary('exp', x), scalar(1)));
defineKernel('Log1p', ({ x }) => unary('log', binary('add', x, scalar(1))));
defineKernel('Relu6', ({ x }) => op('clamp', [x], { low: 0, high: 6 }));
defineKernel('IsNan', ({ x }) => op('classify', [x], { kind: 'nan' }));
defineKernel('IsInf', ({ x }) => op('classify', [x], { kind: 'infinite' }));
defineKernel('IsFinite', ({ x }) =>
  not(binary('or', op('classify', [x], { kind: 'nan' }), op('classify', [x], { kind: 'infinite' }))),
);
defineKernel<{ alpha: number }>('LeakyRelu', ({ x }, { alpha }) => op('leakyRelu', [x], { slope: alpha }));
defineKernel<{ alpha: number }>('Step', ({ x }, { alpha }) => {
  const positive = compare('greater', x, scalar(0, x.dtype));
  return op('select', [positive, scalar(1, x.dtype), scalar(alpha, x.dtype)], {});
});
defineKernel<{ clipValueMin: number; clipValueMax: number }>('ClipByValue', ({ x }, { clipValueMin, clipValueMax }) =>
  op('clamp', [x], { low: clipValueMin, high: clipValueMax }),
);
defineKernel('Select', ({ condition, t, e }) => op('select', [condition, t, e], {}));

defineKernel<{ dtype: ElementType }>('Cast', ({ x }, { dtype }) => cast(x, dtype));
defineKernel('Identity', ({ x }) => x);
defineKernel('ZerosLike', ({ x }) => fill(0, x.dtype, x.shape));
defineKernel('OnesLike', ({ x }) => fill(1, x.dtype, x.shape));
defineKernel<{ shape: number[]; value: number; dtype?: ElementType }>('Fill', (_, { shape, value, dtype }) =>
  fill(value, dtype ?? 'float32', shape),
);
