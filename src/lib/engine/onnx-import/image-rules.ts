/** ONNX operators on images [B, C, H, W]. */
import type { Padding } from '../graph/operations.js';
import { op, operation, reshape, scalar, transpose, type Value } from '../graph/value.js';
import { along, axisOf, type Given, type OnnxRule } from './item.js';

/** More groups of channels than this are not convolved one by one. */
const MOST_GROUPS = 64;

/** A window that goes over images. */
interface Window {
  readonly size: readonly [number, number];
  readonly stride: number;
  readonly dilation: number;
  readonly padding: Padding;
}

function windowOf(given: Given, x: Value, size: readonly number[]): Window {
  if (x.shape.length !== 4 || size.length !== 2) return given.fail(`of ${x.shape.length - 2} axes`);
  const [strides, dilations] = ['strides', 'dilations'].map((name) => given.list(name) ?? [1, 1]);
  if (strides[0] !== strides[1] || dilations[0] !== dilations[1]) return given.fail('of unlike strides or dilations');
  const [stride, dilation] = [strides[0], dilations[0]];
  const [height, width] = size;
  const same = given.text('auto_pad', 'NOTSET');
  if (same === 'NOTSET' || same === 'VALID') {
    const [top, left, bottom, right] = given.list('pads') ?? [0, 0, 0, 0];
    return { size: [height, width], stride, dilation, padding: [top, left, bottom, right] };
  }
  const pads = [height, width].map((extent, i) => {
    const length = x.shape[2 + i];
    const steps = Math.ceil(length / stride);
    const missing = Math.max(0, (steps - 1) * stride + (extent - 1) * dilation + 1 - length);
    const less = Math.floor(missing / 2);
    return same === 'SAME_UPPER' ? [less, missing - less] : [missing - less, less];
  });
  return { size: [height, width], stride, dilation, padding: [pads[0][0], pads[1][0], pads[0][1], pads[1][1]] };
}

function convolution(given: Given): Value {
  const [x, weight] = [given.float(0), given.float(1)]; // [B, I, H, W], [O, I / groups, kh, kw]
  const bias = given.optional(2) ? given.float(2) : undefined; // [O]
  const groups = given.number('group', 1);
  const window = windowOf(given, x, weight.shape.slice(2));
  const { stride, padding, dilation } = window;
  const attributes = { stride, padding, dilation };
  if (groups === 1) return op('convolution', bias ? [x, weight, bias] : [x, weight], attributes);
  const y = weight.shape[1] === 1 && weight.shape[0] === groups ? byChannel(x, weight, window) : undefined;
  const joined = y ?? byGroup(given, x, weight, groups, attributes);
  return bias ? op('binary', [joined, along(bias, 1, 4)], { function: 'add' }) : joined;
}

/** Each channel by itself: `weight` [C, 1, kh, kw]. A sum of the image, moved to each place of the window. */
function byChannel(x: Value, weight: Value, { size, stride, dilation, padding }: Window): Value {
  const [top, left, bottom, right] = padding;
  const padded = op('pad', [x], { before: [0, 0, top, left], after: [0, 0, bottom, right], value: 0 });
  const [batch, channels, height, width] = padded.shape;
  const count = (length: number, extent: number) => Math.floor((length - (extent - 1) * dilation - 1) / stride) + 1;
  const cut = [batch, channels, count(height, size[0]), count(width, size[1])];
  const terms: Value[] = [];
  for (let i = 0; i < size[0]; i++) {
    for (let j = 0; j < size[1]; j++) {
      const step = [1, 1, stride, stride];
      const moved = op('slice', [padded], { start: [0, 0, i * dilation, j * dilation], size: cut, step });
      const at = op('slice', [weight], { start: [0, 0, i, j], size: [channels, 1, 1, 1], step: [1, 1, 1, 1] });
      terms.push(op('binary', [moved, reshape(at, [1, channels, 1, 1])], { function: 'multiply' }));
    }
  }
  return terms.length === 1 ? terms[0] : op('sum', terms, {});
}

function byGroup(
  given: Given,
  x: Value,
  weight: Value,
  groups: number,
  attributes: { stride: number; padding: Padding; dilation: number },
): Value {
  if (groups > MOST_GROUPS) return given.fail(`of ${groups} groups`);
  const even = (size: number) => new Array<number>(groups).fill(size / groups);
  const parts = operation('split', [x], { axis: 1, sizes: even(x.shape[1]) });
  const weights = operation('split', [weight], { axis: 0, sizes: even(weight.shape[0]) });
  const convolved = parts.map((part, i) => op('convolution', [part, weights[i]], attributes));
  return op('concatenate', convolved, { axis: 1 });
}

const pool =
  (kind: 'maxPool' | 'averagePool'): OnnxRule =>
  (given) => {
    const x = given.float(0);
    const { size, stride, dilation, padding } = windowOf(given, x, given.list('kernel_shape') ?? []);
    if (size[0] !== size[1] || dilation !== 1 || given.number('ceil_mode', 0)) return given.fail('of such windows');
    const attributes = { size: size[0], stride, padding };
    const countPadding = given.number('count_include_pad', 0) === 1;
    return kind === 'maxPool' ? op(kind, [x], attributes) : op(kind, [x], { ...attributes, countPadding });
  };

const globalPool =
  (name: 'mean' | 'maximum'): OnnxRule =>
  (given) => {
    const x = given.float(0);
    return op('reduce', [x], { function: name, axes: [...x.shape.keys()].slice(2), keep: true });
  };

/** Each channel of each image to mean 0 and variance 1. */
function instanceNorm(given: Given): Value {
  const x = given.float(0);
  if (x.shape.length !== 4) return given.fail(`of ${x.shape.length - 2} axes`);
  const y = op('groupNorm', [x], { groups: x.shape[1], epsilon: given.number('epsilon', 1e-5) });
  const scaled = op('binary', [y, along(given.float(1), 1, 4)], { function: 'multiply' });
  return op('binary', [scaled, along(given.float(2), 1, 4)], { function: 'add' });
}

function pad(given: Given): Value {
  const x = given.value(0);
  if (given.text('mode', 'constant') !== 'constant') return given.fail(`of mode ${given.text('mode', '')}`);
  const pads = given.listOrInput('pads', 1)!;
  const rank = x.shape.length;
  const axes = given.optional(3) ? given.numbers(3).map((axis) => axisOf(axis, rank)) : [...x.shape.keys()];
  const [before, after] = [x.shape.map(() => 0), x.shape.map(() => 0)];
  for (const [i, axis] of axes.entries()) [before[axis], after[axis]] = [pads[i], pads[axes.length + i]];
  if (pads.some((size) => size < 0)) return given.fail('that cuts');
  return op('pad', [x], { before, after, value: given.optional(2) ? given.numbers(2)[0] : given.number('value', 0) });
}

/** Blocks of size x size pixels become channels. */
function spaceToDepth(given: Given): Value {
  const x = given.value(0);
  const size = given.number('blocksize', 1);
  const [batch, channels, height, width] = x.shape;
  const parts = reshape(x, [batch, channels, height / size, size, width / size, size]);
  return reshape(transpose(parts, [0, 3, 5, 1, 2, 4]), [batch, channels * size * size, height / size, width / size]);
}

function depthToSpace(given: Given): Value {
  const x = given.value(0);
  const size = given.number('blocksize', 1);
  const [batch, channels, height, width] = x.shape;
  const left = channels / size ** 2;
  const isCrd = given.text('mode', 'DCR') === 'CRD';
  const split = isCrd ? [batch, left, size, size, height, width] : [batch, size, size, left, height, width];
  const order = isCrd ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2];
  return reshape(transpose(reshape(x, split), order), [batch, left, height * size, width * size]);
}

/** Whole multiples of the nearest pixel. */
function resize(given: Given): Value {
  const x = given.float(0);
  const [scalesAt, sizesAt] = given.node.type === 'Upsample' ? [1, -1] : [2, 3];
  const sizes = given.optional(sizesAt) ? given.numbers(sizesAt) : undefined;
  const scales = sizes?.map((size, axis) => size / x.shape[axis]) ?? given.numbers(scalesAt);
  const [batch, channels, height, width] = scales;
  const mode = given.text('mode', 'nearest');
  const isWhole = batch === 1 && channels === 1 && height === width && Number.isInteger(height) && scales.length === 4;
  if (mode !== 'nearest' || !isWhole) return given.fail(`of mode ${mode} by ${scales.join(' x ')}`);
  return height === 1 ? x : op('enlarge', [x], { factor: height });
}

export const IMAGE_RULES: Readonly<Record<string, OnnxRule>> = {
  AveragePool: pool('averagePool'),
  Conv: convolution,
  DepthToSpace: depthToSpace,
  GlobalAveragePool: globalPool('mean'),
  GlobalMaxPool: globalPool('maximum'),
  InstanceNormalization: instanceNorm,
  MaxPool: pool('maxPool'),
  Pad: pad,
  PRelu: (given) => {
    const x = given.float(0);
    const below = op('binary', [x, given.float(1)], { function: 'multiply' });
    return op('select', [op('compare', [x, scalar(0)], { relation: 'greater' }), x, below], {});
  },
  Resize: resize,
  SpaceToDepth: spaceToDepth,
  Upsample: resize,
};
