/** Normalisation, and the activations that ONNX Runtime has whole. */
import { sizeOf } from '../../../numbers/typed-array.js';
import { constant, contribOp, float, op, operation, reshape, type Value } from '../graph.js';
import { defineKernel } from './define.js';

const filled = (value: number, length: number): Value =>
  constant(new Float32Array(length).fill(value), 'float32', [length]);

defineKernel<{ epsilon: number }>('LayerNorm', ({ x }, { epsilon }) => {
  const statistics = ['float32', x.shape.with(-1, 1)] as const;
  const [y, , inverseDeviation] = operation(
    'LayerNormalization',
    [x, filled(1, x.shape.at(-1)!)],
    [['float32', x.shape], statistics, statistics],
    { axis: -1, epsilon: float(epsilon) },
  );
  return [y, inverseDeviation];
});

// The rows of an image's group are long: InstanceNormalization takes the variance about the mean, in a second pass.
defineKernel<{ groups: number; epsilon: number }>('GroupStandardise', ({ x }, { groups, epsilon }) => {
  const [batch] = x.shape;
  const rows = reshape(x, [batch, groups, sizeOf(x.shape) / (batch * groups)]); // [B, G, C/G * H * W]
  const inputs = [rows, filled(1, groups), filled(0, groups)];
  return reshape(op('InstanceNormalization', inputs, 'float32', rows.shape, { epsilon: float(epsilon) }), x.shape);
});

defineKernel<{ approximate: 'tanh' | 'none' }>('Gelu', ({ x }, { approximate }) =>
  op('Gelu', [x], 'float32', x.shape, { approximate }),
);
defineKernel<{ steepness: number }>('Silu', ({ x }, { steepness }) =>
  contribOp('QuickGelu', [x], 'float32', x.shape, { alpha: float(steepness) }),
);
