/** The graph that lazy kernels record: values (tensors with a static shape) made by operations. */
import { sameShape, type TypedArray } from '../../numbers/typed-array.js';
import { type Attributes, CONTRIB_DOMAIN, type ElementType, ONNX_TYPE } from './model.js';

export interface Operation {
  readonly type: string;
  readonly domain: string;
  readonly attributes: Attributes;
  readonly inputs: readonly (Value | null)[];
  readonly outputs: readonly Value[];
}

/**
 * - `computed`: made by `producer` when somebody asks;
 * - `data`: host memory, read at each run;
 * - `constant`: host memory that is part of the graph itself;
 * - `input`: a place holder, fed by whoever runs a captured graph.
 */
export type ValueKind = 'computed' | 'data' | 'constant' | 'input';

let nextId = 0;

/** The id that the next value will have: values with a smaller one are older. */
export const nextValueId = (): number => nextId;

export class Value {
  readonly id = nextId++;
  /** Tensors that refer to this value, and so may still ask for its data. */
  handles = 0;
  kind: ValueKind;
  data: TypedArray | null;
  producer: Operation | null;

  constructor(
    readonly dtype: ElementType,
    readonly shape: readonly number[],
    source: { kind: ValueKind; data?: TypedArray; producer?: Operation },
  ) {
    this.kind = source.kind;
    this.data = source.data ?? null;
    this.producer = source.producer ?? null;
  }

  /** Turns a computed value into data, which lets go of the graph behind it. */
  materialise(data: TypedArray): void {
    this.kind = 'data';
    this.data = data;
    this.producer = null;
  }
}

/** A float attribute; plain numbers are integers. */
export const float = (value: number) => ({ float: value });

type Inputs = readonly (Value | null)[];

/** Records an operation of several outputs. */
export function operation(
  type: string,
  inputs: Inputs,
  outputs: readonly (readonly [ElementType, readonly number[]])[],
  attributes: Attributes = {},
  domain = '',
): Value[] {
  const values: Value[] = [];
  const producer: Operation = { type, domain, attributes, inputs, outputs: values };
  for (const [dtype, shape] of outputs) values.push(new Value(dtype, shape, { kind: 'computed', producer }));
  return values;
}

/** Records an operation of one output. */
export const op = (
  type: string,
  inputs: Inputs,
  dtype: ElementType,
  shape: readonly number[],
  attributes: Attributes = {},
): Value => operation(type, inputs, [[dtype, shape]], attributes)[0];

/** Records an operation of ONNX Runtime's own set (com.microsoft). */
export const contribOp = (
  type: string,
  inputs: Inputs,
  dtype: ElementType,
  shape: readonly number[],
  attributes: Attributes = {},
): Value => operation(type, inputs, [[dtype, shape]], attributes, CONTRIB_DOMAIN)[0];

export const constant = (data: TypedArray, dtype: ElementType, shape: readonly number[]): Value =>
  new Value(dtype, shape, { kind: 'constant', data });

/** A vector of int64, as ONNX takes shapes, axes and offsets. */
export const int64s = (values: readonly number[]): Value =>
  constant(
    BigInt64Array.from(values, (value) => BigInt(value)),
    'int64',
    [values.length],
  );

export function scalar(value: number, dtype: ElementType = 'float32'): Value {
  if (dtype === 'float32') return constant(Float32Array.of(value), dtype, []);
  if (dtype === 'int32') return constant(Int32Array.of(value), dtype, []);
  return constant(Uint8Array.of(value), dtype, []);
}

export function reshape(value: Value, shape: readonly number[]): Value {
  if (sameShape(value.shape, shape)) return value;
  if (value.data) return new Value(value.dtype, shape, { kind: value.kind, data: value.data });
  const source = value.producer?.type === 'Reshape' ? value.producer.inputs[0]! : value;
  if (sameShape(source.shape, shape)) return source;
  return op('Reshape', [source, int64s(shape)], value.dtype, shape);
}

export const expand = (value: Value, shape: readonly number[]): Value =>
  sameShape(value.shape, shape) ? value : op('Expand', [value, int64s(shape)], value.dtype, shape);

export const fill = (value: number, dtype: ElementType, shape: readonly number[]): Value =>
  expand(scalar(value, dtype), shape);

export const transpose = (value: Value, perm: readonly number[]): Value =>
  op(
    'Transpose',
    [value],
    value.dtype,
    perm.map((axis) => value.shape[axis]),
    { perm },
  );

export const cast = (value: Value, dtype: ElementType): Value =>
  value.dtype === dtype ? value : op('Cast', [value], dtype, value.shape, { to: ONNX_TYPE[dtype] });
