/** The fused kernels, composed of TensorFlow's own. What runs inside a kernel is not recorded for differentiation. */
import type { Window } from '../fused/image.js';
import { type Elementary, GELU } from '../graph/gelu.js';
import * as tf from '../tfjs.js';

type Compute<Attributes> = (inputs: Record<string, tf.Tensor>, attributes: Attributes) => tf.Tensor | tf.Tensor[];

function defineKernel<Attributes = unknown>(kernelName: string, compute: Compute<Attributes>): void {
  tf.registerKernel({
    kernelName,
    backendName: 'tensorflow',
    kernelFunc: ({ inputs, attrs }) =>
      tf.tidy(() => compute(inputs as Record<string, tf.Tensor>, attrs as Attributes)) as tf.TensorInfo,
  });
}

interface Product {
  transposeA: boolean;
  transposeB: boolean;
  scale: number;
}

function defineProducts(): void {
  defineKernel('Linear', ({ x, weight, bias }) => {
    const y = tf.matMul(x, weight, false, true);
    return bias ? tf.add(y, bias) : y;
  });
  defineKernel<Product>('ScaledMatMul', ({ a, b }, { transposeA, transposeB, scale }) => {
    const y = tf.matMul(a, b, transposeA, transposeB);
    return scale === 1 ? y : tf.mul(y, scale);
  });
  defineKernel<{ scale: number }>('Attention', ({ q, k, v }, { scale }) => {
    const [heads, keys, values] = [q, k, v].map((x) => tf.transpose(x, [0, 2, 1, 3])); // [B, H, N or M, d]
    const weights = tf.softmax(tf.mul(tf.matMul(heads, keys, false, true), scale)) as tf.Tensor; // [B, H, N, M]
    return tf.transpose(tf.matMul(weights, values), [0, 2, 1, 3]); // [B, N, H, d]
  });
}

/** Zero mean and unit variance over the last axis. */
function standardise(x: tf.Tensor, epsilon: number): [tf.Tensor, tf.Tensor] {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const inverseDeviation = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon));
  return [tf.mul(centred, inverseDeviation), inverseDeviation];
}

function defineNormalisations(): void {
  defineKernel<{ epsilon: number }>('LayerNorm', ({ x }, { epsilon }) => standardise(x, epsilon));
  defineKernel<{ groups: number; epsilon: number }>('GroupStandardise', ({ x }, { groups, epsilon }) => {
    const [y] = standardise(tf.reshape(x, [x.shape[0], groups, -1]), epsilon); // [B, G, C/G * H * W]
    return tf.reshape(y, x.shape);
  });
}

const ELEMENTARY: Elementary<tf.Tensor> = {
  add: tf.add,
  multiply: tf.mul,
  complement: (a) => tf.sub(1, a),
  sigmoid: tf.sigmoid,
  exp: tf.exp,
  erf: tf.erf,
};

function defineActivations(): void {
  defineKernel<{ approximate: 'tanh' | 'none' }>('Gelu', ({ x }, { approximate }) =>
    GELU[approximate].value(ELEMENTARY, x),
  );
  defineKernel<{ approximate: 'tanh' | 'none' }>('GeluGradient', ({ x, dy }, { approximate }) => {
    const { value, slope } = GELU[approximate].derive(ELEMENTARY, x);
    return [value, tf.mul(dy, slope)];
  });
  defineKernel<{ steepness: number }>('Silu', ({ x }, { steepness }) => tf.mul(x, tf.sigmoid(tf.mul(x, steepness))));
}

// TensorFlow on the CPU has images channels last, weights [kh, kw, I, O], and no padding of single sides.
const channelsLast = (x: tf.Tensor): tf.Tensor4D => tf.transpose(x, [0, 2, 3, 1]) as tf.Tensor4D;
const channelsFirst = (x: tf.Tensor): tf.Tensor => tf.transpose(x, [0, 3, 1, 2]);

function padded(x: tf.Tensor, [top, left, bottom, right]: Window['padding'], value = 0): tf.Tensor4D {
  const sides: [number, number][] = [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ];
  return tf.pad(channelsLast(x), sides, value) as tf.Tensor4D;
}

function defineConvolutions(): void {
  defineKernel<Window>('Conv2dNchw', ({ x, weight, bias }, { stride, padding }) => {
    const filter = tf.transpose(weight, [2, 3, 1, 0]) as tf.Tensor4D;
    const y = tf.conv2d(padded(x, padding), filter, stride, 'valid');
    return channelsFirst(bias ? tf.add(y, bias) : y);
  });
  defineKernel<Window>('DepthwiseConv2dNchw', ({ x, weight, bias }, { stride, padding }) => {
    const filter = tf.transpose(weight, [2, 3, 0, 1]) as tf.Tensor4D; // [kh, kw, C, 1]
    return channelsFirst(tf.add(tf.depthwiseConv2d(padded(x, padding), filter, stride, 'valid'), bias));
  });
  defineKernel<Window & { size: number[] }>('Conv2dNchwInputGradient', ({ dy, weight }, { size, stride, padding }) => {
    const [top, left, bottom, right] = padding;
    const [height, width] = size;
    const filter = tf.transpose(weight, [2, 3, 1, 0]) as tf.Tensor4D;
    const [batch] = dy.shape;
    const [, inChannels] = weight.shape;
    const shape: [number, number, number, number] = [batch, height + top + bottom, width + left + right, inChannels];
    const dx = tf.conv2dTranspose(channelsLast(dy), filter, shape, stride, 'valid');
    return channelsFirst(tf.slice(dx, [0, top, left, 0], [-1, height, width, -1]));
  });
  defineKernel<Window & { size: number[] }>('Conv2dNchwWeightGradient', ({ x, dy }, { size, stride, padding }) => {
    const filterShape = [...size, x.shape[1], dy.shape[1]] as number[];
    const attributes = { strides: [stride, stride], pad: 'valid', dataFormat: 'NHWC', filterShape };
    const inputs = { x: padded(x, padding), dy: channelsLast(dy) };
    const filter = tf.engine().runKernel('Conv2DBackpropFilter', inputs, attributes) as tf.Tensor; // [kh, kw, I, O]
    return tf.transpose(filter, [3, 2, 0, 1]);
  });
}

function defineResampling(): void {
  defineKernel<Window & { size: number }>('MaxPoolNchw', ({ x }, { size, stride, padding }) =>
    channelsFirst(tf.maxPool(padded(x, padding, Number.NEGATIVE_INFINITY), size, stride, 'valid')),
  );
  defineKernel<Window & { size: number; countPadding: boolean }>(
    'AvgPoolNchw',
    ({ x }, { size, stride, padding, countPadding }) => {
      const mean = (image: tf.Tensor) => tf.avgPool(padded(image, padding), size, stride, 'valid');
      return channelsFirst(countPadding ? mean(x) : tf.div(mean(x), mean(tf.onesLike(x))));
    },
  );
  defineKernel('UpsampleNearest2x', ({ x }) => {
    const [, , height, width] = x.shape;
    return channelsFirst(tf.image.resizeNearestNeighbor(channelsLast(x), [2 * height, 2 * width]));
  });
}

/** TensorFlow computes at once: what is asked for later comes later. */
const defineOrder = (): void => defineKernel('After', ({ x }) => tf.clone(x));

export function defineKernels(): void {
  defineOrder();
  defineProducts();
  defineNormalisations();
  defineActivations();
  defineConvolutions();
  defineResampling();
}
