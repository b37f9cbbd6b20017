/** A tensor stream in the formats of other tools. */
import { closeSync, openSync, rmSync } from 'node:fs';
import path from 'node:path';
import { DataError, UsageError } from '../errors.js';
import { withPath, writeFileAtomicAsync, writeFully } from '../files/atomic-file.js';
import { openAtomicFolder } from '../files/atomic-folder.js';
import { temporaryName } from '../files/temporary-files.js';
import { onInterrupt } from '../files/unfinished.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { encodeNpyHeader } from '../formats/npy.js';
import { type ChunkedTensor, writeNpz } from '../formats/npz.js';
import { bytesOf } from '../numbers/typed-array.js';
import { copyRows } from '../stream/copy.js';
import { openTensorFile, type TensorFile } from '../stream/file.js';
import { openTensorStream, type TensorReader } from '../stream/reader.js';
import { rawRow } from '../stream/rows.js';
import { findColumn, showColumn, type TensorColumn, type TensorData } from '../stream/schema.js';
import { atomicFileSink, fdSink } from '../stream/sink.js';
import { TensorWriter } from '../stream/writer.js';
import { ImageFolderWriter } from './image-folder.js';
import { PreprocessedWriter } from './preprocessed.js';
import type { Row } from './rows.js';
import { WebDatasetWriter } from './webdataset.js';

export interface TensorExport {
  /** The only column to write. */
  column?: string;
}

/**
 * Writes a stream as `.npy` (one column), `.npz` (images as ADM's arr_0), `.tar` (WebDataset), `.parquet`, or, where
 * `out` ends in /, a folder: PNG files of images, the official preprocessing's files of moments.
 * @param input a file, a shard folder, or '-' for stdin.
 * @returns what is lost or may surprise, one sentence each
 * @throws UsageError for another extension, or a column that the format does not take; DataError for a damaged stream
 */
export async function exportTensors(input: string, out: string, options: TensorExport): Promise<string[]> {
  if (out.endsWith('/')) return exportFolder(input, out, options);
  switch (path.extname(out)) {
    case '.tar':
      return exportTar(input, out, options);
    case '.parquet': {
      const { exportParquet } = await import('./export-parquet.js');
      const reader = await openTensorStream(input);
      await exportParquet(reader, chosenColumns(reader, options), out);
      return [];
    }
    case '.npy':
    case '.npz':
      await withFile(input, out, (file) => exportArrays(file, out, options));
      return ['rows of arrays have no keys: they are numbered when they are read (import takes keys back with --like)'];
    default:
      throw new UsageError(
        `-o ${out}: a stream is written as .npy, .npz, .tar, .parquet, or to a folder (a name that ends in /)`,
      );
  }
}

/** The schema and the name of an open input. */
type TensorInput = Pick<TensorReader, 'schema' | 'name'>;

/** @throws UsageError when the stream has no such column, or several where one is wanted. */
function chosenColumns({ schema, name }: TensorInput, { column }: TensorExport): readonly TensorColumn[] {
  return column === undefined ? schema.columns : [findColumn(schema, column, name)];
}

function onlyColumn(reader: TensorInput, options: TensorExport): TensorColumn {
  const columns = chosenColumns(reader, options);
  if (columns.length === 1) return columns[0];
  throw new UsageError(
    `${reader.name} has ${columns.length} columns: ${columns.map(showColumn).join(', ')}`,
    'Choose one with --column.',
  );
}

async function* readRows(reader: TensorReader): AsyncGenerator<Row> {
  for await (const batch of reader) {
    for (let row = 0; row < batch.rows; row++) {
      const tensors = Object.keys(batch.tensors).map((name) => [name, rawRow(batch, name, row)]);
      yield { key: batch.keys[row], label: batch.labels[row], tensors: Object.fromEntries(tensors) };
    }
  }
}

async function exportFolder(input: string, folder: string, options: TensorExport): Promise<string[]> {
  const output = openAtomicFolder(folder);
  let writer: ImageFolderWriter | PreprocessedWriter | undefined;
  try {
    const reader = await openTensorStream(input);
    const column = onlyColumn(reader, options);
    if (column.name !== 'image' && column.name !== 'moments') {
      throw new UsageError(`${reader.name}: a folder is made of images or moments, not of '${column.name}'`);
    }
    writer =
      column.name === 'image'
        ? new ImageFolderWriter(output.path, column)
        : new PreprocessedWriter(output.path, column);
    for await (const row of readRows(reader)) await writer.append(row);
    const notes = await writer.end();
    output.commit();
    return notes;
  } catch (error) {
    await writer?.abort();
    output.abort();
    throw withPath(error, folder);
  }
}

async function exportTar(input: string, out: string, options: TensorExport): Promise<string[]> {
  const reader = await openTensorStream(input);
  if (reader.schema.columns.length === 0) throw new DataError(`${reader.name}: has no tensors to put into an archive`);
  const sink = atomicFileSink(out);
  try {
    const writer = new WebDatasetWriter(sink, chosenColumns(reader, options));
    for await (const row of readRows(reader)) await writer.append(row);
    await writer.end();
    await sink.close();
    return [];
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/**
 * Arrays tell their size before their rows, and go through them once for each column: the input is opened once. A
 * stream from stdin is kept in a file beside the output, which has no name any more when it is read.
 */
async function withFile(input: string, out: string, use: (file: TensorFile) => Promise<void>): Promise<void> {
  const file = input === '-' ? await keep(input, temporaryName(path.resolve(out))) : await openTensorFile(input);
  try {
    await use(file);
  } finally {
    file.close();
  }
}

async function keep(input: string, kept: string): Promise<TensorFile> {
  const fd = openSync(kept, 'wx', 0o600);
  const release = onInterrupt(() => rmSync(kept, { force: true }));
  try {
    const reader = await openTensorStream(input);
    const writer = new TensorWriter(fdSink(fd, kept), reader.schema);
    await copyRows(reader, writer);
    await writer.end();
    return await openTensorFile(kept);
  } catch (error) {
    throw withPath(error, kept);
  } finally {
    release();
    closeSync(fd);
    rmSync(kept, { force: true });
  }
}

function* values(file: TensorFile, column: string): Generator<TensorData> {
  for (const batch of file.inOrder()) yield batch.tensors[column];
}

async function exportArrays(file: TensorFile, out: string, options: TensorExport): Promise<void> {
  const array = ({ name, shape, dtype }: TensorColumn): ChunkedTensor => ({
    shape: [file.rows, ...shape],
    dtype,
    chunks: values(file, name),
  });
  if (path.extname(out) === '.npy') {
    const { chunks, ...info } = array(onlyColumn(file, options));
    return writeFileAtomicAsync(out, async (fd) => {
      writeFully(fd, encodeNpyHeader(info));
      for await (const chunk of chunks) writeFully(fd, bytesOf(chunk));
    });
  }
  const columns = chosenColumns(file, options);
  const isImages = columns.length === 1 && columns[0].name === 'image';
  const arrays = columns.map((column) => [isImages ? 'arr_0' : column.name, array(column)] as const);
  const labels = labelsOf(file);
  // ADM's sampler keeps the classes of images as arr_1.
  const named = labels ? [[isImages ? 'arr_1' : 'label', labels] as const] : [];
  await writeNpz(out, [...arrays, ...named]);
}

/** [N]; undefined if no row has a label. */
function labelsOf(file: TensorFile): HostTensor | undefined {
  const labels = file.labels();
  if (labels.every((label) => label < 0)) return undefined;
  return { shape: [labels.length], dtype: 'i64', data: BigInt64Array.from(labels, BigInt) };
}
