/** Matrix products. */
import * as tf from '../../tfjs.js';
import { op, reshape, type Value } from '../value.js';
import { defineKernel } from './define.js';

interface Product {
  transposeA: boolean;
  transposeB: boolean;
}

const isSingle = ({ shape }: Value): boolean => shape.slice(0, -2).every((size) => size === 1);

defineKernel<Product>('BatchMatMul', ({ a, b }, { transposeA, transposeB }) => {
  const inner = [a.shape.at(transposeA ? -2 : -1), b.shape.at(transposeB ? -1 : -2)];
  tf.util.assert(
    inner[0] === inner[1],
    () => `Error in matMul: inner shapes (${inner}) of Tensors with shapes ${a.shape} and ${b.shape} must match.`,
  );
  const attributes = { transposeA, transposeB, scale: 1 };
  if (!isSingle(a) || !isSingle(b)) return op('product', [a, b], attributes);
  const y = op('product', [reshape(a, a.shape.slice(-2)), reshape(b, b.shape.slice(-2))], attributes);
  const batch = (a.shape.length > b.shape.length ? a : b).shape.slice(0, -2);
  return reshape(y, [...batch, ...y.shape]);
});
defineKernel<Product & { scale: number }>('ScaledMatMul', ({ a, b }, { scale, transposeA, transposeB }) =>
  op('product', [a, b], { transposeA, transposeB, scale }),
);
defineKernel('Linear', ({ x, weight, bias }) =>
  op('product', bias ? [x, weight, bias] : [x, weight], { transposeA: false, transposeB: true, scale: 1 }),
);
defineKernel<{ scale: number }>('Attention', ({ q, k, v }, { scale }) => op('attention', [q, k, v], { scale }));
