/** Operations that reduce an axis, or rank along it. */
import { UnavailableError } from '../../../errors.js';
import type { Reduction } from '../../graph/operations.js';
import type { Rules } from './rule.js';
import { flag, LARGEST, type NodeWriter } from './writer.js';

const REDUCTIONS: Readonly<Record<Reduction, string>> = {
  sum: 'ReduceSum',
  mean: 'ReduceMean',
  maximum: 'ReduceMax',
  minimum: 'ReduceMin',
  product: 'ReduceProd',
};

/**
 * The extreme along an axis [..., 1, ...] and its place, the first of equals; the axis of the place stays if `keep`.
 * @throws UnavailableError for a tensor that a device binds as several buffers: places were wrong then
 */
function extreme(
  writer: NodeWriter,
  x: string,
  of: 'maximum' | 'minimum',
  axis: number,
  shape: readonly number[],
  keep: boolean,
) {
  if (writer.exceedsBinding(shape)) {
    throw new UnavailableError(
      `the places of extremes in a tensor [${shape}] are more than the webgpu backend can tell: it exceeds one buffer`,
      'lower --batch-size; or use --backend onnx',
    );
  }
  const axes = writer.int64s([axis]);
  const value = writer.node(REDUCTIONS[of], [x, axes], { keepdims: 1 });
  const places = Int32Array.from({ length: shape[axis] }, (_, i) => i);
  const counted = writer.constant(
    places,
    'int32',
    shape.map((size, at) => (at === axis ? size : 1)),
  );
  const hit = writer.node('Where', [writer.node('Equal', [x, value]), counted, writer.scalar(shape[axis], 'int32')]);
  return { value, counted, place: writer.node('ReduceMin', [hit, axes], { keepdims: flag(keep) }) };
}

/** The k largest along the last axis, one after the other: each is put out of sight once it is found. */
function largest(writer: NodeWriter, x: string, k: number, shape: readonly number[]): [values: string, places: string] {
  const axis = shape.length - 1;
  const found: { value: string; place: string }[] = [];
  let left = x;
  for (let i = 0; i < k; i++) {
    const { value, counted, place } = extreme(writer, left, 'maximum', axis, shape, true);
    found.push({ value, place });
    left = writer.node('Where', [writer.node('Equal', [counted, place]), writer.scalar(-LARGEST), left]);
  }
  const join = (names: string[]): string => writer.node('Concat', names, { axis });
  return [join(found.map(({ value }) => value)), join(found.map(({ place }) => place))];
}

export const REDUCE: Rules<'reduce' | 'argument' | 'cumulativeSum' | 'topK'> = {
  reduce(writer, [x], { attributes: { function: name, axes, keep } }) {
    return writer.node(REDUCTIONS[name], [x, writer.int64s(axes)], { keepdims: flag(keep) });
  },
  argument(writer, [x], { attributes: { of, axis }, inputs: [{ shape }] }) {
    if (!writer.lowering.complete) return extreme(writer, x, of, axis, shape, false).place;
    return writer.cast(writer.node(of === 'maximum' ? 'ArgMax' : 'ArgMin', [x], { axis, keepdims: 0 }), 'int32');
  },
  cumulativeSum(writer, [x], { attributes: { axis, exclusive, reverse } }) {
    const attributes = { exclusive: flag(exclusive), reverse: flag(reverse) };
    return writer.node('CumSum', [x, writer.int64s([axis])], attributes);
  },
  topK(writer, [x], { attributes: { k, sorted }, inputs: [{ shape }] }) {
    if (!writer.lowering.complete) return largest(writer, x, k, shape);
    const attributes = { axis: -1, sorted: flag(sorted) };
    const [values, indices] = writer.nodeOf(2, 'TopK', [x, writer.int64s([k])], attributes);
    return [values, writer.cast(indices, 'int32')];
  },
};
