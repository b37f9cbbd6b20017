/** Operations on images [B, C, H, W]. */
import { type Operation, producerOf } from '../../graph/value.js';
import { packConvolution } from '../native.js';
import type { Rules } from './rule.js';
import { flag, NO_ACTIVATION, type NodeWriter } from './writer.js';

const both = (value: number): number[] => [value, value];

/** Whether what is convolved has been enlarged, so that few different pixels lie under a kernel. */
function isEnlarged({
  attributes: { stride, padding, dilation },
  inputs: [x, weight],
}: Operation<'convolution'>): boolean {
  const isUsual = stride === 1 && dilation === 1 && padding.every((size) => size === 1);
  const [height, width] = weight.shape.slice(2);
  return isUsual && height === 3 && width === 3 && producerOf(x, 'enlarge')?.attributes.factor === 2;
}

/** By units for bf16, of weights that are part of the graph. */
function packedConvolution(
  writer: NodeWriter,
  [x, weight, bias]: readonly string[],
  operation: Operation<'convolution'>,
): string {
  const { stride, padding, dilation } = operation.attributes;
  const kernel = operation.inputs[1].shape;
  const [{ shape }] = operation.outputs;
  const enlarged = isEnlarged(operation);
  const packed = writer.packed(weight, `convolution ${[...kernel, enlarged]}`, (data) =>
    packConvolution(data, kernel, enlarged),
  );
  return writer.ownNode('Convolution', [enlarged ? writer.makerOf(x).inputs[0] : x, packed, bias ?? null], {
    ...{ outChannels: kernel[0], kernelHeight: kernel[2], kernelWidth: kernel[3] },
    ...{ outHeight: shape[2], outWidth: shape[3], stride, dilation, top: padding[0], left: padding[1] },
    ...{ act: NO_ACTIVATION, paired: 0, enlarged: flag(enlarged) },
  });
}

/** Outputs of a convolution by units for bf16 are computed 32 at a time. */
const WORTH_PACKING = 16;

/** What `compute` makes of x [B, ...], of as many images at a time as are not too large for it. */
function inPortions(
  writer: NodeWriter,
  x: string,
  { inputs: [{ shape }], outputs: [{ shape: made }] }: Operation<'convolution'>,
  compute: (images: string) => string,
): string {
  const [batch] = shape;
  const exceeds = (count: number): boolean =>
    [shape, made].some((each) => writer.exceedsBinding([count, ...each.slice(1)]));
  let portion = batch;
  while (portion > 1 && exceeds(portion)) portion = Math.ceil(portion / 2);
  if (portion === batch) return compute(x);
  const sizes = Array.from({ length: Math.ceil(batch / portion) }, (_, i) => Math.min(portion, batch - i * portion));
  const portions = writer.nodeOf(sizes.length, 'Split', [x, writer.int64s(sizes)], { axis: 0 });
  return writer.node('Concat', portions.map(compute), { axis: 0 });
}

export const IMAGE: Rules<'convolution' | 'convolutionTranspose' | 'maxPool' | 'averagePool' | 'enlarge'> = {
  convolution(writer, inputs, operation) {
    const { stride, padding, dilation, groups = 1 } = operation.attributes;
    const isPacked = groups === 1 && writer.bakedLeaf(inputs[1]) && operation.inputs[1].shape[0] >= WORTH_PACKING;
    if (writer.lowering.bf16Parts === 1 && isPacked) return packedConvolution(writer, inputs, operation);
    const attributes = {
      strides: both(stride),
      dilations: both(dilation),
      pads: padding,
      ...(groups === 1 ? {} : { group: groups }),
    };
    const [x, ...weights] = inputs;
    return inPortions(writer, x, operation, (images) => writer.node('Conv', [images, ...weights], attributes));
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
