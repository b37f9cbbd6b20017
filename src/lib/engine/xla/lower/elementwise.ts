/** Operations that work element by element. */
import { type Elementary, GELU } from '../../graph/gelu.js';
import type { Binary, ElementwiseName, Relation, Unary } from '../../graph/operations.js';
import type { Rules } from './rule.js';
import type { Comparison, Tensor, Writer } from './writer.js';

const named =
  (operation: string) =>
  (writer: Writer, x: Tensor): Tensor =>
    writer.unary(operation, x);

/** sqrt((1 - x) (1 + x)) */
const circle = (writer: Writer, x: Tensor): Tensor =>
  writer.unary('sqrt', writer.binary('multiply', writer.binary('subtract', 1, x), writer.binary('add', 1, x)));

/**
 * x P(x^2) / Q(x^2) is Gauss's erf within 2e-8 for |x| < 3.92, from where on it is 1 in float32: coefficients from the
 * power 0 on, fitted at Chebyshev's nodes.
 */
const ERF = {
  end: 3.92,
  above: [
    1.128379022817946, 0.1927488049622075, 0.053058505554749516, 3.8676856150695635e-3, 2.874666082804998e-4,
    2.034870294951558e-6,
  ],
  below: [1, 0.5041508519553582, 0.11507834924808558, 0.01517100976255308, 1.1879627745799085e-3, 3.807138601523657e-5],
} as const;

function polynomial(writer: Writer, x: Tensor, coefficients: readonly number[]): Tensor {
  const [highest, ...lower] = coefficients.toReversed();
  return lower.reduce<Tensor>(
    (sum, coefficient) => writer.binary('add', writer.binary('multiply', sum, x), coefficient),
    writer.literal(highest, 'float32', x.shape),
  );
}

export function erf(writer: Writer, x: Tensor): Tensor {
  const near = clamp(writer, x, -ERF.end, ERF.end);
  const square = writer.binary('multiply', near, near);
  const [above, below] = [ERF.above, ERF.below].map((coefficients) => polynomial(writer, square, coefficients));
  const ratio = writer.binary('divide', writer.binary('multiply', near, above), below);
  const isFar = writer.compare('GE', writer.unary('abs', x), ERF.end);
  return writer.select(isFar, writer.unary('sign', x), ratio);
}

function clamp(writer: Writer, x: Tensor, low: number, high: number): Tensor {
  return writer.binary('minimum', writer.binary('maximum', x, low), high);
}

const UNARY: Readonly<Record<Unary, (writer: Writer, x: Tensor) => Tensor>> = {
  abs: named('abs'),
  acos: (writer, x) => writer.binary('atan2', circle(writer, x), x),
  asin: (writer, x) => writer.binary('atan2', x, circle(writer, x)),
  atan: (writer, x) => writer.binary('atan2', x, 1),
  ceil: named('ceil'),
  cos: named('cosine'),
  erf,
  exp: named('exponential'),
  floor: named('floor'),
  log: named('log'),
  negate: named('negate'),
  not: named('not'),
  reciprocal: (writer, x) => writer.binary('divide', 1, x),
  relu: (writer, x) => writer.binary('maximum', x, 0),
  round: named('round_nearest_even'),
  sigmoid: named('logistic'),
  sign: named('sign'),
  sin: named('sine'),
  // log(1 + exp(x)), where exp would not grow too large.
  softplus(writer, x) {
    const small = writer.unary('exponential', writer.unary('negate', writer.unary('abs', x)));
    return writer.binary('add', writer.binary('maximum', x, 0), writer.unary('log_plus_one', small));
  },
  sqrt: named('sqrt'),
  tan: (writer, x) => writer.binary('divide', writer.unary('sine', x), writer.unary('cosine', x)),
  tanh: named('tanh'),
};

const RELATIONS: Readonly<Record<Relation, Comparison>> = {
  greater: 'GT',
  greaterOrEqual: 'GE',
  less: 'LT',
  lessOrEqual: 'LE',
  equal: 'EQ',
};

/** exp(x) over its sum along the axis; the largest is taken off first, for exp's sake. */
export function softmax(writer: Writer, x: Tensor, axis: number): Tensor {
  const shifted = writer.binary('subtract', x, writer.reduce('maximum', x, [axis], true));
  const powers = writer.unary('exponential', shifted);
  return writer.binary('divide', powers, writer.reduce('add', powers, [axis], true));
}

const elementary = (writer: Writer): Elementary<Tensor> => ({
  add: (a, b) => writer.binary('add', a, b),
  multiply: (a, b) => writer.binary('multiply', a, b),
  complement: (a) => writer.binary('subtract', 1, a),
  sigmoid: (a) => writer.unary('logistic', a),
  exp: (a) => writer.unary('exponential', a),
  erf: (a) => erf(writer, a),
});

export const ELEMENTWISE: Rules<ElementwiseName> = {
  unary: (writer, [x], { attributes }) => UNARY[attributes.function](writer, x),
  // All binary operations are called as StableHLO calls them.
  binary: (writer, [a, b], { attributes }) => writer.binary(attributes.function satisfies Binary, a, b),
  compare: (writer, [a, b], { attributes }) => writer.compare(RELATIONS[attributes.relation], a, b),
  classify: (writer, [x], { attributes }) =>
    attributes.kind === 'nan'
      ? writer.compare('NE', x, x)
      : writer.compare('EQ', writer.unary('abs', x), Number.POSITIVE_INFINITY),
  select: (writer, [condition, a, b]) => writer.select(condition, a, b),
  clamp: (writer, [x], { attributes: { low, high } }) => clamp(writer, x, low, high),
  leakyRelu: (writer, [x], { attributes: { slope } }) =>
    writer.select(writer.compare('GT', x, 0), x, writer.binary('multiply', x, slope)),
  cast: (writer, [x], { attributes }) => writer.convert(x, attributes.dtype),
  sum: (writer, inputs) => inputs.reduce((a, b) => writer.binary('add', a, b)),
  softmax: (writer, [x], { attributes: { axis } }) => softmax(writer, x, axis),
  gelu: (writer, [x], { attributes: { approximation } }) => GELU[approximation].value(elementary(writer), x),
  geluGradient(writer, [x, dy], { attributes: { approximation } }) {
    const { value, slope } = GELU[approximation].derive(elementary(writer), x);
    return [value, writer.binary('multiply', dy, slope)];
  },
  swish: (writer, [x], { attributes: { steepness } }) => {
    const steep = steepness === 1 ? x : writer.binary('multiply', x, steepness);
    return writer.binary('multiply', x, writer.unary('logistic', steep));
  },
};
