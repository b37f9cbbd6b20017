/** Matrix products, attention among them. */

import { softmax } from './elementwise.js';
import type { Rules } from './rule.js';
import { joinedShape, type Tensor, typeOf, type Writer } from './writer.js';

/** Axes of two operands: those that belong together, and those that are summed over. */
interface Axes {
  readonly batch: readonly [readonly number[], readonly number[]];
  readonly contract: readonly [number, number];
}

/** Sums of products in float32: first the batch's axes, then the rest of a's, then the rest of b's. */
function dot(writer: Writer, left: Tensor, right: Tensor, { batch, contract }: Axes): Tensor {
  const [a, b] = writer.operands(left, right);
  const rest = ({ shape }: Tensor, side: 0 | 1) =>
    shape.filter((_, axis) => axis !== contract[side] && !batch[side].includes(axis));
  const shape = [...batch[0].map((axis) => a.shape[axis]), ...rest(a, 0), ...rest(b, 1)];
  const batching = batch[0].length > 0 ? `batching_dims = [${batch[0].join(', ')}] x [${batch[1].join(', ')}], ` : '';
  return writer.emit(
    `stablehlo.dot_general ${a.name}, ${b.name}, ${batching}contracting_dims = [${contract[0]}] x [${contract[1]}], ` +
      `precision = [${writer.precision}, ${writer.precision}] : ` +
      `(${typeOf(a)}, ${typeOf(b)}) -> ${typeOf({ dtype: 'float32', shape })}`,
    'float32',
    shape,
  );
}

const isSingle = ({ shape }: Tensor): boolean => shape.slice(0, -2).every((size) => size === 1);

/** Of the last two axes. */
function product(writer: Writer, a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  // A single matrix on the right is one for all: the batch is but more rows.
  if (isSingle(b) && b.shape.length <= a.shape.length) {
    const matrix = writer.reshape(b, b.shape.slice(-2));
    const rank = a.shape.length;
    const axes: Axes = { batch: [[], []], contract: [transposeA ? rank - 2 : rank - 1, transposeB ? 1 : 0] };
    return dot(writer, a, matrix, axes);
  }
  const leading = joinedShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const [x, y] = [a, b].map((value) => writer.broadcast(value, [...leading, ...value.shape.slice(-2)]));
  const batch = [...leading.keys()];
  const rank = leading.length + 2;
  const contract = [transposeA ? rank - 2 : rank - 1, transposeB ? rank - 1 : rank - 2] as const;
  return dot(writer, x, y, { batch: [batch, batch], contract });
}

const scaled = (writer: Writer, x: Tensor, scale: number): Tensor =>
  scale === 1 ? x : writer.binary('multiply', x, scale);

export const PRODUCT: Rules<'product' | 'attention'> = {
  product(writer, [a, b, bias], { attributes: { transposeA, transposeB, scale } }) {
    const y = scaled(writer, product(writer, a, b, transposeA, transposeB), scale);
    return bias ? writer.binary('add', y, bias) : y;
  },
  attention(writer, [q, k, v], { attributes: { scale } }) {
    const logits = dot(writer, q, k, {
      batch: [
        [0, 2],
        [0, 2],
      ],
      contract: [3, 3],
    }); // [B, H, N, M]
    const weights = softmax(writer, scaled(writer, logits, scale), 3); // [B, H, N, M]
    const y = dot(writer, weights, v, {
      batch: [
        [0, 1],
        [0, 2],
      ],
      contract: [3, 1],
    }); // [B, H, N, d]
    return writer.transpose(y, [0, 2, 1, 3]); // [B, N, H, d]
  },
};
