/** Operations that move elements. */
import { sizeOf } from '../../../numbers/typed-array.js';
import type { Attributes, ShapeName } from '../../graph/operations.js';
import type { Rules } from './rule.js';
import type { NodeWriter } from './writer.js';

/** Pads by joining, axis after axis, what lies before and after. */
function frame(
  writer: NodeWriter,
  x: string,
  shape: readonly number[],
  { before, after }: Omit<Attributes['pad'], 'value'>,
  value: string,
): string {
  const sizes = [...shape];
  return sizes.reduce((inner, _, axis) => {
    const side = (size: number): string[] => {
      const part = writer.int64s(sizes.map((own, at) => (at === axis ? size : own)));
      return size > 0 ? [writer.node('Expand', [value, part])] : [];
    };
    const parts = [...side(before[axis]), inner, ...side(after[axis])];
    sizes[axis] += before[axis] + after[axis];
    return parts.length > 1 ? writer.node('Concat', parts, { axis }) : inner;
  }, x);
}

export const SHAPE: Rules<ShapeName> = {
  reshape: (writer, [x], { attributes: { shape } }) => writer.reshape(x, shape),
  broadcast: (writer, [x], { attributes: { shape } }) => writer.node('Expand', [x, writer.int64s(shape)]),
  transpose: (writer, [x], { attributes: { order } }) => writer.transpose(x, order),
  slice(writer, [x], { attributes: { start, size, step } }) {
    const end = start.map((first, axis) => first + (size[axis] - 1) * step[axis] + 1);
    const block = [x, writer.int64s(start), writer.int64s(end)];
    if (step.every((distance) => distance === 1)) return writer.node('Slice', block);
    return writer.node('Slice', [...block, writer.int64s([...step.keys()]), writer.int64s(step)]);
  },
  reverse(writer, [x], { attributes: { axes } }) {
    const each = (value: number) => writer.int64s(axes.map(() => value));
    // From the last element back to before the first one, which the slice's end clamps to.
    return writer.node('Slice', [x, each(-1), each(Number.MIN_SAFE_INTEGER), writer.int64s(axes), each(-1)]);
  },
  tile: (writer, [x], { attributes: { repeats } }) => writer.node('Tile', [x, writer.int64s(repeats)]),
  pad(writer, [x], { attributes: { before, after, value }, inputs: [{ shape }], outputs: [{ dtype, shape: padded }] }) {
    if (writer.exceedsBinding(padded)) return frame(writer, x, shape, { before, after }, writer.scalar(value, dtype));
    return writer.node('Pad', [x, writer.int64s([...before, ...after]), writer.scalar(value, dtype)]);
  },
  split: (writer, [x], { attributes: { axis, sizes } }) =>
    writer.nodeOf(sizes.length, 'Split', [x, writer.int64s(sizes)], { axis }),
  concatenate: (writer, inputs, { attributes: { axis } }) => writer.node('Concat', inputs, { axis }),
  gather: (writer, inputs, { attributes: { axis } }) => writer.node('Gather', inputs, { axis }),
  scatterAdd(writer, [rows, indices], { inputs: [{ dtype, shape }], outputs: [{ shape: sums }] }) {
    if (writer.lowering.scatter) {
      const places = writer.cast(writer.reshape(indices, [shape[0], 1]), 'int64');
      const zeros = writer.node('Expand', [writer.scalar(0, dtype), writer.int64s(sums)]);
      return writer.node('ScatterND', [zeros, places, rows], { reduction: 'add' });
    }
    // The rows whose index is k, summed by a product with a mask.
    const [count] = sums;
    const counted = Int32Array.from({ length: count }, (_, index) => index);
    const classes = writer.constant(counted, 'int32', [count, 1]);
    const hits = writer.node('Equal', [classes, writer.reshape(indices, [1, shape[0]])]);
    const mask = writer.cast(hits, 'float32'); // [count, N]
    const width = sizeOf(shape.slice(1));
    return writer.reshape(writer.node('Gemm', [mask, writer.reshape(rows, [shape[0], width])]), sums);
  },
  // ONNX Runtime would merge what is computed of x with the same computed earlier.
  after(writer, [x, other], { inputs: [, { shape }] }) {
    const flat = writer.reshape(other, [sizeOf(shape)]);
    const element = writer.node('Slice', [flat, writer.int64s([0]), writer.int64s([1])]);
    return writer.node('Where', [writer.constant(Uint8Array.of(1), 'bool', [1]), x, element]);
  },
};
