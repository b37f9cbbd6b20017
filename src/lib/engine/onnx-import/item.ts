/** What flows along an ONNX graph: values that are recorded, and numbers that are known by then. */
import { cast, constant, reshape, Value } from '../graph/value.js';
import { type KnownTensor, NotLowered, type OnnxAttribute, type ReadNode } from './read.js';

export type Item = Value | KnownTensor;

/** Known numbers up to so many are written into the graph. */
const WRITTEN = 16;

const recorded = new WeakMap<KnownTensor, Value>();

export const isKnown = (item: Item | undefined): item is KnownTensor => item !== undefined && !(item instanceof Value);

/** As a value of the graph; weights are the data that programs read. */
export function recordedValue(item: Item): Value {
  if (!isKnown(item)) return item;
  const known = recorded.get(item);
  if (known) return known;
  const { dtype, shape } = item;
  const data = dtype === 'int32' ? Int32Array.from(item.data) : Float32Array.from(item.data);
  const made = data.length <= WRITTEN ? constant(data, dtype, shape) : new Value(dtype, shape, { kind: 'data', data });
  recorded.set(item, made);
  return made;
}

/** What a node is given. */
export class Given {
  constructor(
    readonly node: ReadNode,
    readonly items: readonly (Item | undefined)[],
    readonly opset: number,
  ) {}

  fail(what: string): never {
    throw new NotLowered(`${this.node.type} ${what}`);
  }

  item(index: number): Item {
    return this.items[index] ?? this.fail(`without input ${index}`);
  }

  value(index: number): Value {
    return recordedValue(this.item(index));
  }

  /** In float32, whatever it was. */
  float(index: number): Value {
    return cast(this.value(index), 'float32');
  }

  optional(index: number): Item | undefined {
    return this.items[index];
  }

  /** Numbers that have to be known before anything is computed. */
  numbers(index: number): number[] {
    const item = this.item(index);
    return isKnown(item) ? Array.from(item.data) : this.fail(`whose input ${index} is computed`);
  }

  attribute(name: string): OnnxAttribute {
    return this.node.attributes.get(name);
  }

  number(name: string, otherwise: number): number {
    return (this.attribute(name) as number | undefined) ?? otherwise;
  }

  list(name: string): readonly number[] | undefined {
    return this.attribute(name) as readonly number[] | undefined;
  }

  text(name: string, otherwise: string): string {
    return (this.attribute(name) as string | undefined) ?? otherwise;
  }

  /** Numbers of an attribute, or in newer files of an input. */
  listOrInput(name: string, index: number): number[] | undefined {
    const list = this.list(name);
    if (list) return [...list];
    return this.optional(index) ? this.numbers(index) : undefined;
  }
}

/** What a node records: one value, or one for each of its outputs. */
export type OnnxRule = (given: Given) => Value | Value[];

/** An axis counted from the front. */
export const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** A vector along one axis of values of so many axes. */
export const along = (x: Value, axis: number, rank: number): Value =>
  reshape(
    x,
    Array.from({ length: rank }, (_, i) => (i === axis ? x.shape[0] : 1)),
  );
