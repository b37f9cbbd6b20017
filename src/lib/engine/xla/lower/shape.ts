/** Operations that move elements. */
import type { ShapeName } from '../../graph/operations.js';
import type { Rules } from './rule.js';
import { type Tensor, typeOf, type Writer } from './writer.js';

/** Each axis is cut in two, [repeats, size], and joined again: x comes so many times along each. */
function tile(writer: Writer, x: Tensor, repeats: readonly number[]): Tensor {
  const places = x.shape.map((_, axis) => 2 * axis + 1);
  const apart = writer.broadcast(
    x,
    x.shape.flatMap((size, axis) => [repeats[axis], size]),
    places,
  );
  return writer.reshape(
    apart,
    x.shape.map((size, axis) => size * repeats[axis]),
  );
}

/** Slices of x of size 1 along the axis, at each index. */
function gather(writer: Writer, x: Tensor, indices: Tensor, axis: number): Tensor {
  const shape = x.shape.toSpliced(axis, 1, ...indices.shape);
  const offsets = [...shape.keys()].filter((at) => at < axis || at >= axis + indices.shape.length);
  const numbers = [
    `offset_dims = [${offsets.join(', ')}]`,
    `collapsed_slice_dims = [${axis}]`,
    `start_index_map = [${axis}]`,
    `index_vector_dim = ${indices.shape.length}`,
  ];
  const sizes = x.shape.with(axis, 1).join(', ');
  return writer.emit(
    `"stablehlo.gather"(${x.name}, ${indices.name}) <{dimension_numbers = #stablehlo.gather<${numbers.join(', ')}>, ` +
      `slice_sizes = array<i64: ${sizes}>, indices_are_sorted = false}> : ` +
      `(${typeOf(x)}, ${typeOf(indices)}) -> ${typeOf({ dtype: x.dtype, shape })}`,
    x.dtype,
    shape,
  );
}

/** `sums` with each row added where its index says. */
function scatterAdd(writer: Writer, sums: Tensor, indices: Tensor, rows: Tensor): Tensor {
  const inside = [...rows.shape.keys()].slice(1);
  const numbers = [
    `update_window_dims = [${inside.join(', ')}]`,
    'inserted_window_dims = [0]',
    'scatter_dims_to_operand_dims = [0]',
    'index_vector_dim = 1',
  ];
  const scalar = typeOf({ dtype: rows.dtype, shape: [] });
  return writer.emit(
    `"stablehlo.scatter"(${sums.name}, ${indices.name}, ${rows.name}) <{scatter_dimension_numbers = ` +
      `#stablehlo.scatter<${numbers.join(', ')}>, indices_are_sorted = false, unique_indices = false}> ({ ` +
      `^bb0(%left: ${scalar}, %right: ${scalar}): %sum = stablehlo.add %left, %right : ${scalar} ` +
      `stablehlo.return %sum : ${scalar} }) : ` +
      `(${typeOf(sums)}, ${typeOf(indices)}, ${typeOf(rows)}) -> ${typeOf(sums)}`,
    sums.dtype,
    sums.shape,
  );
}

export const SHAPE: Rules<ShapeName> = {
  reshape: (writer, [x], { attributes: { shape } }) => writer.reshape(x, shape),
  broadcast: (writer, [x], { attributes: { shape } }) => writer.broadcast(x, shape),
  transpose: (writer, [x], { attributes: { order } }) => writer.transpose(x, order),
  slice: (writer, [x], { attributes: { start, size, step } }) => writer.slice(x, start, size, step),
  reverse: (writer, [x], { attributes: { axes } }) => writer.reverse(x, axes),
  tile: (writer, [x], { attributes: { repeats } }) => tile(writer, x, repeats),
  pad: (writer, [x], { attributes: { before, after, value } }) =>
    writer.pad(x, before, after, writer.literal(value, x.dtype)),
  split(writer, [x], { attributes: { axis, sizes } }) {
    let next = 0;
    return sizes.map((size) => {
      const start = x.shape.map((_, at) => (at === axis ? next : 0));
      next += size;
      return writer.slice(x, start, x.shape.with(axis, size));
    });
  },
  concatenate: (writer, inputs, { attributes: { axis } }) => writer.concatenate(inputs, axis),
  gather: (writer, [x, indices], { attributes: { axis } }) => gather(writer, x, indices, axis),
  scatterAdd: (writer, [rows, indices], { outputs: [{ shape }] }) =>
    scatterAdd(writer, writer.literal(0, rows.dtype, shape), indices, rows),
  // What passes a barrier is merged with nothing in front of it.
  after: (writer, [x, other]) =>
    writer.emitAll(`stablehlo.optimization_barrier ${x.name}, ${other.name} : ${typeOf(x)}, ${typeOf(other)}`, [
      x,
      other,
    ])[0],
};
