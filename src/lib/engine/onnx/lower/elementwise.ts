/** Operations that work element by element. */
import type { Binary, Relation, Unary } from '../../graph/operations.js';
import type { Rules } from './rule.js';
import { float } from './writer.js';

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

export const ELEMENTWISE: Rules<
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
  | 'swish'
> = {
  unary: (writer, inputs, { attributes }) => writer.node(UNARY[attributes.function], inputs),
  binary: (writer, inputs, { attributes }) => writer.node(BINARY[attributes.function], inputs),
  compare: (writer, inputs, { attributes }) => writer.node(RELATIONS[attributes.relation], inputs),
  classify: (writer, inputs, { attributes }) => writer.node(attributes.kind === 'nan' ? 'IsNaN' : 'IsInf', inputs),
  select: (writer, inputs) => writer.node('Where', inputs),
  clamp(writer, [x], { attributes: { low, high }, outputs: [{ dtype }] }) {
    return writer.node('Clip', [x, writer.scalar(low, dtype), writer.scalar(high, dtype)]);
  },
  leakyRelu: (writer, inputs, { attributes }) => writer.node('LeakyRelu', inputs, { alpha: float(attributes.slope) }),
  cast: (writer, [x], { attributes }) => writer.cast(x, attributes.dtype),
  sum: (writer, inputs) =>
    writer.lowering.sum ? writer.node('Sum', inputs) : inputs.reduce((a, b) => writer.node('Add', [a, b])),
  softmax: (writer, inputs, { attributes: { axis } }) => writer.node('Softmax', inputs, { axis }),
  gelu: (writer, inputs, { attributes }) => writer.node('Gelu', inputs, { approximate: attributes.approximation }),
  swish: (writer, inputs, { attributes }) =>
    writer.contribNode('QuickGelu', inputs, { alpha: float(attributes.steepness) }),
};
