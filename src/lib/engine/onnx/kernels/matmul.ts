/** Matrix products. */
import * as tf from '../../tfjs.js';
import { contribOp, float, op, reshape, type Value } from '../graph.js';
import { defineKernel } from './define.js';

interface Product {
  transposeA: boolean;
  transposeB: boolean;
}

const flag = (value: boolean): number => (value ? 1 : 0);

/** a [m, k] b [k, n], each possibly stored transposed, plus an optional row of n. */
function gemm(a: Value, b: Value, bias: Value | null, { transposeA, transposeB }: Product): Value {
  const rows = a.shape[transposeA ? 1 : 0];
  const columns = b.shape[transposeB ? 0 : 1];
  const attributes = { transA: flag(transposeA), transB: flag(transposeB) };
  return op('Gemm', bias ? [a, b, bias] : [a, b], 'float32', [rows, columns], attributes);
}

/** a [..., m, k] b [..., k, n], batched, times `scale`. */
function batched(a: Value, b: Value, scale: number, { transposeA, transposeB }: Product): Value {
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const shape = [...batch, a.shape.at(transposeA ? -1 : -2)!, b.shape.at(transposeB ? -2 : -1)!];
  return contribOp('FusedMatMul', [a, b], 'float32', shape, {
    transA: flag(transposeA),
    transB: flag(transposeB),
    alpha: float(scale),
  });
}

const isSingle = ({ shape }: Value): boolean => shape.slice(0, -2).every((size) => size === 1);

defineKernel<Product>('BatchMatMul', ({ a, b }, product) => {
  const inner = [a.shape.at(product.transposeA ? -2 : -1), b.shape.at(product.transposeB ? -1 : -2)];
  tf.util.assert(
    inner[0] === inner[1],
    () => `Error in matMul: inner shapes (${inner}) of Tensors with shapes ${a.shape} and ${b.shape} must match.`,
  );
  if (!isSingle(a) || !isSingle(b)) return batched(a, b, 1, product);
  const y = gemm(reshape(a, a.shape.slice(-2)), reshape(b, b.shape.slice(-2)), null, product);
  const batch = (a.shape.length > b.shape.length ? a : b).shape.slice(0, -2);
  return reshape(y, [...batch, ...y.shape]);
});
defineKernel<Product & { scale: number }>('ScaledMatMul', ({ a, b }, { scale, ...product }) =>
  batched(a, b, scale, product),
);
defineKernel('Linear', ({ x, weight, bias }) => gemm(x, weight, bias ?? null, { transposeA: false, transposeB: true }));

/** The heads of a token side by side: [B, N, H, d] to [B, N, H d]. */
const joinHeads = (x: Value): Value => reshape(x, [...x.shape.slice(0, 2), x.shape[2] * x.shape[3]]);

defineKernel<{ scale: number }>('Attention', ({ q, k, v }, { scale }) => {
  const [joinedQ, joinedK, joinedV] = [q, k, v].map(joinHeads);
  const attributes = { num_heads: q.shape[2], scale: float(scale) };
  const y = contribOp('MultiHeadAttention', [joinedQ, joinedK, joinedV], 'float32', joinedQ.shape, attributes);
  return reshape(y, q.shape);
});
