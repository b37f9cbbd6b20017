/**
 * ONNX operators as recorded operations; how they are asked about is in the operators' specification (onnx,
 * Operators.md).
 */
import { sizeOf } from '../../numbers/typed-array.js';
import type { Binary, Reduction, Relation, Unary } from '../graph/operations.js';
import { broadcast, cast, op, operation, reshape, scalar, transpose, type Value } from '../graph/value.js';
import { IMAGE_RULES } from './image-rules.js';
import { along, axisOf, type Given, type OnnxRule } from './item.js';

const unary =
  (name: Unary): OnnxRule =>
  (given) =>
    op('unary', [given.value(0)], { function: name });

/** Of two values, or with some operators of any number. */
const binary =
  (name: Binary): OnnxRule =>
  (given) =>
    given.items.map((_, i) => given.value(i)).reduce((a, b) => join(name, a, b));

const join = (name: Binary, a: Value, b: Value): Value => op('binary', [a, b], { function: name });

const compare =
  (relation: Relation): OnnxRule =>
  (given) =>
    op('compare', [given.value(0), given.value(1)], { relation });

const reduce =
  (name: Reduction): OnnxRule =>
  (given) =>
    reduced(given, given.value(0), name);

function reduced(given: Given, x: Value, name: Reduction): Value {
  const rank = x.shape.length;
  const named = given.listOrInput('axes', 1) ?? [];
  if (named.length === 0 && given.number('noop_with_empty_axes', 0)) return x;
  const axes = named.length === 0 ? [...x.shape.keys()] : named.map((axis) => axisOf(axis, rank));
  return op('reduce', [x], {
    function: name,
    axes: axes.toSorted((a, b) => a - b),
    keep: given.number('keepdims', 1) === 1,
  });
}

const affine = (x: Value, factor: number, added: number): Value =>
  join('add', join('multiply', x, scalar(factor)), scalar(added));

const clamp = (x: Value, low: number, high: number): Value => op('clamp', [x], { low, high });

/** max(0, min(1, slope x + offset)) */
const hardSigmoid = (x: Value, slope: number, offset: number): Value => clamp(affine(x, slope, offset), 0, 1);

function gemm(given: Given): Value {
  const [a, b] = [given.float(0), given.float(1)];
  const flags = { transposeA: given.number('transA', 0) === 1, transposeB: given.number('transB', 0) === 1 };
  const y = op('product', [a, b], { ...flags, scale: given.number('alpha', 1) });
  if (!given.optional(2)) return y;
  const bias = given.float(2);
  const beta = given.number('beta', 1);
  return join('add', y, beta === 1 ? bias : join('multiply', bias, scalar(beta)));
}

function matMul(given: Given): Value {
  const [a, b] = [given.float(0), given.float(1)];
  if (a.shape.length < 2 || b.shape.length < 2) return given.fail('of vectors');
  return op('product', [a, b], { transposeA: false, transposeB: false, scale: 1 });
}

function softmax(given: Given): Value {
  const x = given.float(0);
  const axis = axisOf(given.number('axis', given.opset < 13 ? 1 : -1), x.shape.length);
  // Before version 13 all axes from this one on were one.
  if (given.opset < 13 && axis !== x.shape.length - 1) return given.fail('over several axes');
  return op('softmax', [x], { axis });
}

function layerNorm(given: Given): Value {
  const x = given.float(0);
  if (axisOf(given.number('axis', -1), x.shape.length) !== x.shape.length - 1) return given.fail('over several axes');
  const [y] = operation('layerNorm', [x], { epsilon: given.number('epsilon', 1e-5) });
  const scaled = join('multiply', y, given.float(1));
  return given.optional(2) ? join('add', scaled, given.float(2)) : scaled;
}

function reshaped(given: Given): Value {
  const x = given.value(0);
  const wanted = given
    .numbers(1)
    .map((size, axis) => (size === 0 && !given.number('allowzero', 0) ? x.shape[axis] : size));
  const rest = sizeOf(x.shape) / sizeOf(wanted.filter((size) => size !== -1));
  return reshape(
    x,
    wanted.map((size) => (size === -1 ? rest : size)),
  );
}

function flatten(given: Given): Value {
  const x = given.value(0);
  const axis = axisOf(given.number('axis', 1), x.shape.length);
  return reshape(x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]);
}

function squeeze(given: Given): Value {
  const x = given.value(0);
  const axes = given.listOrInput('axes', 1)?.map((axis) => axisOf(axis, x.shape.length));
  return reshape(
    x,
    x.shape.filter((size, axis) => !(axes ? axes.includes(axis) : size === 1)),
  );
}

function unsqueeze(given: Given): Value {
  const x = given.value(0);
  const named = given.listOrInput('axes', 1)!;
  const rank = x.shape.length + named.length;
  const axes = named.map((axis) => axisOf(axis, rank));
  const left = [...x.shape];
  return reshape(
    x,
    Array.from({ length: rank }, (_, axis) => (axes.includes(axis) ? 1 : left.shift()!)),
  );
}

function split(given: Given): Value[] {
  const x = given.value(0);
  const axis = axisOf(given.number('axis', 0), x.shape.length);
  const count = given.node.outputs.length;
  const even = Math.ceil(x.shape[axis] / count);
  const sizes =
    given.listOrInput('split', 1) ?? Array.from({ length: count }, (_, i) => Math.min(even, x.shape[axis] - i * even));
  return operation('split', [x], { axis, sizes });
}

function slice(given: Given): Value {
  const x = given.value(0);
  const starts = given.listOrInput('starts', 1)!;
  const ends = given.listOrInput('ends', 2)!;
  const axes = given.listOrInput('axes', 3) ?? [...starts.keys()];
  const steps = given.optional(4) ? given.numbers(4) : starts.map(() => 1);
  const cut = { start: x.shape.map(() => 0), size: [...x.shape], step: x.shape.map(() => 1) };
  for (const [i, named] of axes.entries()) {
    const axis = axisOf(named, x.shape.length);
    if (steps[i] < 1) return given.fail('backwards');
    const length = x.shape[axis];
    const [start, end] = [starts[i], ends[i]].map((at) => Math.min(Math.max(axisOf(at, length), 0), length));
    cut.start[axis] = start;
    cut.step[axis] = steps[i];
    cut.size[axis] = Math.max(0, Math.ceil((end - start) / steps[i]));
  }
  return op('slice', [x], cut);
}

function gather(given: Given): Value {
  const x = given.value(0);
  const axis = axisOf(given.number('axis', 0), x.shape.length);
  const indices = given.numbers(1).map((index) => axisOf(index, x.shape[axis]));
  const { shape } = given.item(1);
  // One place, as a class token is taken.
  if (indices.length === 1) {
    const start = x.shape.map((_, i) => (i === axis ? indices[0] : 0));
    const taken = op('slice', [x], { start, size: x.shape.with(axis, 1), step: start.map(() => 1) });
    return reshape(taken, x.shape.toSpliced(axis, 1, ...shape));
  }
  return given.fail('of several places');
}

const CASTS = new Map<number, 'float32' | 'int32' | 'bool'>([
  [1, 'float32'],
  [6, 'int32'],
  [7, 'int32'],
  [9, 'bool'],
  [10, 'float32'],
  [11, 'float32'],
]);

function castOf(given: Given): Value {
  const type = CASTS.get(given.number('to', 0));
  return type ? cast(given.value(0), type) : given.fail(`to type ${given.number('to', 0)}`);
}

function expanded(given: Given): Value {
  const x = given.value(0);
  const wanted = given.numbers(1);
  const rank = Math.max(wanted.length, x.shape.length);
  const of = (shape: readonly number[], axis: number): number => shape[axis - rank + shape.length] ?? 1;
  return broadcast(
    x,
    Array.from({ length: rank }, (_, axis) => Math.max(of(x.shape, axis), of(wanted, axis))),
  );
}

/** Running statistics are weights: what is left is a factor and an offset of each channel. */
function batchNorm(given: Given): Value {
  const x = given.float(0);
  const [scale, bias, mean, variance] = [1, 2, 3, 4].map((index) => given.float(index)); // [C]
  const deviation = op('unary', [join('add', variance, scalar(given.number('epsilon', 1e-5)))], { function: 'sqrt' });
  const factor = join('divide', scale, deviation);
  const offset = join('subtract', bias, join('multiply', mean, factor));
  const rank = x.shape.length;
  return join('add', join('multiply', x, along(factor, 1, rank)), along(offset, 1, rank));
}

function clip(given: Given): Value {
  const bound = (name: string, index: number, otherwise: number): number => {
    const own = given.attribute(name) as number | undefined;
    return own ?? (given.optional(index) ? given.numbers(index)[0] : otherwise);
  };
  return clamp(given.value(0), bound('min', 1, -3.4e38), bound('max', 2, 3.4e38));
}

const same: OnnxRule = (given) => given.value(0);

export const RULES: Readonly<Record<string, OnnxRule>> = {
  ...IMAGE_RULES,
  Abs: unary('abs'),
  Add: binary('add'),
  And: binary('and'),
  BatchNormalization: batchNorm,
  Cast: castOf,
  Ceil: unary('ceil'),
  Clip: clip,
  Concat: (given) => {
    const values = given.items.map((_, i) => given.value(i));
    return op('concatenate', values, { axis: axisOf(given.number('axis', 0), values[0].shape.length) });
  },
  Cos: unary('cos'),
  Div: binary('divide'),
  Dropout: same,
  Equal: compare('equal'),
  Erf: unary('erf'),
  Exp: unary('exp'),
  Expand: expanded,
  Flatten: flatten,
  Floor: unary('floor'),
  Gather: gather,
  Gelu: (given) =>
    op('gelu', [given.float(0)], { approximation: given.text('approximate', 'none') === 'tanh' ? 'tanh' : 'none' }),
  Gemm: gemm,
  Greater: compare('greater'),
  HardSigmoid: (given) => hardSigmoid(given.float(0), given.number('alpha', 0.2), given.number('beta', 0.5)),
  HardSwish: (given) => join('multiply', given.float(0), hardSigmoid(given.float(0), 1 / 6, 0.5)),
  Identity: same,
  LayerNormalization: layerNorm,
  LeakyRelu: (given) => op('leakyRelu', [given.float(0)], { slope: given.number('alpha', 0.01) }),
  Less: compare('less'),
  Log: unary('log'),
  MatMul: matMul,
  Max: binary('maximum'),
  Min: binary('minimum'),
  Mul: binary('multiply'),
  Neg: unary('negate'),
  Not: unary('not'),
  Or: binary('or'),
  Pow: binary('power'),
  Reciprocal: unary('reciprocal'),
  ReduceL2: (given) => {
    const x = given.float(0);
    return op('unary', [reduced(given, join('multiply', x, x), 'sum')], { function: 'sqrt' });
  },
  ReduceMax: reduce('maximum'),
  ReduceMean: reduce('mean'),
  ReduceMin: reduce('minimum'),
  ReduceSum: reduce('sum'),
  Relu: unary('relu'),
  Reshape: reshaped,
  Sigmoid: unary('sigmoid'),
  Sin: unary('sin'),
  Slice: slice,
  Softmax: softmax,
  Softplus: unary('softplus'),
  Split: split,
  Sqrt: unary('sqrt'),
  Squeeze: squeeze,
  Sub: binary('subtract'),
  Sum: binary('add'),
  Tanh: unary('tanh'),
  Tile: (given) => op('tile', [given.value(0)], { repeats: given.numbers(1) }),
  Transpose: (given) => {
    const x = given.value(0);
    return transpose(x, given.list('perm') ?? [...x.shape.keys()].reverse());
  },
  Unsqueeze: unsqueeze,
  Where: (given) => op('select', [cast(given.value(0), 'bool'), given.value(1), given.value(2)], {}),
};
