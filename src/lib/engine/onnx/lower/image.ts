/** Operations on images [B, C, H, W]. */
import type { Operation } from '../../graph/value.js';
import { packConvolution } from '../native.js';
import type { Rules } from './rule.js';
import { flag, NO_ACTIVATION, type NodeWriter } from './writer.js';

const both = (value: number): number[] => [value, value];

/** By units for bf16, of weights that are part of the graph. */
function packedConvolution(
  writer: NodeWriter,
  [x, weight, bias]: readonly string[],
  { attributes: { stride, padding, dilation }, inputs, outputs: [{ shape }] }: Operation<'convolution'>,
): string {
  const kernel = inputs[1].shape;
  const packed = writer.packed(weight, 'convolution', (data) => packConvolution(data, kernel));
  return writer.ownNode('Convolution', [x, packed, bias ?? null], {
    ...{
      outChannels: kernel[0],
      kernelHeight: kernel[2],
      kernelWidth: kernel[3],
      outHeight: shape[2],
      outWidth: shape[3],
    },
    ...{ stride, dilation, top: padding[0], left: padding[1], act: NO_ACTIVATION },
  });
}

/** Outputs of a convolution by units for bf16 are computed 32 at a time. */
const WORTH_PACKING = 16;

export const IMAGE: Rules<'convolution' | 'convolutionTranspose' | 'maxPool' | 'averagePool' | 'enlarge'> = {
  convolution(writer, inputs, operation) {
    const { stride, padding, dilation } = operation.attributes;
    const isPacked = writer.bakedLeaf(inputs[1]) && operation.inputs[1].shape[0] >= WORTH_PACKING;
    if (writer.lowering.bf16Parts === 1 && isPacked) return packedConvolution(writer, inputs, operation);
    return writer.node('Conv', inputs, { strides: both(stride), dilations: both(dilation), pads: padding });
  },

  convolutionTranspose(writer, inputs, { attributes: { stride, padding, size }, inputs: [dy, weight] }) {
    const [top, left, bottom, right] = padding;
    const covered = (axis: number, pad: number) => (dy.shape[axis] - 1) * stride + weight.shape[axis] - pad;
    const unreached = [size[0] - covered(2, top + bottom), size[1] - covered(3, left + right)];
    return writer.node('ConvTranspose', inputs, { strides: both(stride), pads: padding, output_padding: unreached });
  },

  maxPool: (writer, inputs, { attributes: { size, stride, padding } }) =>
    writer.node('MaxPool', inputs, { kernel_shape: both(size), strides: both(stride), pads: padding }),

  averagePool(writer, inputs, { attributes: { size, stride, padding, countPadding }, outputs: [{ shape }] }) {
    // ONNX Runtime's takes long where the images are not in the layout of its own convolutions.
    if (writer.lowering.bf16Parts === 1) {
      return writer.ownNode('AveragePool', inputs, {
        ...{ size, stride, top: padding[0], left: padding[1], countPadding: flag(countPadding) },
        ...{ outHeight: shape[2], outWidth: shape[3] },
      });
    }
    return writer.node('AveragePool', inputs, {
      kernel_shape: both(size),
      strides: both(stride),
      pads: padding,
      count_include_pad: flag(countPadding),
    });
  },

  enlarge: (writer, [x], { outputs: [{ shape }] }) =>
    writer.node('Resize', [x, null, null, writer.int64s(shape)], {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
    }),
};
