/**
 * The operations of recorded graphs: a small closed set, which every target (ONNX, StableHLO) lowers whole.
 *
 * Shapes are static. Element types are float32 (f), int32 (i) and bool (b), and float64, in which samplers keep their
 * states and no tensor is; `x` without one may be of any. Where an operation takes several values element by element,
 * they broadcast by numpy's rules. Images are [B, C, H, W].
 */
import * as tf from '../tfjs.js';

/** The element types of recorded values. */
export type ElementType = 'float32' | 'int32' | 'bool' | 'float64';

/**
 * y = f(x), element by element. `erf` is Gauss's, `round` goes to the even one of two neighbours; `not` is of bools.
 */
export type Unary =
  | 'abs'
  | 'acos'
  | 'asin'
  | 'atan'
  | 'ceil'
  | 'cos'
  | 'erf'
  | 'exp'
  | 'floor'
  | 'log'
  | 'negate'
  | 'not'
  | 'reciprocal'
  | 'relu'
  | 'round'
  | 'sigmoid'
  | 'sign'
  | 'sin'
  | 'softplus'
  | 'sqrt'
  | 'tan'
  | 'tanh';

/** `and` and `or` are of bools. */
export type Binary = 'add' | 'subtract' | 'multiply' | 'divide' | 'maximum' | 'minimum' | 'power' | 'and' | 'or';

export type Relation = 'greater' | 'greaterOrEqual' | 'less' | 'lessOrEqual' | 'equal';

export type Reduction = 'sum' | 'mean' | 'maximum' | 'minimum' | 'product';

/** Zero padding of an image's sides: top, left, bottom, right. */
export type Padding = readonly [number, number, number, number];

/** What each operation takes besides values. */
export interface Attributes {
  /** x [...] -> y [...] */
  unary: { readonly function: Unary };
  /** a, b (broadcast) -> y, of a's type */
  binary: { readonly function: Binary };
  /** a, b (broadcast) -> y b */
  compare: { readonly relation: Relation };
  /** x f [...] -> y b [...] */
  classify: { readonly kind: 'nan' | 'infinite' };
  /** condition b, a, b (broadcast) -> y: a where the condition holds, else b */
  select: Readonly<Record<string, never>>;
  /** x [...] -> y [...] = min(max(x, low), high) */
  clamp: { readonly low: number; readonly high: number };
  /** x f [...] -> y [...]: x where positive, else slope x */
  leakyRelu: { readonly slope: number };
  /** x [...] -> y of another type: numbers are cut off towards zero, bools are 0 and 1 */
  cast: { readonly dtype: ElementType };
  /** Any number of values, all of one shape -> their sum, in their order */
  sum: Readonly<Record<string, never>>;

  /** x -> y with the same elements in the same order */
  reshape: { readonly shape: readonly number[] };
  /** x -> y of that shape, by numpy's rules */
  broadcast: { readonly shape: readonly number[] };
  /** x -> y, whose axis i is x's axis order[i] */
  transpose: { readonly order: readonly number[] };
  /** x -> y [...size]: of each axis, `size` elements from `start` on, each `step` after the last */
  slice: { readonly start: readonly number[]; readonly size: readonly number[]; readonly step: readonly number[] };
  /** x -> y: backwards along those axes */
  reverse: { readonly axes: readonly number[] };
  /** x -> y: the whole of x, so many times along each axis */
  tile: { readonly repeats: readonly number[] };
  /** x -> y: so many elements of that value before and after along each axis */
  pad: { readonly before: readonly number[]; readonly after: readonly number[]; readonly value: number };
  /** x -> as many parts as sizes, one after the other along the axis */
  split: { readonly axis: number; readonly sizes: readonly number[] };
  /** Any number of values, alike but along the axis -> y, one after the other */
  concatenate: { readonly axis: number };
  /** x [...A, N, ...C], indices i [...I] -> y [...A, ...I, ...C]; `axis` is that of N */
  gather: { readonly axis: number };
  /** rows [N, ...C], indices i [N] -> y [count, ...C]: y[k] is the sum of the rows whose index is k */
  scatterAdd: { readonly count: number };
  /** x, other [...] -> x, but not before `other` is known (recomputation must not be merged with what it repeats) */
  after: Readonly<Record<string, never>>;

  /** x -> y, over those axes; they stay with size 1 if `keep` */
  reduce: { readonly function: Reduction; readonly axes: readonly number[]; readonly keep: boolean };
  /** x -> y i, without the axis: where along it the extreme lies, the first of equals */
  argument: { readonly of: 'maximum' | 'minimum'; readonly axis: number };
  /** x -> y, of the same shape; `exclusive` leaves out the element itself, `reverse` sums from the end */
  cumulativeSum: { readonly axis: number; readonly exclusive: boolean; readonly reverse: boolean };
  /** x [..., N] -> the largest k [..., k] along the last axis, and their places i [..., k] */
  topK: { readonly k: number; readonly sorted: boolean };
  /** x f [...] -> y f [...]: exp(x) over its sum along the axis */
  softmax: { readonly axis: number };

  /**
   * a f [..., m, k], b f [..., k, n] (each of them stored with its last two axes exchanged where `transpose` says it;
   * leading axes broadcast), and for matrices an optional bias f [n] -> y f [..., m, n] = scale a b + bias
   */
  product: { readonly transposeA: boolean; readonly transposeB: boolean; readonly scale: number };
  /** q f [B, N, H, d], k f [B, M, H, d], v f [B, M, H, d] -> y f [B, N, H, d]: softmax(scale q k^T) v of each head H */
  attention: { readonly scale: number };

  /** x f [..., D] -> y f [..., D] of mean 0 and variance 1 over D, and 1 / sqrt(variance + epsilon) f [..., 1] */
  layerNorm: { readonly epsilon: number };
  /** x f [B, C, H, W] -> y f [B, C, H, W], of mean 0 and variance 1 over each group of C / groups channels and H, W */
  groupNorm: { readonly groups: number; readonly epsilon: number };
  /** x f [...] -> y f [...]: with erf, or its approximation with tanh (arXiv 1606.08415) */
  gelu: { readonly approximation: 'tanh' | 'none' };
  /**
   * x f [...], dy f [...] -> y f [...] = gelu(x), dx f [...] = gelu'(x) dy: what a backward pass needs of it, in one
   */
  geluGradient: { readonly approximation: 'tanh' | 'none' };
  /** x f [...] -> y f [...] = x sigmoid(steepness x) */
  swish: { readonly steepness: number };

  /**
   * x f [B, I, H, W], weight f [O, I / groups, kh, kw], optional bias f [O] -> y f [B, O, h, w] (a cross-correlation),
   * in which each group of channels is made of one group of x's
   */
  convolution: {
    readonly stride: number;
    readonly padding: Padding;
    readonly dilation: number;
    readonly groups?: number;
  };
  /** dy f [B, O, h, w], weight f [O, I, kh, kw] -> dx f [B, I, ...size]: the gradient of the convolution's x */
  convolutionTranspose: { readonly stride: number; readonly padding: Padding; readonly size: readonly number[] };
  /** x f [B, C, H, W] -> y f [B, C, h, w], of windows of `size` x `size`; padding is never the largest */
  maxPool: { readonly size: number; readonly stride: number; readonly padding: Padding };
  /** The same with means, in which padding counts as zeros or not at all */
  averagePool: {
    readonly size: number;
    readonly stride: number;
    readonly padding: Padding;
    readonly countPadding: boolean;
  };
  /** x f [B, C, H, W] -> y f [B, C, factor H, factor W]: each pixel becomes factor x factor of its kind */
  enlarge: { readonly factor: number };
}

export type OperationName = keyof Attributes;

/** The operations on elements, of which every lowering has a file. */
export type ElementwiseName =
  | 'unary'
  | 'binary'
  | 'compare'
  | 'classify'
  | 'select'
  | 'clamp'
  | 'leakyRelu'
  | 'cast'
  | 'sum'
  | 'softmax'
  | 'gelu'
  | 'geluGradient'
  | 'swish';

/** Those that move elements. */
export type ShapeName =
  | 'reshape'
  | 'broadcast'
  | 'transpose'
  | 'slice'
  | 'reverse'
  | 'tile'
  | 'pad'
  | 'split'
  | 'concatenate'
  | 'gather'
  | 'scatterAdd'
  | 'after';

/** What rules look at of an input. */
interface Typed {
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

type Type = readonly [ElementType, readonly number[]];
type Inputs = readonly Typed[];
type Rule<N extends OperationName> = (inputs: Inputs, attributes: Attributes[N]) => readonly Type[];

const like = ([x]: Inputs): Type[] => [[x.dtype, x.shape]];

const broadcastShape = (...values: Typed[]): number[] =>
  values.map(({ shape }) => [...shape]).reduce((a, b) => tf.broadcast_util.assertAndGetBroadcastShape(a, b));

/** How often a window of `height` x `width` fits along each axis of an image. */
function windows(x: Typed, height: number, width: number, stride: number, padding: Padding, dilation = 1): number[] {
  const [top, left, bottom, right] = padding;
  const count = (size: number, pad: number, extent: number) =>
    Math.floor((size + pad - ((extent - 1) * dilation + 1)) / stride) + 1;
  return [count(x.shape[2], top + bottom, height), count(x.shape[3], left + right, width)];
}

const pooled = ([x]: Inputs, { size, stride, padding }: Attributes['maxPool']): Type[] => [
  [x.dtype, [...x.shape.slice(0, 2), ...windows(x, size, size, stride, padding)]],
];

/** What each operation gives. */
const OUTPUTS: { readonly [N in OperationName]: Rule<N> } = {
  unary: like,
  binary: ([a, b]) => [[a.dtype, broadcastShape(a, b)]],
  compare: ([a, b]) => [['bool', broadcastShape(a, b)]],
  classify: ([x]) => [['bool', x.shape]],
  select: ([condition, a, b]) => [[a.dtype, broadcastShape(condition, a, b)]],
  clamp: like,
  leakyRelu: like,
  cast: ([x], { dtype }) => [[dtype, x.shape]],
  sum: like,
  reshape: ([x], { shape }) => [[x.dtype, shape]],
  broadcast: ([x], { shape }) => [[x.dtype, shape]],
  transpose: ([x], { order }) => [[x.dtype, order.map((axis) => x.shape[axis])]],
  slice: ([x], { size }) => [[x.dtype, size]],
  reverse: like,
  tile: ([x], { repeats }) => [[x.dtype, x.shape.map((size, axis) => size * repeats[axis])]],
  pad: ([x], { before, after }) => [[x.dtype, x.shape.map((size, axis) => size + before[axis] + after[axis])]],
  split: ([x], { axis, sizes }) => sizes.map((size) => [x.dtype, x.shape.with(axis, size)]),
  concatenate: (values, { axis }) => {
    const joined = values.reduce((total, { shape }) => total + shape[axis], 0);
    return [[values[0].dtype, values[0].shape.with(axis, joined)]];
  },
  gather: ([x, indices], { axis }) => [[x.dtype, x.shape.toSpliced(axis, 1, ...indices.shape)]],
  scatterAdd: ([rows], { count }) => [[rows.dtype, rows.shape.with(0, count)]],
  after: like,
  reduce: ([x], { axes, keep }) => [
    [
      x.dtype,
      keep
        ? x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size))
        : x.shape.filter((_, axis) => !axes.includes(axis)),
    ],
  ],
  argument: ([x], { axis }) => [['int32', x.shape.toSpliced(axis, 1)]],
  cumulativeSum: like,
  topK: ([x], { k }) => [
    [x.dtype, x.shape.with(-1, k)],
    ['int32', x.shape.with(-1, k)],
  ],
  softmax: like,
  product: ([a, b], { transposeA, transposeB }) => {
    const [left, right] = [a, b].map(({ shape }) => shape.slice(0, -2));
    const leading = tf.broadcast_util.assertAndGetBroadcastShape(left, right);
    return [['float32', [...leading, a.shape.at(transposeA ? -1 : -2)!, b.shape.at(transposeB ? -2 : -1)!]]];
  },
  attention: like,
  layerNorm: ([x]) => [
    ['float32', x.shape],
    ['float32', x.shape.with(-1, 1)],
  ],
  groupNorm: like,
  gelu: like,
  geluGradient: ([x]) => [
    ['float32', x.shape],
    ['float32', x.shape],
  ],
  swish: like,
  convolution: ([x, weight], { stride, padding, dilation }) => {
    const [outChannels, , height, width] = weight.shape;
    const size = windows(x, height, width, stride, padding, dilation);
    return [['float32', [x.shape[0], outChannels, ...size]]];
  },
  convolutionTranspose: ([dy, weight], { size }) => [['float32', [dy.shape[0], weight.shape[1], ...size]]],
  maxPool: pooled,
  averagePool: pooled,
  enlarge: ([x], { factor }) => [[x.dtype, [...x.shape.slice(0, 2), x.shape[2] * factor, x.shape[3] * factor]]],
};

/** All operations, by name. */
export const OPERATION_NAMES = Object.keys(OUTPUTS) as readonly OperationName[];

/** Types of what an operation makes of these inputs. */
export const outputTypes = <N extends OperationName>(
  name: N,
  inputs: Inputs,
  attributes: Attributes[N],
): readonly Type[] => OUTPUTS[name](inputs, attributes);
