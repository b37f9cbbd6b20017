/** Operations that reduce an axis, or rank along it. */
import type { Reduction } from '../../graph/operations.js';
import type { Rules } from './rule.js';
import { type Joining, type Tensor, typeOf, type Writer } from './writer.js';

const REDUCTIONS: Readonly<Record<Exclude<Reduction, 'mean'>, Joining>> = {
  sum: 'add',
  maximum: 'maximum',
  minimum: 'minimum',
  product: 'multiply',
};

export interface Windows {
  /** Of each axis. */
  readonly size: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly (readonly [number, number])[];
}

/** Joins what lies in each window; padding changes nothing. */
export function reduceWindows(
  writer: Writer,
  operation: Joining,
  x: Tensor,
  { size, stride, padding }: Windows,
): Tensor {
  const initial = writer.neutral(operation, x.dtype);
  const shape = x.shape.map((length, axis) => {
    const [before, after] = padding[axis];
    return Math.floor((length + before + after - size[axis]) / stride[axis]) + 1;
  });
  const scalar = typeOf(initial);
  const pads = padding.map((pair) => `[${pair.join(', ')}]`).join(', ');
  return writer.emit(
    `"stablehlo.reduce_window"(${x.name}, ${initial.name}) <{window_dimensions = array<i64: ${size.join(', ')}>, ` +
      `window_strides = array<i64: ${stride.join(', ')}>, padding = dense<[${pads}]> : tensor<${size.length}x2xi64>}> ({ ` +
      `^bb0(%left: ${scalar}, %right: ${scalar}): %joined = stablehlo.${operation} %left, %right : ${scalar} ` +
      `stablehlo.return %joined : ${scalar} }) : (${typeOf(x)}, ${scalar}) -> ${typeOf({ dtype: x.dtype, shape })}`,
    x.dtype,
    shape,
  );
}

/** Sums of all elements up to each along the axis. */
function runningSum(writer: Writer, x: Tensor, axis: number): Tensor {
  const each = <T>(along: T, otherwise: T): T[] => x.shape.map((_, at) => (at === axis ? along : otherwise));
  return reduceWindows(writer, 'add', x, {
    size: each(x.shape[axis], 1),
    stride: each(1, 1),
    padding: each<readonly [number, number]>([x.shape[axis] - 1, 0], [0, 0]),
  });
}

/** Moved by one along the axis, with a zero in front. */
function delayed(writer: Writer, x: Tensor, axis: number): Tensor {
  const along = x.shape.map((_, at) => (at === axis ? 1 : 0));
  const kept = writer.slice(
    x,
    x.shape.map(() => 0),
    x.shape.map((size, at) => size - along[at]),
  );
  return writer.pad(
    kept,
    along,
    along.map(() => 0),
    writer.literal(0, x.dtype),
  );
}

/** Values along the last axis from the largest on, and where they were; the first of equals comes first. */
function sortedDown(writer: Writer, x: Tensor): [Tensor, Tensor] {
  const axis = x.shape.length - 1;
  const places = writer.iota(x.shape, axis);
  const [value, place] = [x, places].map(({ dtype }) => typeOf({ dtype, shape: [] }));
  const operands = `(${typeOf(x)}, ${typeOf(places)})`;
  return writer.emitAll(
    `"stablehlo.sort"(${x.name}, ${places.name}) <{dimension = ${axis} : i64, is_stable = true}> ({ ` +
      `^bb0(%a: ${value}, %b: ${value}, %i: ${place}, %j: ${place}): ` +
      `%larger = stablehlo.compare GT, %a, %b : (${value}, ${value}) -> tensor<i1> ` +
      `stablehlo.return %larger : tensor<i1> }) : ${operands} -> ${operands}`,
    [x, places],
  ) as [Tensor, Tensor];
}

export const REDUCE: Rules<'reduce' | 'argument' | 'cumulativeSum' | 'topK'> = {
  reduce: (writer, [x], { attributes: { function: name, axes, keep } }) =>
    name === 'mean' ? writer.mean(x, axes, keep) : writer.reduce(REDUCTIONS[name], x, axes, keep),
  // The smallest of the places at which the extreme lies.
  argument(writer, [x], { attributes: { of, axis } }) {
    const extreme = writer.reduce(of, x, [axis], true);
    const places = writer.select(writer.compare('EQ', x, extreme), writer.iota(x.shape, axis), x.shape[axis]);
    return writer.reduce('minimum', places, [axis]);
  },
  cumulativeSum(writer, [x], { attributes: { axis, exclusive, reverse } }) {
    const turned = (value: Tensor) => (reverse ? writer.reverse(value, [axis]) : value);
    const forward = turned(x);
    return turned(runningSum(writer, exclusive ? delayed(writer, forward, axis) : forward, axis));
  },
  topK: (writer, [x], { attributes: { k } }) =>
    sortedDown(writer, x).map((all) =>
      writer.slice(
        all,
        x.shape.map(() => 0),
        x.shape.with(-1, k),
      ),
    ),
};
