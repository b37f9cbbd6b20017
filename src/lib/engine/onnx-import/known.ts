/** Nodes whose inputs are all known: sizes and places, which exporters compute along with the network. */

import { sizeOf } from '../../numbers/typed-array.js';
import * as tf from '../tfjs.js';
import { axisOf, type Given, type Item, isKnown } from './item.js';
import type { KnownTensor } from './read.js';

/** More numbers than this are left to the device. */
const MOST = 4096;

const integers = (values: readonly number[], shape: readonly number[] = [values.length]): KnownTensor => ({
  dtype: 'int32',
  shape,
  data: Float64Array.from(values),
});

const like = (x: KnownTensor, values: ArrayLike<number>, shape: readonly number[]): KnownTensor =>
  x.dtype === 'int32'
    ? { dtype: 'int32', shape, data: Float64Array.from(values) }
    : { dtype: 'float32', shape, data: Float32Array.from(values) };

const BINARY: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Max: Math.max,
  Min: Math.min,
  Equal: (a, b) => Number(a === b),
  Greater: (a, b) => Number(a > b),
  Less: (a, b) => Number(a < b),
  And: (a, b) => a & b,
  Or: (a, b) => a | b,
  Mod: (a, b) => a - Math.floor(a / b) * b,
};

const UNARY: Readonly<Record<string, (x: number) => number>> = {
  Neg: (x) => -x,
  Not: (x) => Number(!x),
  Floor: Math.floor,
  Ceil: Math.ceil,
  Sqrt: Math.sqrt,
  Abs: Math.abs,
};

/** Where an element of the joined shape lies in a tensor that broadcasts to it. */
function placesIn(shape: readonly number[], joined: readonly number[]): number[] {
  const steps = joined.map((_, axis) => {
    const own = axis - joined.length + shape.length;
    return own < 0 || shape[own] === 1 ? 0 : sizeOf(shape.slice(own + 1));
  });
  return Array.from({ length: sizeOf(joined) }, (_, i) => {
    let [rest, place] = [i, 0];
    for (let axis = joined.length - 1; axis >= 0; axis--) {
      place += (rest % joined[axis]) * steps[axis];
      rest = Math.floor(rest / joined[axis]);
    }
    return place;
  });
}

function joined(...tensors: KnownTensor[]): number[] {
  return tensors.map(({ shape }) => [...shape]).reduce((a, b) => tf.broadcast_util.assertAndGetBroadcastShape(a, b));
}

const expand = (x: KnownTensor, shape: readonly number[]): number[] =>
  placesIn(x.shape, shape).map((place) => x.data[place]);

function binary(given: Given, a: KnownTensor, b: KnownTensor): KnownTensor {
  const shape = joined(a, b);
  const [left, right] = [expand(a, shape), expand(b, shape)];
  const { type } = given.node;
  if (type === 'Div')
    return like(
      a,
      left.map((x, i) => (a.dtype === 'int32' ? Math.trunc(x / right[i]) : x / right[i])),
      shape,
    );
  const compute = BINARY[type];
  const values = left.map((x, i) => compute(x, right[i]));
  return ['Equal', 'Greater', 'Less'].includes(type) ? integers(values, shape) : like(a, values, shape);
}

/** Rows of a tensor along its first axis. */
function gather(given: Given, x: KnownTensor, indices: KnownTensor): KnownTensor | undefined {
  if (axisOf(given.number('axis', 0), x.shape.length) !== 0) return undefined;
  const size = sizeOf(x.shape.slice(1));
  const values = Array.from(indices.data, (index) => {
    const start = axisOf(index, x.shape[0]) * size;
    return Array.from(x.data.subarray(start, start + size));
  }).flat();
  return like(x, values, [...indices.shape, ...x.shape.slice(1)]);
}

function slice(given: Given, x: KnownTensor): KnownTensor | undefined {
  if (x.shape.length !== 1) return undefined;
  const of = (name: string, index: number) => given.listOrInput(name, index)?.[0];
  const [start, end, step] = [of('starts', 1)!, of('ends', 2)!, of('steps', 4) ?? 1];
  if (step !== 1) return undefined;
  const whole = Array.from(x.data);
  const values = whole.slice(start, end);
  return like(x, values, [values.length]);
}

const isIntegers = (item: Item | undefined): item is KnownTensor => isKnown(item) && item.dtype === 'int32';

/** What a node gives, if all that it needs is known; undefined where it has to be recorded. */
export function known(given: Given): KnownTensor | undefined {
  const { type } = given.node;
  const items = given.items.filter((item) => item !== undefined);
  if (type === 'Shape') return shapeOf(given);
  if (type === 'Size') return integers([sizeOf(given.item(0).shape)], []);
  if (type === 'Constant') return constantOf(given);
  if (!items.every(isKnown)) return undefined;
  const [x, y, z] = items;
  if (items.some(({ data }) => data.length > MOST)) return undefined;
  if (type in BINARY || type === 'Div') return binary(given, x, y);
  if (type in UNARY) return like(x, Array.from(x.data, UNARY[type]), x.shape);
  switch (type) {
    case 'Identity':
      return x;
    case 'Cast':
      return [6, 7, 9].includes(given.number('to', 0))
        ? integers(Array.from(x.data, Math.trunc), x.shape)
        : { dtype: 'float32', shape: x.shape, data: Float32Array.from(x.data) };
    case 'ConstantOfShape': {
      const value = given.attribute('value') as KnownTensor | undefined;
      const shape = Array.from(x.data);
      const filled = new Array(sizeOf(shape)).fill(value?.data[0] ?? 0);
      return value ? like(value, filled, shape) : { dtype: 'float32', shape, data: Float32Array.from(filled) };
    }
    case 'Range': {
      const [start, limit, step] = [x.data[0], y.data[0], z.data[0]];
      return like(
        x,
        Array.from({ length: Math.max(0, Math.ceil((limit - start) / step)) }, (_, i) => start + i * step),
        [Math.max(0, Math.ceil((limit - start) / step))],
      );
    }
    case 'Where': {
      const shape = joined(x, y, z);
      const [condition, a, b] = [x, y, z].map((tensor) => expand(tensor, shape));
      return like(
        y,
        condition.map((holds, i) => (holds ? a[i] : b[i])),
        shape,
      );
    }
    case 'Expand': {
      const shape = joined(x, integers([], Array.from(y.data)));
      return like(x, expand(x, shape), shape);
    }
    case 'Concat':
      return items.every(({ shape }) => shape.length === 1)
        ? like(
            x,
            items.flatMap(({ data }) => Array.from(data)),
            [items.reduce((sum, { data }) => sum + data.length, 0)],
          )
        : undefined;
    case 'Gather':
      return gather(given, x, y);
    case 'Slice':
      return slice(given, x);
    case 'ReduceProd':
      return x.shape.length === 1 && isIntegers(x)
        ? integers([Array.from(x.data).reduce((a, b) => a * b, 1)], given.number('keepdims', 1) ? [1] : [])
        : undefined;
    default:
      return undefined;
  }
}

function shapeOf(given: Given): KnownTensor {
  const { shape } = given.item(0);
  const [start, end] = [given.number('start', 0), given.number('end', shape.length)];
  return integers(shape.slice(start, end));
}

function constantOf(given: Given): KnownTensor {
  const tensor = given.attribute('value') as KnownTensor | undefined;
  if (tensor) return tensor;
  const [number, numbers] = [given.attribute('value_float'), given.list('value_floats')];
  if (number !== undefined) return { dtype: 'float32', shape: [], data: Float32Array.of(number as number) };
  if (numbers) return { dtype: 'float32', shape: [numbers.length], data: Float32Array.from(numbers) };
  const [integer, list] = [given.attribute('value_int'), given.list('value_ints')];
  if (integer !== undefined) return integers([integer as number], []);
  return list ? integers(list) : given.fail('of texts');
}
