/** What streams, arrays and weights hold. */
import { readdirSync, statSync } from 'node:fs';
import { BinaryFile } from '../formats/binary-file.js';
import type { TensorInfo } from '../formats/host-tensor.js';
import { NPY_PREFIX_BYTES, npyHeaderBytes, parseNpyHeader } from '../formats/npy.js';
import { openNpz } from '../formats/npz.js';
import { isDict, showPlain } from '../formats/pickle.js';
import { openTorch } from '../formats/torch.js';
import { TorchTensor } from '../formats/torch-tensor.js';
import { openWeights } from '../formats/weights-file.js';
import { FEATURE_KINDS, featureDims, hasStatistics, readCount, readOrigin } from '../metrics/statistics-file.js';
import { showShape, sizeOf } from '../numbers/typed-array.js';
import { contentsOf } from '../pretrained/weight-sets.js';
import { openTensorFile } from '../stream/file.js';
import { openTensorStream } from '../stream/reader.js';
import { showColumn } from '../stream/schema.js';
import { parsePartName } from '../stream/shards.js';
import { type Facts, withMetadata } from './facts.js';

const showTensor = (name: string, { dtype, shape }: TensorInfo): string => `${name}: ${dtype} ${showShape(shape)}`;

/** A stream in a file, or the shards of one in a folder. */
export async function tensorFileFacts(input: string): Promise<Facts> {
  const file = await openTensorFile(input);
  const labels = file.labels();
  const { columns, metadata } = file.schema;
  await file.close();
  const shards = statSync(input).isDirectory() ? readdirSync(input).filter((name) => parsePartName(name)).length : 0;
  const facts = {
    path: input,
    holds: 'tensor stream',
    ...(shards > 0 ? { shards } : {}),
    rows: file.rows,
    columns: columns.map(showColumn),
    classes: new Set(labels.filter((label) => label >= 0)).size,
  };
  return withMetadata(facts, metadata);
}

/** A stream that comes through a pipe, read to its end. */
export async function tensorStreamFacts(input: string): Promise<Facts> {
  const reader = await openTensorStream(input);
  let rows = 0;
  for await (const batch of reader) rows += batch.rows;
  const { columns, metadata } = reader.schema;
  return withMetadata({ path: input, holds: 'tensor stream', rows, columns: columns.map(showColumn) }, metadata);
}

export function npyFacts(input: string): Facts {
  const file = new BinaryFile(input);
  try {
    const header = file.read(
      0,
      Math.min(file.size, npyHeaderBytes(file.read(0, Math.min(file.size, NPY_PREFIX_BYTES)), input)),
    );
    const { dtype, shape, fortran } = parseNpyHeader(header, file.size, input);
    return { path: input, holds: 'NumPy array', dtype, shape, ...(fortran ? { order: 'column-major' } : {}) };
  } finally {
    file.close();
  }
}

/** An .npz: statistics of features, or any arrays. */
export function npzFacts(input: string): Facts {
  const file = openNpz(input);
  try {
    const kinds = FEATURE_KINDS.filter((kind) => hasStatistics(file, kind));
    if (kinds.length === 0) {
      return {
        path: input,
        holds: 'NumPy arrays',
        arrays: file.names.map((name) => showTensor(name, file.info(name))),
      };
    }
    const count = readCount(file);
    return {
      path: input,
      holds: 'feature statistics',
      features: kinds.map((kind) => `${kind}: ${featureDims(file, kind)}`),
      ...(count === undefined ? {} : { images: count }),
      ...readOrigin(file, input),
    };
  } finally {
    file.close();
  }
}

export function safetensorsFacts(input: string): Facts {
  const file = openWeights(input);
  try {
    const infos = file.names.map((name) => ({ name, ...file.info(name) }));
    const facts = {
      path: input,
      holds: 'weights',
      parameters: infos.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      tensors: infos.map(({ name, ...info }) => showTensor(name, info)),
    };
    return withMetadata(facts, file.metadata);
  } finally {
    file.close();
  }
}

/** A PyTorch file: the dictionaries at its top with what each holds, then the tensors of all. */
export function torchFacts(input: string): Facts {
  const file = openTorch(input);
  try {
    const { tensors, lists, foreign } = contentsOf(file.root);
    const entries = isDict(file.root) ? Object.entries(file.root) : [];
    const others = entries.filter(([, value]) => !(value instanceof TorchTensor));
    const unnamed = [...lists].flatMap(([path, list]) => list.map((tensor, i) => showTensor(`${path}.${i}`, tensor)));
    return {
      path: input,
      holds: 'PyTorch file',
      ...(others.length > 0 ? { entries: others.map(([key, value]) => `${key}: ${entryWords(value)}`) } : {}),
      ...(foreign.size > 0 ? { foreign: [...foreign] } : {}),
      parameters: [...tensors.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      tensors: [...[...tensors].map(([name, tensor]) => showTensor(name, tensor)), ...unnamed],
    };
  } finally {
    file.close();
  }
}

/** A word an entry: of a dictionary, its tensors, or its first names where it holds none. */
function entryWords(value: unknown): string {
  const { tensors, lists } = contentsOf(value);
  const count = tensors.size + [...lists.values()].reduce((sum, list) => sum + list.length, 0);
  const numbers = [...tensors.values(), ...[...lists.values()].flat()].reduce(
    (sum, { shape }) => sum + sizeOf(shape),
    0,
  );
  if (count > 0) return `${count} tensors of ${numbers} numbers`;
  if (!isDict(value)) return showPlain(value);
  const plain = Object.entries(value).map(([key, each]) => `${key} ${showPlain(each)}`);
  return plain.length > ENTRIES
    ? `${plain.slice(0, ENTRIES).join(', ')} and ${plain.length - ENTRIES} more`
    : plain.join(', ') || 'empty';
}

/** Of a dictionary of plain values, as many are told. */
const ENTRIES = 12;
