/** Normalisation. */
import { sizeOf } from '../../../numbers/typed-array.js';
import type { Rules } from './rule.js';
import type { Tensor, Writer } from './writer.js';

/** Mean 0 and variance 1 over the last axis; and 1 / sqrt(variance + epsilon). The variance is taken about the mean. */
function standardise(writer: Writer, x: Tensor, epsilon: number): [Tensor, Tensor] {
  const axis = [x.shape.length - 1];
  const centred = writer.binary('subtract', x, writer.mean(x, axis, true)); // [..., D]
  const variance = writer.mean(writer.binary('multiply', centred, centred), axis, true); // [..., 1]
  const inverseDeviation = writer.unary('rsqrt', writer.binary('add', variance, epsilon)); // [..., 1]
  return [writer.binary('multiply', centred, inverseDeviation), inverseDeviation];
}

export const NORMALISE: Rules<'layerNorm' | 'groupNorm'> = {
  layerNorm: (writer, [x], { attributes: { epsilon } }) => standardise(writer, x, epsilon),
  groupNorm(writer, [x], { attributes: { groups, epsilon } }) {
    const [batch] = x.shape;
    const rows = writer.reshape(x, [batch, groups, sizeOf(x.shape) / (batch * groups)]); // [B, G, C/G * H * W]
    return writer.reshape(standardise(writer, rows, epsilon)[0], x.shape);
  },
};
