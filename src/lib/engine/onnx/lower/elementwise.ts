/** Operations that work element by element. */

import { type Elementary, GELU } from '../../graph/gelu.js';
import type { Binary, ElementwiseName, Relation, Unary } from '../../graph/operations.js';
import type { Rules } from './rule.js';
import { ACTIVATIONS, float, LARGEST, type NodeWriter } from './writer.js';

const UNARY: Readonly<Record<Unary, string>> = {
  abs: 'Abs',
  acos: 'Acos',
  asin: 'Asin',
  atan: 'Atan',
  ceil: 'Ceil',
  cos: 'Cos',
  erf: 'Erf',
  exp: 'Exp',
  floor: 'Floor',
  log: 'Log',
  negate: 'Neg',
  not: 'Not',
  reciprocal: 'Reciprocal',
  relu: 'Relu',
  round: 'Round',
  sigmoid: 'Sigmoid',
  sign: 'Sign',
  sin: 'Sin',
  softplus: 'Softplus',
  sqrt: 'Sqrt',
  tan: 'Tan',
  tanh: 'Tanh',
};

const BINARY: Readonly<Record<Binary, string>> = {
  add: 'Add',
  subtract: 'Sub',
  multiply: 'Mul',
  divide: 'Div',
  maximum: 'Max',
  minimum: 'Min',
  power: 'Pow',
  and: 'And',
  or: 'Or',
};

const RELATIONS: Readonly<Record<Relation, string>> = {
  greater: 'Greater',
  greaterOrEqual: 'GreaterOrEqual',
  less: 'Less',
  lessOrEqual: 'LessOrEqual',
  equal: 'Equal',
};

/** Functions without kernels of their own; NaN is what differs from itself, where shaders are compiled to know it. */
const COMPOSED: Partial<Record<Unary, (writer: NodeWriter, x: string) => string>> = {
  /** To the nearest, and of two nearest to the even one: half up, but one less where that is odd after a tie. */
  round(writer, x) {
    const half = writer.node('Add', [x, writer.scalar(0.5)]);
    const up = writer.node('Floor', [half]);
    const even = writer.node('Mul', [
      writer.node('Floor', [writer.node('Mul', [up, writer.scalar(0.5)])]),
      writer.scalar(2),
    ]);
    const isTied = writer.node('Equal', [half, up]);
    const isOdd = writer.node('Greater', [up, even]);
    return writer.node('Sub', [up, writer.cast(writer.node('And', [isTied, isOdd]), 'float32')]);
  },
  sign(writer, x) {
    const where = (type: string) => writer.cast(writer.node(type, [x, writer.scalar(0)]), 'float32');
    return writer.node('Sub', [where('Greater'), where('Less')]);
  },
};

function either(writer: NodeWriter, [a, b]: readonly string[]): string {
  return writer.node('Not', [writer.node('And', [writer.node('Not', [a]), writer.node('Not', [b])])]);
}

function composedTest(writer: NodeWriter, x: string, kind: 'nan' | 'infinite'): string {
  if (kind === 'nan') return writer.node('Not', [writer.node('Equal', [x, x])]);
  return writer.node('Greater', [writer.node('Abs', [x]), writer.scalar(LARGEST)]);
}

function elementary(writer: NodeWriter): Elementary<string> {
  const operand = (b: number | string) => (typeof b === 'number' ? writer.scalar(b) : b);
  return {
    add: (a, b) => writer.node('Add', [a, operand(b)]),
    multiply: (a, b) => writer.node('Mul', [a, operand(b)]),
    complement: (a) => writer.node('Sub', [writer.scalar(1), a]),
    sigmoid: (a) => writer.node('Sigmoid', [a]),
    exp: (a) => writer.node('Exp', [a]),
    erf: (a) => writer.node('Erf', [a]),
  };
}

/** exp(x) over its sum along an axis. */
export function softmax(writer: NodeWriter, x: string, shape: readonly number[], axis: number): string {
  if (!writer.exceedsBinding(shape)) return writer.node('Softmax', [x], { axis });
  const axes = writer.int64s([axis]);
  const largest = writer.node('ReduceMax', [x, axes], { keepdims: 1 });
  const powers = writer.node('Exp', [writer.node('Sub', [x, largest])]);
  return writer.node('Div', [powers, writer.node('ReduceSum', [powers, axes], { keepdims: 1 })]);
}

export const ELEMENTWISE: Rules<ElementwiseName> = {
  unary(writer, inputs, { attributes }) {
    const composed = writer.lowering.complete ? undefined : COMPOSED[attributes.function];
    return composed ? composed(writer, inputs[0]) : writer.node(UNARY[attributes.function], inputs);
  },
  binary(writer, inputs, { attributes }) {
    if (attributes.function === 'or' && !writer.lowering.complete) return either(writer, inputs);
    return writer.node(BINARY[attributes.function], inputs);
  },
  compare: (writer, inputs, { attributes }) => writer.node(RELATIONS[attributes.relation], inputs),
  classify(writer, inputs, { attributes: { kind } }) {
    if (!writer.lowering.complete) return composedTest(writer, inputs[0], kind);
    return writer.node(kind === 'nan' ? 'IsNaN' : 'IsInf', inputs);
  },
  select: (writer, inputs) => writer.node('Where', inputs),
  clamp(writer, [x], { attributes: { low, high }, outputs: [{ dtype }] }) {
    return writer.node('Clip', [x, writer.scalar(low, dtype), writer.scalar(high, dtype)]);
  },
  leakyRelu: (writer, inputs, { attributes }) => writer.node('LeakyRelu', inputs, { alpha: float(attributes.slope) }),
  cast: (writer, [x], { attributes }) => writer.cast(x, attributes.dtype),
  sum: (writer, inputs) =>
    writer.lowering.sum ? writer.node('Sum', inputs) : inputs.reduce((a, b) => writer.node('Add', [a, b])),
  softmax: (writer, [x], { attributes: { axis }, outputs: [{ shape }] }) => softmax(writer, x, shape, axis),
  gelu: (writer, inputs, { attributes }) => writer.node('Gelu', inputs, { approximate: attributes.approximation }),
  geluGradient(writer, [x, dy], { attributes: { approximation } }) {
    if (writer.lowering.bf16Parts) {
      const act = approximation === 'tanh' ? ACTIVATIONS.GeluTanh : ACTIVATIONS.GeluErf;
      return writer.ownNodes(2, 'GeluGradient', [x, dy], { act });
    }
    const { value, slope } = GELU[approximation].derive(elementary(writer), x);
    return [value, writer.node('Mul', [dy, slope])];
  },
  swish: (writer, inputs, { attributes }) =>
    writer.contribNode('QuickGelu', inputs, { alpha: float(attributes.steepness) }),
};
