/** Operations on images [B, C, H, W]. */
import type { Padding } from '../../graph/operations.js';
import { reduceWindows, type Windows } from './reduce.js';
import type { Rules } from './rule.js';
import { type Tensor, typeOf, type Writer } from './writer.js';

interface Window {
  readonly stride: number;
  /** How far the elements of x are put apart, with zeros between them. */
  readonly spreadX: number;
  readonly spreadWeight: number;
  /** Zeros in front of and behind the rows, and the columns; where negative, so many are cut off. */
  readonly padding: readonly [readonly [number, number], readonly [number, number]];
  readonly groups?: number;
}

/** A cross-correlation, for which `weightAxes` names the axes of the weight. */
function convolve(writer: Writer, image: Tensor, kernel: Tensor, weightAxes: 'o, i' | 'i, o', window: Window): Tensor {
  const [x, weight] = writer.operands(image, kernel);
  const { stride, spreadX, spreadWeight, padding, groups = 1 } = window;
  const extent = (length: number, spread: number) => (length - 1) * spread + 1;
  const sizes = [0, 1].map((axis) => {
    const available = extent(x.shape[axis + 2], spreadX) + padding[axis][0] + padding[axis][1];
    return Math.floor((available - extent(weight.shape[axis + 2], spreadWeight)) / stride) + 1;
  });
  const outChannels = weight.shape[weightAxes === 'o, i' ? 0 : 1];
  const shape = [x.shape[0], outChannels, ...sizes];
  const both = (value: number) => `[${value}, ${value}]`;
  const pads = padding.map((pair) => `[${pair.join(', ')}]`).join(', ');
  const precision = `#stablehlo<precision ${writer.precision}>`;
  return writer.emit(
    `stablehlo.convolution(${x.name}, ${weight.name}) ` +
      `dim_numbers = [b, f, 0, 1]x[${weightAxes}, 0, 1]->[b, f, 0, 1], window = {stride = ${both(stride)}, ` +
      `pad = [${pads}], lhs_dilate = ${both(spreadX)}, rhs_dilate = ${both(spreadWeight)}} ` +
      `{batch_group_count = 1 : i64, feature_group_count = ${groups} : i64, precision_config = [${precision}, ${precision}]} : ` +
      `(${typeOf(x)}, ${typeOf(weight)}) -> ${typeOf({ dtype: 'float32', shape })}`,
    'float32',
    shape,
  );
}

interface Pool {
  readonly size: number;
  readonly stride: number;
  readonly padding: Padding;
}

const poolWindows = ({ size, stride, padding: [top, left, bottom, right] }: Pool): Windows => ({
  size: [1, 1, size, size],
  stride: [1, 1, stride, stride],
  padding: [
    [0, 0],
    [0, 0],
    [top, bottom],
    [left, right],
  ],
});

export const IMAGE: Rules<'convolution' | 'convolutionTranspose' | 'maxPool' | 'averagePool' | 'enlarge'> = {
  convolution(writer, [x, weight, bias], { attributes: { stride, padding, dilation, groups } }) {
    const [top, left, bottom, right] = padding;
    const y = convolve(writer, x, weight, 'o, i', {
      stride,
      groups,
      spreadX: 1,
      spreadWeight: dilation,
      padding: [
        [top, bottom],
        [left, right],
      ],
    });
    return bias ? writer.binary('add', y, writer.reshape(bias, [1, bias.shape[0], 1, 1])) : y;
  },

  // The turned weight runs over dy, whose elements lie a stride apart, out to all pixels that reached them.
  convolutionTranspose(writer, [dy, weight], { attributes: { stride, padding, size } }) {
    const sides = [0, 1].map((axis) => {
      const reach = weight.shape[axis + 2] - 1;
      const before = reach - padding[axis];
      return [before, size[axis] + reach - ((dy.shape[axis + 2] - 1) * stride + 1) - before] as const;
    });
    const window = { stride: 1, spreadX: stride, spreadWeight: 1, padding: [sides[0], sides[1]] } as const;
    return convolve(writer, dy, writer.reverse(weight, [2, 3]), 'i, o', window);
  },

  maxPool: (writer, [x], { attributes }) => reduceWindows(writer, 'maximum', x, poolWindows(attributes)),

  averagePool(writer, [x], { attributes }) {
    const windows = poolWindows(attributes);
    const sums = reduceWindows(writer, 'add', x, windows);
    if (attributes.countPadding) return writer.binary('divide', sums, attributes.size ** 2);
    const ones = writer.literal(1, 'float32', [1, 1, ...x.shape.slice(2)]);
    return writer.binary('divide', sums, reduceWindows(writer, 'add', ones, windows));
  },

  enlarge(writer, [x], { attributes: { factor } }) {
    const [batch, channels, height, width] = x.shape;
    const apart = writer.broadcast(x, [batch, channels, height, factor, width, factor], [0, 1, 2, 4]);
    return writer.reshape(apart, [batch, channels, height * factor, width * factor]);
  },
};
