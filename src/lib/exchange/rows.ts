/** Rows of any origin on their way into a tensor stream. */
import { DataError } from '../errors.js';
import { bytesPerElement, type HostTensor } from '../formats/host-tensor.js';
import { sameShape, showShape, sizeOf, type TypedArray } from '../numbers/typed-array.js';
import { type CodecHints, codecMetadata, settleCodec } from '../pretrained/latent-codec.js';
import { COLUMN_NAME, type StreamSchema, type TensorColumn, type TensorData } from '../stream/schema.js';

export interface Row {
  key: string;
  /** -1 for none. */
  label: number;
  tensors: Readonly<Record<string, TensorData>>;
}

export interface RowSource {
  columns: readonly TensorColumn[];
  /** The number of rows; undefined where the input tells it only at its end. */
  total: number | undefined;
  /** Header entries about the rows, such as the names of their classes. */
  metadata?: Readonly<Record<string, string>>;
  /** What was left out or may surprise, one sentence each. */
  notes?: readonly string[];
  rows: AsyncIterable<Row>;
}

/** The dimensions of a column by its name, where they have names. */
const DIM_NAMES: Readonly<Record<string, readonly string[]>> = {
  latent: ['C', 'H', 'W'],
  moments: ['C', 'H', 'W'],
  image: ['H', 'W', 'C'],
  feature: ['tokens', 'dim'],
};

/**
 * The column that rows of this kind are: images, latents, features of a grid, or one vector.
 * @throws DataError for bytes that are no images [H, W, 3]: what they are cannot be told
 */
function usualName({ shape, dtype }: Pick<HostTensor, 'shape' | 'dtype'>, where: string): string {
  if (dtype === 'u8') {
    if (isPicture(shape)) return 'image';
    throw new DataError(
      `${where}: is u8 ${showShape(shape)} a row, and images are [H, W, 3]`,
      'Bring the channels of images to the end, and grey to three channels; --column names what else it is.',
    );
  }
  return ['hidden', 'feature', 'latent'][shape.length - 1] ?? 'tensor';
}

const isPicture = (shape: readonly number[]): boolean => shape.length === 3 && shape[2] === 3;

/** Bytes of a row that is imported; the largest features of an image take some 3 MB. */
const LARGEST_ROW = 2 ** 28;

/**
 * The column of a stream that holds arrays of this kind.
 * @param row what one row is: its shape is without the first axis of many.
 * @throws DataError for elements that no stream holds, or a name that no column has
 */
export function columnFor(
  { shape, dtype }: Pick<HostTensor, 'shape' | 'dtype'>,
  where: string,
  name = usualName({ shape, dtype }, where),
): TensorColumn {
  if (dtype !== 'f16' && dtype !== 'f32' && dtype !== 'f64' && dtype !== 'u8') {
    throw new DataError(`${where}: holds ${dtype}, but a stream holds f16, f32 or u8`);
  }
  const bytes = sizeOf(shape) * bytesPerElement(dtype);
  if (!(bytes > 0 && bytes <= LARGEST_ROW)) {
    throw new DataError(`${where}: rows ${showShape(shape)} of ${bytes} bytes; they have 1 to ${LARGEST_ROW}`);
  }
  if (!COLUMN_NAME.test(name) || name === 'key' || name === 'label') {
    throw new DataError(
      `${where}: '${name}' is no name of a column`,
      'Columns are called by a letter and then letters, digits, _, . and -, but not key or label: name one with --column.',
    );
  }
  if (name === 'image' && !(dtype === 'u8' && isPicture(shape))) {
    throw new DataError(`${where}: is ${dtype} ${showShape(shape)} a row, and images are u8 [H, W, 3]`);
  }
  const dimNames = DIM_NAMES[name]?.length === shape.length ? DIM_NAMES[name] : undefined;
  return { name, dtype: dtype === 'f64' ? 'f32' : dtype, shape, dimNames };
}

/** Values as a stream stores them: f64 is rounded to f32. */
export const streamValues = (data: TypedArray): TensorData =>
  data instanceof Float64Array ? Float32Array.from(data) : (data as TensorData);

/** @throws DataError when a row is not of its column's shape and type. */
export function checkedRow(tensor: HostTensor, column: TensorColumn, where: string): TensorData {
  const found = columnFor(tensor, where, column.name);
  if (sameShape(found.shape, column.shape) && found.dtype === column.dtype) return streamValues(tensor.data);
  throw new DataError(
    `${where}: is ${found.dtype} ${showShape(found.shape)}, those before are ${column.dtype} ${showShape(column.shape)}`,
  );
}

/** The kind of a stream of these columns, for its header. */
export function kindOf(columns: StreamSchema['columns']): string {
  const names = columns.map(({ name }) => name);
  if (names.includes('image')) return 'images';
  if (names.includes('moments') || names.includes('latent')) return 'latents';
  return names.includes('feature') ? 'features' : 'hidden';
}

/**
 * The header's entries about latents; none for other columns, and where nothing is hinted at and the data tell them.
 * @param told entries that came with the data
 * @throws UsageError when their scale cannot be told
 */
export function latentMetadata(
  columns: StreamSchema['columns'],
  hints: CodecHints,
  where: string,
  told: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const latents = columns.find(({ name, shape }) => shape.length === 3 && (name === 'moments' || name === 'latent'));
  const isHinted = [hints.name, hints.scale, hints.shift].some((hint) => hint !== undefined);
  if (!latents || (!isHinted && told['repa.latent.scale'] !== undefined)) return {};
  const [planes, side] = latents.shape;
  const channels = latents.name === 'moments' ? planes / 2 : planes;
  return codecMetadata(settleCodec(channels, hints, where), side);
}
