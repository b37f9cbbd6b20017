/** Operations on images [B, C, H, W]. */
import type { Rules } from './rule.js';
import { flag } from './writer.js';

const both = (value: number): number[] => [value, value];

export const IMAGE: Rules<'convolution' | 'convolutionTranspose' | 'maxPool' | 'averagePool' | 'enlarge'> = {
  convolution: (writer, inputs, { attributes: { stride, padding, dilation } }) =>
    writer.node('Conv', inputs, { strides: both(stride), dilations: both(dilation), pads: padding }),

  convolutionTranspose(writer, inputs, { attributes: { stride, padding, size }, inputs: [dy, weight] }) {
    const [top, left, bottom, right] = padding;
    const covered = (axis: number, pad: number) => (dy.shape[axis] - 1) * stride + weight.shape[axis] - pad;
    const unreached = [size[0] - covered(2, top + bottom), size[1] - covered(3, left + right)];
    return writer.node('ConvTranspose', inputs, { strides: both(stride), pads: padding, output_padding: unreached });
  },

  maxPool: (writer, inputs, { attributes: { size, stride, padding } }) =>
    writer.node('MaxPool', inputs, { kernel_shape: both(size), strides: both(stride), pads: padding }),

  averagePool: (writer, inputs, { attributes: { size, stride, padding, countPadding } }) =>
    writer.node('AveragePool', inputs, {
      kernel_shape: both(size),
      strides: both(stride),
      pads: padding,
      count_include_pad: flag(countPadding),
    }),

  enlarge: (writer, [x], { outputs: [{ shape }] }) =>
    writer.node('Resize', [x, null, null, writer.int64s(shape)], {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
    }),
};
