/**
 * StableHLO as text (openxla/stablehlo, docs/spec.md), line by line. Shapes are static, and nothing broadcasts by
 * itself: where our operations broadcast by numpy's rules, that is spelled out.
 */
import { bytesOf, sameShape, type TypedArray } from '../../../numbers/typed-array.js';
import type { ElementType } from '../../graph/operations.js';

/** Operands of products may be rounded to bfloat16; all else is in the types of the graph. */
export type StableHloType = ElementType | 'bfloat16';

const ELEMENT: Readonly<Record<StableHloType, string>> = {
  float32: 'f32',
  int32: 'i32',
  bool: 'i1',
  bfloat16: 'bf16',
  float64: 'f64',
};

/** A value of the program. */
export interface Tensor {
  readonly name: string;
  readonly dtype: StableHloType;
  readonly shape: readonly number[];
}

export const typeOf = ({ dtype, shape }: Omit<Tensor, 'name'>): string =>
  `tensor<${[...shape, ELEMENT[dtype]].join('x')}>`;

/**
 * How products are computed: of operands in float32, in full; or of operands rounded to bfloat16, summed in float32, as
 * `torch.autocast` does.
 */
export type Products = 'f32' | 'bf16';

export type Comparison = 'EQ' | 'NE' | 'GT' | 'GE' | 'LT' | 'LE';

/** What a reduction begins with, of floats and of integers: nothing changes that it is joined to. */
const NEUTRAL = {
  add: { float: 0, int32: 0 },
  multiply: { float: 1, int32: 1 },
  maximum: { float: Number.NEGATIVE_INFINITY, int32: -(2 ** 31) },
  minimum: { float: Number.POSITIVE_INFINITY, int32: 2 ** 31 - 1 },
} as const;

export type Joining = keyof typeof NEUTRAL;

/** The shape of values that broadcast by numpy's rules. */
export function joinedShape(...shapes: (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map(({ length }) => length));
  return Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    return sizes.find((size) => size !== 1) ?? 1;
  });
}

export class Writer {
  readonly lines: string[] = [];
  readonly #literals = new Map<string, Tensor>();
  #count = 0;

  constructor(readonly products: Products) {}

  /** An operation of one result. */
  emit(text: string, dtype: StableHloType, shape: readonly number[]): Tensor {
    const name = `%${this.#count++}`;
    this.lines.push(`${name} = ${text}`);
    return { name, dtype, shape };
  }

  /** An operation of several results. */
  emitAll(text: string, types: readonly Omit<Tensor, 'name'>[]): Tensor[] {
    const name = `%${this.#count++}`;
    this.lines.push(`${name}:${types.length} = ${text}`);
    return types.map(({ dtype, shape }, i) => ({ name: `${name}#${i}`, dtype, shape }));
  }

  /** All elements of one value. Of each, there is one. */
  literal(value: number, dtype: StableHloType, shape: readonly number[] = []): Tensor {
    const text = element(value, dtype);
    const key = `${text} ${dtype} ${shape}`;
    const known = this.#literals.get(key);
    if (known) return known;
    const made = this.emit(`stablehlo.constant dense<${text}> : ${typeOf({ dtype, shape })}`, dtype, shape);
    this.#literals.set(key, made);
    return made;
  }

  constant(data: TypedArray, dtype: ElementType, shape: readonly number[]): Tensor {
    if (data.length === 1) return this.literal(Number(data[0]), dtype, shape);
    const body =
      dtype === 'bool'
        ? nested(
            Array.from(data as Uint8Array, (value) => element(value, 'bool')),
            shape,
          )
        : `"0x${Buffer.from(bytesOf(data)).toString('hex').toUpperCase()}"`;
    return this.emit(`stablehlo.constant dense<${body}> : ${typeOf({ dtype, shape })}`, dtype, shape);
  }

  /** The numbers from 0 on along an axis. */
  iota(shape: readonly number[], axis: number): Tensor {
    return this.emit(`stablehlo.iota dim = ${axis} : ${typeOf({ dtype: 'int32', shape })}`, 'int32', shape);
  }

  /** To a shape, by numpy's rules; with `axes`, axis i becomes axis axes[i]. */
  broadcast(x: Tensor, shape: readonly number[], axes?: readonly number[]): Tensor {
    if (sameShape(x.shape, shape)) return x;
    const dims = axes ?? [...x.shape.keys()].map((axis) => shape.length - x.shape.length + axis);
    const to = typeOf({ dtype: x.dtype, shape });
    return this.emit(
      `stablehlo.broadcast_in_dim ${x.name}, dims = [${dims.join(', ')}] : (${typeOf(x)}) -> ${to}`,
      x.dtype,
      shape,
    );
  }

  reshape(x: Tensor, shape: readonly number[]): Tensor {
    if (sameShape(x.shape, shape)) return x;
    return this.emit(
      `stablehlo.reshape ${x.name} : (${typeOf(x)}) -> ${typeOf({ dtype: x.dtype, shape })}`,
      x.dtype,
      shape,
    );
  }

  convert(x: Tensor, dtype: StableHloType): Tensor {
    if (x.dtype === dtype) return x;
    return this.emit(
      `stablehlo.convert ${x.name} : (${typeOf(x)}) -> ${typeOf({ dtype, shape: x.shape })}`,
      dtype,
      x.shape,
    );
  }

  unary(operation: string, x: Tensor): Tensor {
    return this.emit(`stablehlo.${operation} ${x.name} : ${typeOf(x)}`, x.dtype, x.shape);
  }

  /** Broadcasts; numbers are of the other operand's type. */
  binary(operation: string, a: Tensor | number, b: Tensor | number): Tensor {
    const [x, y] = this.#alike(a, b);
    return this.emit(`stablehlo.${operation} ${x.name}, ${y.name} : ${typeOf(x)}`, x.dtype, x.shape);
  }

  compare(direction: Comparison, a: Tensor | number, b: Tensor | number): Tensor {
    const [x, y] = this.#alike(a, b);
    const types = `(${typeOf(x)}, ${typeOf(y)}) -> ${typeOf({ dtype: 'bool', shape: x.shape })}`;
    return this.emit(`stablehlo.compare ${direction}, ${x.name}, ${y.name} : ${types}`, 'bool', x.shape);
  }

  /** `a` where the condition holds, else `b`; broadcasts. */
  select(condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
    const dtype = typeof a === 'number' ? (b as Tensor).dtype : a.dtype;
    const [left, right] = [a, b].map((value) => (typeof value === 'number' ? this.literal(value, dtype) : value));
    const shape = joinedShape(condition.shape, left.shape, right.shape);
    const [p, x, y] = [condition, left, right].map((value) => this.broadcast(value, shape));
    return this.emit(`stablehlo.select ${p.name}, ${x.name}, ${y.name} : ${typeOf(p)}, ${typeOf(x)}`, dtype, shape);
  }

  reduce(operation: Joining, x: Tensor, axes: readonly number[], keep = false): Tensor {
    if (axes.length === 0) return x;
    const initial = this.neutral(operation, x.dtype);
    const shape = x.shape.filter((_, axis) => !axes.includes(axis));
    const types = `(${typeOf(x)}, ${typeOf(initial)}) -> ${typeOf({ dtype: x.dtype, shape })}`;
    const reduced = this.emit(
      `stablehlo.reduce(${x.name} init: ${initial.name}) applies stablehlo.${operation} across dimensions = [${axes.join(', ')}] : ${types}`,
      x.dtype,
      shape,
    );
    return keep
      ? this.reshape(
          reduced,
          x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size)),
        )
      : reduced;
  }

  mean(x: Tensor, axes: readonly number[], keep = false): Tensor {
    const count = axes.reduce((product, axis) => product * x.shape[axis], 1);
    return this.binary('divide', this.reduce('add', x, axes, keep), count);
  }

  neutral(operation: Joining, dtype: StableHloType): Tensor {
    return this.literal(NEUTRAL[operation][dtype === 'int32' ? dtype : 'float'], dtype);
  }

  transpose(x: Tensor, order: readonly number[]): Tensor {
    if (order.every((axis, at) => axis === at)) return x;
    const shape = order.map((axis) => x.shape[axis]);
    const to = typeOf({ dtype: x.dtype, shape });
    return this.emit(
      `stablehlo.transpose ${x.name}, dims = [${order.join(', ')}] : (${typeOf(x)}) -> ${to}`,
      x.dtype,
      shape,
    );
  }

  slice(
    x: Tensor,
    start: readonly number[],
    size: readonly number[],
    step: readonly number[] = start.map(() => 1),
  ): Tensor {
    const ranges = start.map((first, axis) => `${first}:${first + (size[axis] - 1) * step[axis] + 1}:${step[axis]}`);
    const to = typeOf({ dtype: x.dtype, shape: size });
    return this.emit(`stablehlo.slice ${x.name} [${ranges.join(', ')}] : (${typeOf(x)}) -> ${to}`, x.dtype, size);
  }

  reverse(x: Tensor, axes: readonly number[]): Tensor {
    return this.emit(`stablehlo.reverse ${x.name}, dims = [${axes.join(', ')}] : ${typeOf(x)}`, x.dtype, x.shape);
  }

  pad(x: Tensor, before: readonly number[], after: readonly number[], value: Tensor): Tensor {
    const shape = x.shape.map((size, axis) => size + before[axis] + after[axis]);
    const inside = before.map(() => 0).join(', ');
    const types = `(${typeOf(x)}, ${typeOf(value)}) -> ${typeOf({ dtype: x.dtype, shape })}`;
    return this.emit(
      `stablehlo.pad ${x.name}, ${value.name}, low = [${before.join(', ')}], high = [${after.join(', ')}], interior = [${inside}] : ${types}`,
      x.dtype,
      shape,
    );
  }

  concatenate(parts: readonly Tensor[], axis: number): Tensor {
    const [{ dtype, shape }] = parts;
    const joined = shape.with(
      axis,
      parts.reduce((sum, part) => sum + part.shape[axis], 0),
    );
    const names = parts.map(({ name }) => name).join(', ');
    const types = `(${parts.map(typeOf).join(', ')}) -> ${typeOf({ dtype, shape: joined })}`;
    return this.emit(`stablehlo.concatenate ${names}, dim = ${axis} : ${types}`, dtype, joined);
  }

  /** The operands of a product, in the element type that products have. */
  operands(a: Tensor, b: Tensor): [Tensor, Tensor] {
    return this.products === 'bf16' ? [this.convert(a, 'bfloat16'), this.convert(b, 'bfloat16')] : [a, b];
  }

  /** What accelerators with faster units of less precision are told: with f32, not to take them. */
  get precision(): 'DEFAULT' | 'HIGHEST' {
    return this.products === 'bf16' ? 'DEFAULT' : 'HIGHEST';
  }

  #alike(a: Tensor | number, b: Tensor | number): [Tensor, Tensor] {
    const { dtype } = (typeof a === 'number' ? b : a) as Tensor;
    const [x, y] = [a, b].map((value) => (typeof value === 'number' ? this.literal(value, dtype) : value));
    const shape = joinedShape(x.shape, y.shape);
    return [this.broadcast(x, shape), this.broadcast(y, shape)];
  }
}

/** One element as it is written; numbers that are not finite as their bits. */
function element(value: number, dtype: StableHloType): string {
  if (dtype === 'bool') return value ? 'true' : 'false';
  if (dtype === 'int32') return String(value);
  const rounded = dtype === 'float64' ? value : Math.fround(value);
  if (Object.is(rounded, -0)) return '-0.0e+0';
  // All digits that it takes to tell it from its neighbours, with the point that the syntax wants.
  if (Number.isFinite(rounded)) return rounded.toExponential().replace(/^(-?\d)e/, '$1.0e');
  if (dtype === 'float64') return `0x${bits64(rounded)}`;
  const [bits] = new Uint32Array(Float32Array.of(rounded).buffer);
  const text = bits.toString(16).toUpperCase().padStart(8, '0');
  return `0x${dtype === 'bfloat16' ? text.slice(0, 4) : text}`;
}

const bits64 = (value: number): string =>
  new BigUint64Array(Float64Array.of(value).buffer)[0].toString(16).toUpperCase().padStart(16, '0');

/** Elements in brackets, as many deep as there are axes. */
function nested(elements: readonly string[], shape: readonly number[]): string {
  if (shape.length === 0) return elements[0];
  const rows = elements.length / shape[0];
  const parts = Array.from({ length: shape[0] }, (_, i) =>
    nested(elements.slice(i * rows, (i + 1) * rows), shape.slice(1)),
  );
  return `[${parts.join(', ')}]`;
}
