/** What lazy kernels record: values (tensors with a static shape) made by operations. */
import { sameShape, type TypedArray } from '../../numbers/typed-array.js';
import { type Attributes, type ElementType, type OperationName, outputTypes } from './operations.js';

export interface Operation<N extends OperationName = OperationName> {
  readonly name: N;
  readonly attributes: Attributes[N];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  /** That it computes for the backward pass what the forward pass has computed and not kept. */
  readonly again?: boolean;
}

let computingAgain = false;

/** What `fn` makes, recorded as computed again. */
export function computedAgain<T>(fn: () => T): T {
  const before = computingAgain;
  computingAgain = true;
  try {
    return fn();
  } finally {
    computingAgain = before;
  }
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

/** The operation that made a value, if it is of this name. */
export function producerOf<N extends OperationName>(value: Value, name: N): Operation<N> | null {
  return value.producer?.name === name ? (value.producer as Operation<N>) : null;
}

/** Records an operation; its outputs. */
export function operation<N extends OperationName>(
  name: N,
  inputs: readonly Value[],
  attributes: Attributes[N],
): Value[] {
  const outputs: Value[] = [];
  const producer: Operation<N> = { name, attributes, inputs, outputs, ...(computingAgain ? { again: true } : {}) };
  for (const [dtype, shape] of outputTypes(name, inputs, attributes)) {
    outputs.push(new Value(dtype, shape, { kind: 'computed', producer }));
  }
  return outputs;
}

/** Records an operation; its first output, which most have alone. */
export const op = <N extends OperationName>(name: N, inputs: readonly Value[], attributes: Attributes[N]): Value =>
  operation(name, inputs, attributes)[0];

export const constant = (data: TypedArray, dtype: ElementType, shape: readonly number[]): Value =>
  new Value(dtype, shape, { kind: 'constant', data });

/** The array of host memory for elements of a type. */
export const ARRAYS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array, float64: Float64Array } as const;

export const scalar = (value: number, dtype: ElementType = 'float32'): Value =>
  constant(ARRAYS[dtype].of(value), dtype, []);

export function reshape(value: Value, shape: readonly number[]): Value {
  if (sameShape(value.shape, shape)) return value;
  if (value.data) return new Value(value.dtype, shape, { kind: value.kind, data: value.data });
  const source = producerOf(value, 'reshape')?.inputs[0] ?? value;
  return sameShape(source.shape, shape) ? source : op('reshape', [source], { shape });
}

export const broadcast = (value: Value, shape: readonly number[]): Value =>
  sameShape(value.shape, shape) ? value : op('broadcast', [value], { shape });

export const fill = (value: number, dtype: ElementType, shape: readonly number[]): Value =>
  broadcast(scalar(value, dtype), shape);

export const transpose = (value: Value, order: readonly number[]): Value => op('transpose', [value], { order });

export const cast = (value: Value, dtype: ElementType): Value =>
  value.dtype === dtype ? value : op('cast', [value], { dtype });
