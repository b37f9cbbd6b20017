/** Kernels that move elements: shape, order, selection and joining. */
import { sizeOf } from '../../../numbers/typed-array.js';
import * as tf from '../../tfjs.js';
import type { ElementType } from '../operations.js';
import { constant, op, operation, reshape, scalar, transpose, type Value } from '../value.js';
import { axisOf, defineKernel } from './define.js';

defineKernel<{ shape: number[] }>('Reshape', ({ x }, { shape }) =>
  reshape(x, tf.util.inferFromImplicitShape(shape, sizeOf(x.shape))),
);
defineKernel<{ dim: number }>('ExpandDims', ({ input }, { dim }) =>
  reshape(input, input.shape.toSpliced(axisOf(dim, input.shape.length + 1), 0, 1)),
);
defineKernel<{ perm: number[] }>('Transpose', ({ x }, { perm }) => transpose(x, perm));
defineKernel('After', ({ x, other }) => op('after', [x, other], {}));
defineKernel<{ reps: number[] }>('Tile', ({ x }, { reps }) => op('tile', [x], { repeats: reps }));

defineKernel<{ begin: number[]; size: number[] }>('Slice', ({ x }, { begin, size }) =>
  op('slice', [x], {
    start: begin,
    size: size.map((count, axis) => (count === -1 ? x.shape[axis] - begin[axis] : count)),
    step: size.map(() => 1),
  }),
);
defineKernel<{ dims: number | number[] }>('Reverse', ({ x }, { dims }) =>
  op('reverse', [x], { axes: tf.util.parseAxisParam(dims, [...x.shape]) }),
);
defineKernel<{ paddings: [number, number][]; constantValue: number }>('PadV2', ({ x }, { paddings, constantValue }) =>
  op('pad', [x], {
    before: paddings.map(([before]) => before),
    after: paddings.map(([, after]) => after),
    value: constantValue,
  }),
);

defineKernel<{ numOrSizeSplits: number | number[]; axis: number }>('SplitV', ({ x }, { numOrSizeSplits, axis }) => {
  const at = axisOf(axis, x.shape.length);
  const sizes = tf.backend_util.prepareSplitSize({ shape: x.shape } as tf.Tensor, numOrSizeSplits, at);
  return operation('split', [x], { axis: at, sizes });
});
defineKernel<{ axis: number }>('Unpack', ({ value }, { axis }) => {
  const at = axisOf(axis, value.shape.length);
  const sizes = new Array<number>(value.shape[at]).fill(1);
  return operation('split', [value], { axis: at, sizes }).map((part) => reshape(part, value.shape.toSpliced(at, 1)));
});
defineKernel<{ axis: number }>('Concat', (inputs, { axis }) => {
  const values: Value[] = Object.values(inputs);
  const at = axisOf(axis, values[0].shape.length);
  tf.backend_util.assertParamsConsistent(
    values.map(({ shape }) => [...shape]),
    at,
  );
  return op('concatenate', values, { axis: at });
});
defineKernel<{ axis: number }>('Pack', (inputs, { axis }) => {
  const values = Object.values(inputs);
  const at = axisOf(axis, values[0].shape.length + 1);
  const layers = values.map((value) => reshape(value, value.shape.toSpliced(at, 0, 1)));
  return op('concatenate', layers, { axis: at });
});

defineKernel<{ axis: number; batchDims: number }>('GatherV2', ({ x, indices }, { axis, batchDims }) => {
  if (batchDims) throw new Error('GatherV2 with batch dimensions is not supported');
  return op('gather', [x, indices], { axis: axisOf(axis, x.shape.length) });
});
defineKernel<{ numSegments: number }>('UnsortedSegmentSum', ({ x, segmentIds }, { numSegments }) =>
  op('scatterAdd', [x, segmentIds], { count: numSegments }),
);
defineKernel<{ depth: number; onValue: number; offValue: number; dtype: ElementType }>(
  'OneHot',
  ({ indices }, { depth, onValue, offValue, dtype }) => {
    const counted = Int32Array.from({ length: depth }, (_, index) => index);
    const classes = constant(counted, 'int32', [depth]);
    const hit = op('compare', [reshape(indices, [...indices.shape, 1]), classes], { relation: 'equal' });
    return op('select', [hit, scalar(onValue, dtype), scalar(offValue, dtype)], {});
  },
);
