/** The graphs of arithmetic on rows. Each has a device's rows [N, S] of one or more values, and works in f64. */
import type { ElementType } from '../graph/operations.js';
import { cast, op, operation, scalar, Value } from '../graph/value.js';

/** What one device has of some rows. */
export interface RowType {
  readonly dtype: ElementType;
  readonly rows: number;
  readonly size: number;
}

export interface RowGraph {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

const input = ({ dtype, rows, size }: RowType): Value => new Value(dtype, [rows, size], { kind: 'input' });
const double = (x: Value): Value => cast(x, 'float64');
const binary = (name: 'add' | 'multiply' | 'divide' | 'maximum', a: Value, b: Value): Value =>
  op('binary', [a, b], { function: name });

const slice = (x: Value, start: number, end: number): Value =>
  op('slice', [x], { start: [0, start], size: [x.shape[0], end - start], step: [1, 1] });

/** Weights [N, K] and K values -> the sum of the values, each by its weight, from the left. */
export function combination(types: readonly RowType[]): RowGraph {
  const weights = new Value('float64', [types[0].rows, types.length], { kind: 'input' });
  const terms = types.map(input);
  const weighted = terms.map((term, k) => binary('multiply', slice(weights, k, k + 1), double(term)));
  return { inputs: [weights, ...terms], outputs: [weighted.reduce((sum, term) => binary('add', sum, term))] };
}

/** Marks [N, 1] and two values -> the first where a row is marked, else the second. */
export function choice(types: readonly RowType[]): RowGraph {
  const marks = new Value('int32', [types[0].rows, 1], { kind: 'input' });
  const [a, b] = types.map(input);
  return { inputs: [marks, a, b], outputs: [op('select', [cast(marks, 'bool'), double(a), double(b)], {})] };
}

/** x, a, b -> the mean of (x / (absolute + relative max(|a|, |b|)))^2 of each row, [N]. */
export function squareRatios(types: readonly RowType[], tolerance: { absolute: number; relative: number }): RowGraph {
  const inputs = types.map(input);
  const [x, a, b] = inputs.map(double);
  const [sizeA, sizeB] = [a, b].map((value) => op('unary', [value], { function: 'abs' }));
  const relative = binary('multiply', scalar(tolerance.relative, 'float64'), binary('maximum', sizeA, sizeB));
  const ratio = binary('divide', x, binary('add', scalar(tolerance.absolute, 'float64'), relative));
  const squares = binary('multiply', ratio, ratio);
  return { inputs, outputs: [op('reduce', [squares], { function: 'mean', axes: [1], keep: false })] };
}

export function twice(type: RowType): RowGraph {
  const x = input(type);
  return { inputs: [x], outputs: [op('concatenate', [x, x], { axis: 0 })] };
}

export function halves(type: RowType): RowGraph {
  const x = input(type);
  return { inputs: [x], outputs: operation('split', [x], { axis: 0, sizes: [type.rows / 2, type.rows / 2] }) };
}

export function columns(type: RowType, start: number, end: number): RowGraph {
  const x = input(type);
  return { inputs: [x], outputs: [slice(x, start, end)] };
}

export function join(types: readonly RowType[]): RowGraph {
  const parts = types.map(input);
  return { inputs: parts, outputs: [op('concatenate', parts.map(double), { axis: 1 })] };
}
