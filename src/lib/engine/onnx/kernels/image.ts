/** Convolution, pooling and enlarging of images [B, C, H, W]. */
import type { Window } from '../../fused/image.js';
import { contribOp, int64s, op, reshape, transpose, type Value } from '../graph.js';
import { defineKernel } from './define.js';

const windowAttributes = ({ stride, padding }: Window) => ({ strides: [stride, stride], pads: padding });

/** How often a window of `height` x `width` fits along each axis. */
function outputSize(x: Value, height: number, width: number, { stride, padding }: Window): [number, number] {
  const [top, left, bottom, right] = padding;
  const count = (size: number, pad: number, extent: number) => Math.floor((size + pad - extent) / stride) + 1;
  return [count(x.shape[2], top + bottom, height), count(x.shape[3], left + right, width)];
}

defineKernel<Window>('Conv2dNchw', ({ x, weight, bias }, window) => {
  const [outChannels, , height, width] = weight.shape;
  const shape = [x.shape[0], outChannels, ...outputSize(x, height, width, window)];
  return op('Conv', bias ? [x, weight, bias] : [x, weight], 'float32', shape, windowAttributes(window));
});

defineKernel<Window & { size: number[] }>('Conv2dNchwInputGradient', ({ dy, weight }, { size, ...window }) => {
  const [, inChannels, height, width] = weight.shape;
  const [top, left, bottom, right] = window.padding;
  const covered = (count: number, extent: number, pad: number) => (count - 1) * window.stride + extent - pad;
  const unreached = [
    size[0] - covered(dy.shape[2], height, top + bottom),
    size[1] - covered(dy.shape[3], width, left + right),
  ];
  const attributes = { ...windowAttributes(window), output_padding: unreached };
  return op('ConvTranspose', [dy, weight], 'float32', [dy.shape[0], inChannels, ...size], attributes);
});

// A weight's gradient: what each of its elements saw of the image, times dy, summed over places and images. ONNX Runtime's
// own convolution, with images and channels exchanged, takes twice as long, as its kernels would be as large as dy.
defineKernel<Window & { size: number[] }>('Conv2dNchwWeightGradient', ({ x, dy }, { size, stride, padding }) => {
  const [top, left, bottom, right] = padding;
  const [batch, inChannels, height, width] = x.shape;
  const [, outChannels, rows, columns] = dy.shape;
  const margins = int64s([0, 0, top, left, 0, 0, bottom, right]);
  const paddedShape = [batch, inChannels, height + top + bottom, width + left + right];
  const padded = op('Pad', [x, margins], 'float32', paddedShape);
  const seenBy = (i: number, j: number): Value => {
    const end = [i + stride * (rows - 1) + 1, j + stride * (columns - 1) + 1];
    const slice = [padded, int64s([i, j]), int64s(end), int64s([2, 3]), int64s([stride, stride])];
    return op('Slice', slice, 'float32', [batch, inChannels, rows, columns]);
  };
  const elements = size[0] * size[1] * inChannels;
  const parts = Array.from({ length: size[0] * size[1] }, (_, k) => seenBy(Math.floor(k / size[1]), k % size[1]));
  const seen = op('Concat', parts, 'float32', [batch, elements, rows, columns], { axis: 1 });
  const places = (value: Value): Value => reshape(value, [batch, value.shape[1], rows * columns]);
  const products = contribOp('FusedMatMul', [places(dy), places(seen)], 'float32', [batch, outChannels, elements], {
    transB: 1,
  }); // [B, O, kh kw I]
  const sum = op('ReduceSum', [products, int64s([0])], 'float32', [outChannels, elements], { keepdims: 0 });
  return transpose(reshape(sum, [outChannels, ...size, inChannels]), [0, 3, 1, 2]); // [O, I, kh, kw]
});

function pool(type: string, x: Value, size: number, window: Window, attributes = {}): Value {
  const shape = [x.shape[0], x.shape[1], ...outputSize(x, size, size, window)];
  return op(type, [x], 'float32', shape, { kernel_shape: [size, size], ...windowAttributes(window), ...attributes });
}
defineKernel<Window & { size: number }>('MaxPoolNchw', ({ x }, { size, ...window }) =>
  pool('MaxPool', x, size, window),
);
defineKernel<Window & { size: number; countPadding: boolean }>(
  'AvgPoolNchw',
  ({ x }, { size, countPadding, ...window }) =>
    pool('AveragePool', x, size, window, { count_include_pad: countPadding ? 1 : 0 }),
);

defineKernel('UpsampleNearest2x', ({ x }) => {
  const [batch, channels, height, width] = x.shape;
  const shape = [batch, channels, 2 * height, 2 * width];
  return op('Resize', [x, null, null, int64s(shape)], 'float32', shape, {
    mode: 'nearest',
    coordinate_transformation_mode: 'asymmetric',
    nearest_mode: 'floor',
  });
});
