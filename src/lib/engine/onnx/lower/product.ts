/** Matrix products, attention among them. */
import type { Operation, Value } from '../../graph/value.js';
import type { Attributes } from '../model.js';
import { packProduct } from '../native.js';
import { softmax } from './elementwise.js';
import type { Rules } from './rule.js';
import { flag, float, NO_ACTIVATION, type NodeWriter } from './writer.js';

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

/**
 * Whether the units, which take PANEL rows and columns at a time, would mostly multiply zeros, so that ONNX Runtime's
 * own products are faster: matrices of a batch, and, where each takes four products, all that are so small along any
 * axis.
 */
function isSmall({ inputs: [a], outputs: [{ shape }] }: Operation<'product'>, parts: number): boolean {
  const sizes = parts === 2 ? [...shape.slice(-2), ...a.shape.slice(-2)] : shape.slice(-2);
  return (parts === 2 || shape.length > 2) && sizes.some((size) => size <= PANEL / 2);
}

/** Rows and columns that the units take at a time (native/units.h). */
const PANEL = 32;

/** Whether a second operand that is known ahead is packed for the units. */
export const isPackable = (operation: Operation<'product'>, parts: number): boolean =>
  operation.inputs[1].shape.length === 2 &&
  !operation.attributes.transposeA &&
  !(parts === 2 && isSmall(operation, parts));

/** By units for bf16; a second operand that is part of the graph is packed ahead. Null where the shapes do not fit. */
function nativeProduct(
  writer: NodeWriter,
  [a, b, bias = null]: readonly (string | null)[],
  operation: Operation<'product'>,
): string | null {
  const {
    attributes: { transposeA, transposeB, scale },
    inputs: [left, right],
  } = operation;
  const parts = writer.lowering.bf16Parts;
  const common = { alpha: float(scale), parts, act: NO_ACTIVATION };
  if (writer.bakedLeaf(b!) && isPackable(operation, parts)) {
    const [k, n] = transposeB ? right.shape.toReversed() : right.shape;
    const layout = `product ${n} ${k} ${transposeB} ${parts}`;
    const packed = writer.packed(b!, layout, (data) => packProduct(data, n, k, transposeB, parts));
    return writer.ownNode('PackedProduct', [a, packed, bias], { ...common, n, k });
  }
  if (!fitsBatch(left, right) || isSmall(operation, parts)) return null;
  return writer.ownNode('Product', [a, b, bias], { ...common, transA: flag(transposeA), transB: flag(transposeB) });
}

export const PRODUCT: Rules<'product' | 'attention'> = {
  product(writer, inputs, operation) {
    const { inputs: operands } = operation;
    const { transposeA, transposeB, scale } = operation.attributes;
    const native = writer.lowering.bf16Parts ? nativeProduct(writer, inputs, operation) : null;
    if (native) return native;
    const transposes = { transA: flag(transposeA), transB: flag(transposeB) };
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
    // Logits are exponents, in which an error counts by their size: they are of f32 unless bf16 is good enough.
    const isLarge = [q, k].every(({ shape }) => shape[1] > PANEL / 2);
    if (writer.lowering.bf16Parts === 1 && isLarge) return writer.ownNode('Attention', inputs, { scale: float(scale) });
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
    const [images, rows, heads] = q.shape;
    const weights = softmax(writer, multiply(queries, keys), [images, heads, rows, k.shape[1]], 3); // [B, H, N, M]
    return writer.transpose(multiply(weights, values), [0, 2, 1, 3]); // [B, N, H, d]
  },
};
