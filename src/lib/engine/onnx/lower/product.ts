/** Matrix products, attention among them. */
import type { Value } from '../../graph/value.js';
import type { Attributes } from '../model.js';
import type { Rules } from './rule.js';
import { flag, float, type NodeWriter } from './writer.js';

/** A product in the lowering's element type, of operands and with a result in float32. */
function product(
  writer: NodeWriter,
  operands: readonly string[],
  write: (inputs: readonly string[]) => string,
): string {
  const { products } = writer.lowering;
  if (products === 'float32') return write(operands);
  return writer.cast(write(operands.map((name) => writer.cast(name, products))), 'float32');
}

/** a [m, k] b [k, n], each possibly stored transposed, plus an optional row of n. */
function matrices(writer: NodeWriter, [a, b, bias]: readonly string[], attributes: Attributes): string {
  // In half precision, the bias is added to the result of full precision.
  if (bias === undefined || writer.lowering.products === 'float32') {
    return product(writer, bias === undefined ? [a, b] : [a, b, bias], (inputs) =>
      writer.node('Gemm', inputs, attributes),
    );
  }
  return writer.node('Add', [matrices(writer, [a, b], attributes), bias]);
}

/** With its last two axes exchanged. */
function turn(writer: NodeWriter, name: string, { shape }: Value): string {
  const order = [...shape.keys()];
  return writer.transpose(name, [...order.slice(0, -2), order.length - 1, order.length - 2]);
}

const scaled = (writer: NodeWriter, x: string, scale: number): string =>
  scale === 1 ? x : writer.node('Mul', [x, writer.scalar(scale)]);

/** The heads of a token side by side: [B, N, H, d] to [B, N, H d]. */
const joinHeads = (writer: NodeWriter, x: string, { shape }: Value): string =>
  writer.reshape(x, [...shape.slice(0, 2), shape[2] * shape[3]]);

/** Whether a batch's leading axes are the other's, or there is but one matrix to go with all of the other. */
function fitsBatch(a: Value, b: Value): boolean {
  const [left, right] = [a, b].map(({ shape }) => shape.slice(0, -2));
  const isOne = (axes: readonly number[], other: readonly number[]) =>
    axes.length <= other.length && axes.every((size) => size === 1);
  return `${left}` === `${right}` || isOne(left, right) || isOne(right, left);
}

export const PRODUCT: Rules<'product' | 'attention'> = {
  product(writer, inputs, { attributes, inputs: operands }) {
    const { transposeA, transposeB, scale } = attributes;
    const transposes = { transA: flag(transposeA), transB: flag(transposeB) };
    const { bf16Parts } = writer.lowering;
    if (bf16Parts && fitsBatch(operands[0], operands[1])) {
      return writer.ownNode('Product', inputs, { ...transposes, alpha: float(scale), parts: bf16Parts });
    }
    const isFlat = operands.every(({ shape }) => shape.length <= 2);
    if (isFlat) return matrices(writer, inputs, scale === 1 ? transposes : { ...transposes, alpha: float(scale) });
    if (writer.lowering.fusedProduct) {
      return product(writer, inputs, (operands) =>
        writer.contribNode('FusedMatMul', operands, { ...transposes, alpha: float(scale) }),
      );
    }
    const [left, right] = inputs;
    const a = scaled(writer, left, scale);
    const turned = [
      transposeA ? turn(writer, a, operands[0]) : a,
      transposeB ? turn(writer, right, operands[1]) : right,
    ];
    return product(writer, turned, (operands) => writer.node('MatMul', operands));
  },

  attention(writer, inputs, { attributes: { scale }, inputs: [q, k, v] }) {
    if (writer.lowering.attention === 'fused') {
      const joined = [q, k, v].map((value, index) => joinHeads(writer, inputs[index], value));
      const attributes = { num_heads: q.shape[2], scale: float(scale) };
      const y = product(writer, joined, (operands) => writer.contribNode('MultiHeadAttention', operands, attributes));
      return writer.reshape(y, q.shape);
    }
    const multiply = (a: string, b: string) => product(writer, [a, b], (operands) => writer.node('MatMul', operands));
    const queries = writer.transpose(scaled(writer, inputs[0], scale), [0, 2, 1, 3]); // [B, H, N, d]
    const keys = writer.transpose(inputs[1], [0, 2, 3, 1]); // [B, H, d, M]
    const values = writer.transpose(inputs[2], [0, 2, 1, 3]); // [B, H, M, d]
    const weights = writer.node('Softmax', [multiply(queries, keys)], { axis: 3 }); // [B, H, N, M]
    return writer.transpose(multiply(weights, values), [0, 2, 1, 3]); // [B, N, H, d]
  },
};
