/** How much work a recorded graph is. */
import { sizeOf } from '../../numbers/typed-array.js';
import { sortOperations } from './order.js';
import type { Operation, Value } from './value.js';

/**
 * Floating point operations of the products that `outputs` take: matrix products, attention and convolutions, a
 * multiplication and an addition each. What is computed again for the backward pass does not count, as is usual of a
 * model's FLOPs (arXiv 2204.02311, appendix B), nor does whatever works on elements.
 */
export const productFlops = (outputs: readonly Value[]): number =>
  sortOperations(outputs).operations.reduce(
    (sum, operation) => sum + (operation.again ? 0 : 2 * multiplications(operation)),
    0,
  );

function multiplications({ name, attributes, inputs, outputs }: Operation): number {
  if (name === 'product') {
    const [a] = inputs;
    const inner = (attributes as { transposeA: boolean }).transposeA ? a.shape.at(-2)! : a.shape.at(-1)!;
    return sizeOf(outputs[0].shape) * inner;
  }
  if (name === 'attention') return 2 * sizeOf(inputs[0].shape) * inputs[1].shape[1]; // q k^T, and weights v: [B, N, H, d] by M
  // Each pixel of y [B, O, h, w] (of its gradient dy, transposed) takes one multiplication a weight [O, I, kh, kw] of
  // its channel.
  if (name === 'convolution') return sizeOf(outputs[0].shape) * sizeOf(inputs[1].shape.slice(1));
  if (name === 'convolutionTranspose') return sizeOf(inputs[0].shape) * sizeOf(inputs[1].shape.slice(1));
  return 0;
}
