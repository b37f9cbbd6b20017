/** Kernels that reduce axes, and those that normalise or rank along one. */
import * as tf from '../../tfjs.js';
import type { Reduction } from '../operations.js';
import { cast, op, operation, type Value } from '../value.js';
import { axisOf, defineKernel } from './define.js';

function reduce(name: Reduction, x: Value, axis: number | number[], keepDims: boolean): Value {
  const axes = tf.util.parseAxisParam(axis, [...x.shape]);
  return axes.length === 0 ? x : op('reduce', [x], { function: name, axes, keep: keepDims });
}

interface ReduceAttributes {
  axis: number | number[];
  keepDims: boolean;
}

for (const [kernel, name] of [
  ['Min', 'minimum'],
  ['Prod', 'product'],
  ['Sum', 'sum'],
] as const) {
  defineKernel<ReduceAttributes>(kernel, ({ x }, { axis, keepDims }) => reduce(name, x, axis, keepDims));
}
// Alone of them all, Max calls its axes otherwise.
defineKernel<{ reductionIndices: number | number[]; keepDims: boolean }>('Max', ({ x }, attributes) =>
  reduce('maximum', x, attributes.reductionIndices, attributes.keepDims),
);
defineKernel<ReduceAttributes>('Mean', ({ x }, { axis, keepDims }) =>
  reduce('mean', cast(x, 'float32'), axis, keepDims),
);
for (const [kernel, name] of [
  ['All', 'minimum'],
  ['Any', 'maximum'],
] as const) {
  defineKernel<ReduceAttributes>(kernel, ({ x }, { axis, keepDims }) =>
    cast(reduce(name, cast(x, 'int32'), axis, keepDims), 'bool'),
  );
}
for (const [kernel, of] of [
  ['ArgMax', 'maximum'],
  ['ArgMin', 'minimum'],
] as const) {
  defineKernel<{ axis: number }>(kernel, ({ x }, { axis }) =>
    op('argument', [x], { of, axis: axisOf(axis, x.shape.length) }),
  );
}
defineKernel<{ axis: number; exclusive: boolean; reverse: boolean }>('Cumsum', ({ x }, { axis, exclusive, reverse }) =>
  op('cumulativeSum', [x], { axis: axisOf(axis, x.shape.length), exclusive, reverse }),
);
defineKernel<{ k: number; sorted: boolean }>('TopK', ({ x }, { k, sorted }) => operation('topK', [x], { k, sorted }));
defineKernel<{ dim: number }>('Softmax', ({ logits }, { dim }) =>
  op('softmax', [logits], { axis: axisOf(dim, logits.shape.length) }),
);
