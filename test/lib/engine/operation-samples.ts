/** Small graphs of every operation, by which targets and lowerings are compared. */
import type {
  Attributes,
  Binary,
  OperationName,
  Reduction,
  Relation,
  Unary,
} from '../../../src/lib/engine/graph/operations.js';
import { operation, scalar, Value } from '../../../src/lib/engine/graph/value.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';

/** Numbers in [-1, 1], none of them twice, from a formula. */
function float(shape: readonly number[], phase = 0): Value {
  const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(1.7 * i + phase));
  return new Value('float32', shape, { kind: 'data', data });
}

/** The numbers 0 to below `count`, again and again. */
function int(shape: readonly number[], count: number): Value {
  const data = Int32Array.from({ length: sizeOf(shape) }, (_, i) => (7 * i + 2) % count);
  return new Value('int32', shape, { kind: 'data', data });
}

function bool(shape: readonly number[]): Value {
  const data = Uint8Array.from({ length: sizeOf(shape) }, (_, i) => (i % 3 === 0 ? 1 : 0));
  return new Value('bool', shape, { kind: 'data', data });
}

const unary = (name: Unary): Value[] => {
  if (name === 'not') return operation('unary', [bool([3, 4])], { function: name });
  const positive = operation('binary', [float([3, 4]), scalar(1.5)], { function: 'add' });
  const input = name === 'log' || name === 'sqrt' || name === 'reciprocal' ? positive : [float([3, 4])];
  return operation('unary', input, { function: name });
};

const binary = (name: Binary): Value[] => {
  if (name === 'and' || name === 'or') return operation('binary', [bool([3, 4]), bool([4])], { function: name });
  const base = operation('binary', [float([3, 4]), scalar(1.5)], { function: 'add' })[0];
  return operation('binary', [base, float([2, 1, 4], 1)], { function: name });
};

const UNARY = [
  ...[
    'abs',
    'acos',
    'asin',
    'atan',
    'ceil',
    'cos',
    'erf',
    'exp',
    'floor',
    'log',
    'negate',
    'not',
    'reciprocal',
    'relu',
  ],
  ...['round', 'sigmoid', 'sign', 'sin', 'softplus', 'sqrt', 'tan', 'tanh'],
] as Unary[];
const BINARY: Binary[] = ['add', 'subtract', 'multiply', 'divide', 'maximum', 'minimum', 'power', 'and', 'or'];
const RELATIONS: Relation[] = ['greater', 'greaterOrEqual', 'less', 'lessOrEqual', 'equal'];
const REDUCTIONS: Reduction[] = ['sum', 'mean', 'maximum', 'minimum', 'product'];

/** Each operation once with each set of attributes. */
const each = <N extends OperationName>(name: N, inputs: () => Value[], ...variants: Attributes[N][]): Value[] =>
  variants.flatMap((attributes) => operation(name, inputs(), attributes));

const notFinite = () =>
  new Value('float32', [4], {
    kind: 'data',
    data: Float32Array.of(1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
  });

const image = (): Value[] => [float([2, 4, 9, 8])];
const none: Attributes['sum'] = {};

/** What to compute, by operation. Nothing is random, and each array is a function of its shape. */
export const SAMPLES: { readonly [N in OperationName]: () => Value[] } = {
  unary: () => UNARY.flatMap(unary),
  binary: () => BINARY.flatMap(binary),
  compare: () => RELATIONS.flatMap((relation) => operation('compare', [float([3, 4]), float([1, 4])], { relation })),
  classify: () => each('classify', () => [notFinite()], { kind: 'nan' }, { kind: 'infinite' }),
  select: () => operation('select', [bool([3, 1]), float([4]), float([2, 3, 4], 1)], none),
  clamp: () => each('clamp', () => [float([3, 4])], { low: -0.5, high: 0.25 }),
  leakyRelu: () => each('leakyRelu', () => [float([3, 4])], { slope: 0.2 }),
  cast: () => [
    ...each('cast', () => [float([3, 4])], { dtype: 'int32' }),
    ...each('cast', () => [int([3, 4], 3)], { dtype: 'float32' }, { dtype: 'bool' }),
    ...each('cast', () => [bool([3, 4])], { dtype: 'float32' }, { dtype: 'int32' }),
  ],
  sum: () => [
    ...operation('sum', [float([3, 4]), float([3, 4], 1), float([3, 4], 2)], none),
    ...operation('sum', [float([3, 4])], none),
  ],

  reshape: () => each('reshape', () => [float([3, 4])], { shape: [2, 1, 6] }),
  broadcast: () => each('broadcast', () => [float([3, 1])], { shape: [2, 3, 4] }),
  transpose: () => each('transpose', () => [float([2, 3, 4])], { order: [2, 0, 1] }),
  slice: () =>
    each(
      'slice',
      () => [float([3, 4])],
      { start: [1, 0], size: [2, 3], step: [1, 1] },
      { start: [0, 1], size: [2, 2], step: [1, 2] },
    ),
  reverse: () => each('reverse', () => [float([3, 4])], { axes: [1] }, { axes: [0, 1] }),
  tile: () => each('tile', () => [float([3, 2])], { repeats: [2, 3] }),
  pad: () => each('pad', () => [float([3, 2])], { before: [1, 0], after: [0, 2], value: 0.5 }),
  split: () => each('split', () => [float([2, 6])], { axis: 1, sizes: [1, 3, 2] }),
  concatenate: () => operation('concatenate', [float([2, 3]), float([2, 1], 1), float([2, 2], 2)], { axis: 1 }),
  gather: () => [
    ...operation('gather', [float([5, 3]), int([4], 5)], { axis: 0 }),
    ...operation('gather', [float([2, 5]), int([2, 2], 5)], { axis: 1 }),
  ],
  scatterAdd: () => [
    ...operation('scatterAdd', [float([6, 3]), int([6], 4)], { count: 5 }),
    ...operation('scatterAdd', [float([6, 2, 3]), int([6], 2)], { count: 2 }),
  ],
  after: () => operation('after', [float([3, 4]), float([2, 3], 1)], none),

  reduce: () =>
    REDUCTIONS.flatMap((name) =>
      each(
        'reduce',
        () => [float([2, 3, 4])],
        { function: name, axes: [1, 2], keep: false },
        { function: name, axes: [0], keep: true },
        { function: name, axes: [0, 1, 2], keep: false },
      ),
    ),
  argument: () => each('argument', () => [float([3, 5])], { of: 'maximum', axis: 1 }, { of: 'minimum', axis: 0 }),
  cumulativeSum: () =>
    each(
      'cumulativeSum',
      () => [float([3, 5])],
      { axis: 1, exclusive: false, reverse: false },
      { axis: 0, exclusive: true, reverse: false },
      { axis: 1, exclusive: false, reverse: true },
    ),
  topK: () => each('topK', () => [float([3, 7])], { k: 3, sorted: true }),
  softmax: () => each('softmax', () => [float([2, 3, 5])], { axis: 2 }, { axis: 1 }),

  product: () => [
    ...operation('product', [float([3, 5]), float([5, 4], 1)], { transposeA: false, transposeB: false, scale: 1 }),
    ...operation('product', [float([5, 3]), float([4, 5], 1)], { transposeA: true, transposeB: true, scale: 0.5 }),
    ...operation('product', [float([3, 5]), float([4, 5], 1), float([4], 2)], {
      ...{ transposeA: false, transposeB: true, scale: 1 },
    }),
    ...operation('product', [float([2, 3, 3, 5]), float([2, 3, 4, 5], 1)], {
      ...{ transposeA: false, transposeB: true, scale: 0.3 },
    }),
    ...operation('product', [float([2, 1, 5, 3]), float([3, 5, 4], 1)], {
      ...{ transposeA: true, transposeB: false, scale: 1 },
    }),
  ],
  attention: () => [
    ...operation('attention', [float([2, 5, 3, 8]), float([2, 5, 3, 8], 1), float([2, 5, 3, 8], 2)], { scale: 0.4 }),
    ...operation('attention', [float([1, 4, 2, 8]), float([1, 50, 2, 8], 1), float([1, 50, 2, 8], 2)], { scale: 1 }),
  ],

  layerNorm: () => each('layerNorm', () => [float([2, 3, 16])], { epsilon: 1e-6 }, { epsilon: 0.1 }),
  groupNorm: () => each('groupNorm', image, { groups: 2, epsilon: 1e-6 }),
  gelu: () => each('gelu', () => [float([3, 4])], { approximation: 'tanh' }, { approximation: 'none' }),
  geluGradient: () =>
    each('geluGradient', () => [float([3, 4]), float([3, 4], 1)], { approximation: 'tanh' }, { approximation: 'none' }),
  swish: () => each('swish', () => [float([3, 4])], { steepness: 1 }, { steepness: 1.702 }),

  convolution: () => [
    ...operation('convolution', [...image(), float([6, 4, 3, 3], 1), float([6], 2)], {
      ...{ stride: 1, padding: [1, 1, 1, 1], dilation: 1 },
    }),
    ...operation('convolution', [...image(), float([5, 4, 3, 2], 1)], {
      ...{ stride: 2, padding: [0, 1, 1, 0], dilation: 1 },
    }),
    ...operation('convolution', [...image(), float([5, 4, 2, 2], 1)], {
      ...{ stride: 1, padding: [0, 0, 0, 0], dilation: 2 },
    }),
    ...operation('convolution', [...image(), float([4, 1, 3, 3], 1), float([4], 2)], {
      ...{ stride: 1, padding: [1, 1, 1, 1], dilation: 1, groups: 4 },
    }),
  ],
  convolutionTranspose: () => [
    ...operation('convolutionTranspose', [float([2, 5, 4, 4]), float([5, 3, 3, 3], 1)], {
      ...{ stride: 2, padding: [0, 0, 1, 1], size: [8, 8] },
    }),
    ...operation('convolutionTranspose', [float([2, 5, 4, 4]), float([5, 3, 2, 2], 1)], {
      ...{ stride: 2, padding: [0, 0, 0, 0], size: [9, 8] },
    }),
  ],
  maxPool: () => each('maxPool', image, { size: 3, stride: 2, padding: [1, 0, 0, 1] }),
  averagePool: () =>
    each(
      'averagePool',
      image,
      { size: 3, stride: 1, padding: [1, 1, 1, 1], countPadding: true },
      { size: 3, stride: 1, padding: [1, 1, 1, 1], countPadding: false },
    ),
  enlarge: () => each('enlarge', image, { factor: 2 }),
};
