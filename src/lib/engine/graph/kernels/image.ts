/** Convolution, pooling and enlarging of images [B, C, H, W]. */
import type { Window } from '../../fused/image.js';
import { op, reshape, transpose, type Value } from '../value.js';
import { defineKernel } from './define.js';

defineKernel<Window>('Conv2dNchw', ({ x, weight, bias }, { stride, padding }) =>
  op('convolution', bias ? [x, weight, bias] : [x, weight], { stride, padding, dilation: 1 }),
);

defineKernel<Window>('DepthwiseConv2dNchw', ({ x, weight, bias }, { stride, padding }) =>
  op('convolution', [x, weight, bias], { stride, padding, dilation: 1, groups: x.shape[1] }),
);

defineKernel<Window & { size: number[] }>('Conv2dNchwInputGradient', ({ dy, weight }, { size, stride, padding }) =>
  op('convolutionTranspose', [dy, weight], { size, stride, padding }),
);

// A weight's gradient: what each of its elements saw of the image, times dy, summed over places and images. A
// convolution with images and channels exchanged takes ONNX Runtime twice as long, as its kernels would be as large as
// dy.
defineKernel<Window & { size: number[] }>('Conv2dNchwWeightGradient', ({ x, dy }, { size, stride, padding }) => {
  const [top, left, bottom, right] = padding;
  const [batch, inChannels] = x.shape;
  const [, outChannels, rows, columns] = dy.shape;
  const padded = op('pad', [x], { before: [0, 0, top, left], after: [0, 0, bottom, right], value: 0 });
  const seenBy = (i: number, j: number): Value =>
    op('slice', [padded], {
      start: [0, 0, i, j],
      size: [batch, inChannels, rows, columns],
      step: [1, 1, stride, stride],
    });
  const parts = Array.from({ length: size[0] * size[1] }, (_, k) => seenBy(Math.floor(k / size[1]), k % size[1]));
  const seen = op('concatenate', parts, { axis: 1 }); // [B, kh kw I, h, w]
  const places = (value: Value): Value => reshape(value, [batch, value.shape[1], rows * columns]);
  const attributes = { transposeA: false, transposeB: true, scale: 1 };
  const products = op('product', [places(dy), places(seen)], attributes); // [B, O, kh kw I]
  const sum = op('reduce', [products], { function: 'sum', axes: [0], keep: false }); // [O, kh kw I]
  return transpose(reshape(sum, [outChannels, ...size, inChannels]), [0, 3, 1, 2]); // [O, I, kh, kw]
});

defineKernel<Window & { size: number }>('MaxPoolNchw', ({ x }, { size, stride, padding }) =>
  op('maxPool', [x], { size, stride, padding }),
);
defineKernel<Window & { size: number; countPadding: boolean }>(
  'AvgPoolNchw',
  ({ x }, { size, stride, padding, countPadding }) => op('averagePool', [x], { size, stride, padding, countPadding }),
);

defineKernel('UpsampleNearest2x', ({ x }) => op('enlarge', [x], { factor: 2 }));
