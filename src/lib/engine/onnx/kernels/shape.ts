/** Kernels that move elements: shape, order, selection and joining. */
import { sizeOf } from '../../../numbers/typed-array.js';
import * as tf from '../../tfjs.js';
import { cast, constant, fill, int64s, op, operation, reshape, scalar, transpose, type Value } from '../graph.js';
import type { ElementType } from '../model.js';
import { axisOf, defineKernel } from './define.js';

defineKernel<{ shape: number[] }>('Reshape', ({ x }, { shape }) =>
  reshape(x, tf.util.inferFromImplicitShape(shape, sizeOf(x.shape))),
);
defineKernel<{ dim: number }>('ExpandDims', ({ input }, { dim }) =>
  reshape(input, input.shape.toSpliced(axisOf(dim, input.shape.length + 1), 0, 1)),
);
defineKernel<{ perm: number[] }>('Transpose', ({ x }, { perm }) => transpose(x, perm));
// x, but not before the other is known: ONNX Runtime would merge what is computed of x with the same computed earlier.
defineKernel('After', ({ x, other }) => {
  const element = op('Slice', [reshape(other, [sizeOf(other.shape)]), int64s([0]), int64s([1])], other.dtype, [1]);
  return op('Where', [constant(Uint8Array.of(1), 'bool', [1]), x, element], x.dtype, x.shape);
});
defineKernel<{ reps: number[] }>('Tile', ({ x }, { reps }) => {
  const shape = x.shape.map((size, axis) => size * reps[axis]);
  return op('Tile', [x, int64s(reps)], x.dtype, shape);
});

defineKernel<{ begin: number[]; size: number[] }>('Slice', ({ x }, { begin, size }) => {
  const shape = size.map((count, axis) => (count === -1 ? x.shape[axis] - begin[axis] : count));
  const end = begin.map((start, axis) => start + shape[axis]);
  return op('Slice', [x, int64s(begin), int64s(end)], x.dtype, shape);
});
defineKernel<{ dims: number | number[] }>('Reverse', ({ x }, { dims }) => {
  const axes = tf.util.parseAxisParam(dims, [...x.shape]);
  const each = (value: number) => int64s(axes.map(() => value));
  // From the last element back to before the first one, which the slice's end clamps to.
  return op('Slice', [x, each(-1), each(Number.MIN_SAFE_INTEGER), int64s(axes), each(-1)], x.dtype, x.shape);
});
defineKernel<{ paddings: [number, number][]; constantValue: number }>('PadV2', ({ x }, { paddings, constantValue }) => {
  const pads = [...paddings.map(([before]) => before), ...paddings.map(([, after]) => after)];
  const shape = x.shape.map((size, axis) => size + paddings[axis][0] + paddings[axis][1]);
  return op('Pad', [x, int64s(pads), scalar(constantValue, x.dtype)], x.dtype, shape);
});

function split(x: Value, axis: number, sizes: readonly number[]): Value[] {
  const outputs = sizes.map((size) => [x.dtype, x.shape.with(axis, size)] as const);
  return operation('Split', [x, int64s(sizes)], outputs, { axis });
}

function concatenate(values: readonly Value[], axis: number): Value {
  const joined = values.reduce((total, value) => total + value.shape[axis], 0);
  return op('Concat', values, values[0].dtype, values[0].shape.with(axis, joined), { axis });
}

defineKernel<{ numOrSizeSplits: number | number[]; axis: number }>('SplitV', ({ x }, { numOrSizeSplits, axis }) => {
  const at = axisOf(axis, x.shape.length);
  return split(x, at, tf.backend_util.prepareSplitSize({ shape: x.shape } as tf.Tensor, numOrSizeSplits, at));
});
defineKernel<{ axis: number }>('Unpack', ({ value }, { axis }) => {
  const at = axisOf(axis, value.shape.length);
  const sizes = new Array<number>(value.shape[at]).fill(1);
  return split(value, at, sizes).map((part) => reshape(part, value.shape.toSpliced(at, 1)));
});
defineKernel<{ axis: number }>('Concat', (inputs, { axis }) => {
  const values = Object.values(inputs);
  const at = axisOf(axis, values[0].shape.length);
  tf.backend_util.assertParamsConsistent(
    values.map(({ shape }) => [...shape]),
    at,
  );
  return concatenate(values, at);
});
defineKernel<{ axis: number }>('Pack', (inputs, { axis }) => {
  const values = Object.values(inputs);
  const at = axisOf(axis, values[0].shape.length + 1);
  return concatenate(
    values.map((value) => reshape(value, value.shape.toSpliced(at, 0, 1))),
    at,
  );
});

defineKernel<{ axis: number; batchDims: number }>('GatherV2', ({ x, indices }, { axis, batchDims }) => {
  if (batchDims) throw new Error('GatherV2 with batch dimensions is not supported by the onnx backend');
  const at = axisOf(axis, x.shape.length);
  const shape = [...x.shape.slice(0, at), ...indices.shape, ...x.shape.slice(at + 1)];
  return op('Gather', [x, indices], x.dtype, shape, { axis: at });
});
defineKernel<{ numSegments: number }>('UnsortedSegmentSum', ({ x, segmentIds }, { numSegments }) => {
  const shape = [numSegments, ...x.shape.slice(1)];
  const rows = cast(reshape(segmentIds, [segmentIds.shape[0], 1]), 'int64');
  return op('ScatterND', [fill(0, x.dtype, shape), rows, x], x.dtype, shape, { reduction: 'add' });
});
defineKernel<{ depth: number; onValue: number; offValue: number; dtype: ElementType }>(
  'OneHot',
  ({ indices }, { depth, onValue, offValue, dtype }) => {
    const shape = [...indices.shape, depth];
    const classes = constant(
      Int32Array.from({ length: depth }, (_, index) => index),
      'int32',
      [depth],
    );
    const hit = op('Equal', [reshape(indices, [...indices.shape, 1]), classes], 'bool', shape);
    return op('Where', [hit, scalar(onValue, dtype), scalar(offValue, dtype)], dtype, shape);
  },
);
