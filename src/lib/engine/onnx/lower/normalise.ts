/** Normalisation. */
import { sizeOf } from '../../../numbers/typed-array.js';
import type { Rules } from './rule.js';
import { float } from './writer.js';

export const NORMALISE: Rules<'layerNorm' | 'groupNorm'> = {
  layerNorm(writer, [x], { attributes: { epsilon }, inputs: [{ shape }] }) {
    const inputs = [x, writer.filled(1, [shape.at(-1)!])];
    const attributes = { axis: -1, epsilon: float(epsilon) };
    if (writer.lowering.layerNormStatistics) {
      const [y, , inverseDeviation] = writer.nodeOf(3, 'LayerNormalization', inputs, attributes);
      return [y, inverseDeviation];
    }
    const mean = (value: string) =>
      writer.node('ReduceMean', [value, writer.int64s([shape.length - 1])], { keepdims: 1 }); // [..., 1]
    const centred = writer.node('Sub', [x, mean(x)]); // [..., D]
    const variance = mean(writer.node('Mul', [centred, centred])); // [..., 1]
    const deviation = writer.node('Sqrt', [writer.node('Add', [variance, writer.scalar(epsilon)])]); // [..., 1]
    const inverse = writer.node('Reciprocal', [deviation]);
    const y = writer.exceedsBinding(shape)
      ? writer.node('Mul', [centred, inverse])
      : writer.node('LayerNormalization', inputs, attributes);
    return [y, inverse];
  },

  // The rows of an image's group are long: InstanceNormalization takes the variance about the mean, in a second pass.
  groupNorm(writer, [x], { attributes: { groups, epsilon }, inputs: [{ shape }] }) {
    if (writer.lowering.bf16Parts === 1)
      return writer.ownNode('GroupNorm', [x], { groups, epsilon: float(epsilon), silu: 0, paired: 0 });
    const [batch] = shape;
    const rows = writer.reshape(x, [batch, groups, sizeOf(shape) / (batch * groups)]); // [B, G, C/G * H * W]
    const inputs = [rows, writer.filled(1, [groups]), writer.filled(0, [groups])];
    return writer.reshape(writer.node('InstanceNormalization', inputs, { epsilon: float(epsilon) }), shape);
  },
};
