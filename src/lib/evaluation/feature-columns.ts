/** Feature files as matrices: one vector an image. */
import { statSync } from 'node:fs';
import { totalmem } from 'node:os';
import path from 'node:path';
import { DataError } from '../errors.js';
import { toFloat32 } from '../formats/host-tensor.js';
import { readNpy } from '../formats/npy.js';
import { firstNonFinite } from '../numbers/finite.js';
import { drained } from '../numbers/typed-array.js';
import { tokenMeans } from '../pretrained/token-means.js';
import { openTensorFile } from '../stream/file.js';
import { openTensorStream } from '../stream/reader.js';
import { floatColumn } from '../stream/rows.js';
import { type TensorColumn, valueColumns } from '../stream/schema.js';

/** Pooled features of a file: one vector an image. */
export interface FeatureColumn {
  name: string;
  /** Of streams; rows of an .npy have none. */
  keys: readonly string[] | undefined;
  labels: Int32Array | undefined;
  rows: number;
  dim: number;
  values: Float32Array; // [N, D]
  /** The stream's header; empty for an .npy. */
  metadata?: Readonly<Record<string, string>>;
}

/**
 * Reads every column of features of a tensor stream, its tokens averaged for each image, or an .npy [N, D].
 * @throws DataError when the file holds no features, or values that are not finite
 */
export async function readFeatureColumns(input: string): Promise<FeatureColumn[]> {
  if (path.extname(input) === '.npy') return [fromNpy(input)];
  const reader = await openTensorStream(input);
  const columns = valueColumns(reader.schema.columns).filter(({ dtype, shape }) => dtype !== 'u8' && shape.length <= 2);
  if (columns.length === 0) {
    throw new DataError(`${reader.name}: has no features: one vector, or a list of tokens, a row`);
  }
  const stat = input === '-' ? undefined : statSync(input);
  if (stat?.isFile() || stat?.isDirectory()) await checkMemory(input, columns); // a pipe tells nothing before it is read
  const keys: string[] = [];
  const labels: number[] = [];
  const batches = columns.map((): Float32Array[] => []);
  for await (const batch of reader) {
    for (const key of batch.keys) keys.push(key);
    for (const label of batch.labels) labels.push(label);
    for (const [i, { name, shape }] of columns.entries()) {
      const values = floatColumn(batch, name);
      batches[i].push(shape.length === 2 ? tokenMeans(values, shape[0], shape[1]) : values);
    }
  }
  return columns.map(({ name, shape }, i) => {
    const values = drained(batches[i]);
    refuseNonFinite(values, shape.at(-1)!, (row) => `${reader.name}: '${name}' of '${keys[row]}'`);
    return {
      name,
      keys,
      labels: Int32Array.from(labels),
      rows: keys.length,
      dim: shape.at(-1)!,
      values,
      metadata: reader.schema.metadata,
    };
  });
}

/** @throws DataError when the features of a file are more than this machine's memory, before they are read */
async function checkMemory(input: string, columns: readonly TensorColumn[]): Promise<void> {
  const file = await openTensorFile(input);
  const { rows } = file;
  await file.close();
  const bytes = columns.reduce((sum, { shape }) => sum + rows * shape.at(-1)! * Float32Array.BYTES_PER_ELEMENT, 0);
  if (bytes <= totalmem()) return;
  const shown = (size: number): string => `${(size / 2 ** 30).toFixed(1)} GiB`;
  throw new DataError(
    `${input}: its features take ${shown(bytes)} in memory, and this machine has ${shown(totalmem())}`,
    'Extract features of fewer images or blocks.',
  );
}

function fromNpy(input: string): FeatureColumn {
  const tensor = readNpy(input);
  const [rows, dim] = tensor.shape;
  if (tensor.shape.length !== 2) throw new DataError(`${input}: is [${tensor.shape}], not one vector a row: [N, D]`);
  const values = toFloat32(tensor);
  refuseNonFinite(values, dim, (row) => `${input}: row ${row}`);
  return { name: path.basename(input), keys: undefined, labels: undefined, rows, dim, values, metadata: {} };
}

/** Features that are no numbers compare as neither larger nor smaller, and would count as right. */
function refuseNonFinite(values: Float32Array, dim: number, where: (row: number) => string): void {
  const lost = firstNonFinite(values);
  if (lost < 0) return;
  throw new DataError(
    `${where(Math.floor(lost / dim))} holds ${values[lost]}`,
    'Whatever made these features failed on some images: make them again.',
  );
}
