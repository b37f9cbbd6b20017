/** Operations that reduce an axis, or rank along it. */
import type { Reduction } from '../../graph/operations.js';
import type { Rules } from './rule.js';
import { flag } from './writer.js';

const REDUCTIONS: Readonly<Record<Reduction, string>> = {
  sum: 'ReduceSum',
  mean: 'ReduceMean',
  maximum: 'ReduceMax',
  minimum: 'ReduceMin',
  product: 'ReduceProd',
};

export const REDUCE: Rules<'reduce' | 'argument' | 'cumulativeSum' | 'topK'> = {
  reduce(writer, [x], { attributes: { function: name, axes, keep } }) {
    return writer.node(REDUCTIONS[name], [x, writer.int64s(axes)], { keepdims: flag(keep) });
  },
  argument(writer, [x], { attributes: { of, axis } }) {
    return writer.cast(writer.node(of === 'maximum' ? 'ArgMax' : 'ArgMin', [x], { axis, keepdims: 0 }), 'int32');
  },
  cumulativeSum(writer, [x], { attributes: { axis, exclusive, reverse } }) {
    const attributes = { exclusive: flag(exclusive), reverse: flag(reverse) };
    return writer.node('CumSum', [x, writer.int64s([axis])], attributes);
  },
  topK(writer, [x], { attributes: { k, sorted } }) {
    const attributes = { axis: -1, sorted: flag(sorted) };
    const [values, indices] = writer.nodeOf(2, 'TopK', [x, writer.int64s([k])], attributes);
    return [values, writer.cast(indices, 'int32')];
  },
};
