/** NumPy's files as rows: an .npy is one column, an .npz one for each of its arrays. */
import { DataError } from '../errors.js';
import { BinaryFile } from '../formats/binary-file.js';
import type { TensorInfo } from '../formats/host-tensor.js';
import { NPY_PREFIX_BYTES, npyBatches, npyHeaderBytes, parseNpyHeader, readNpy } from '../formats/npy.js';
import { type NpzFile, openNpz } from '../formats/npz.js';
import { ADM_IMAGES, arrayLabels, isOfImages, notTaken, numberedKey } from '../images/array-rows.js';
import { showShape, sizeOf, type TypedArray } from '../numbers/typed-array.js';
import { rowBytes, type TensorColumn } from '../stream/schema.js';
import { columnFor, type Row, type RowSource, streamValues } from './rows.js';

/** The most rows that are read at a time; fewer where they are large. */
const MOST_ROWS = 64;
const MOST_BYTES = 2 ** 24;

const rowsAtATime = (columns: readonly TensorColumn[]): number =>
  Math.max(1, Math.min(MOST_ROWS, Math.floor(MOST_BYTES / Math.max(...columns.map(rowBytes)))));

/** One array [N, ...] of a file, read in turn. */
interface ArraySource {
  column: TensorColumn;
  batches: AsyncIterable<TypedArray>;
}

const rowInfo = ({ shape, dtype }: TensorInfo): TensorInfo => ({ shape: shape.slice(1), dtype });

/**
 * @param name of the column, if not the usual one for its shape.
 * @throws DataError when the file is damaged, or holds no rows.
 */
export function readNpyRows(path: string, name?: string): RowSource {
  const file = new BinaryFile(path);
  try {
    const prefix = file.read(0, Math.min(file.size, NPY_PREFIX_BYTES));
    const header = parseNpyHeader(file.read(0, Math.min(file.size, npyHeaderBytes(prefix, path))), file.size, path);
    if (header.shape.length < 2) throw new DataError(`${path}: is ${showShape(header.shape)}, not one tensor a row`);
    const column = columnFor(rowInfo(header), path, name);
    async function* batches(): AsyncGenerator<TypedArray> {
      try {
        if (header.fortran) yield readNpy(file.read(0, file.size), path).data;
        else yield* npyBatches(file.chunks(0, file.size), header, rowsAtATime([column]));
      } finally {
        file.close();
      }
    }
    const total = header.shape[0];
    return { columns: [column], total, rows: zipped([{ column, batches: batches() }], total, undefined) };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Whether a file is an .npz of images, as ADM's tools make and take them. */
export function isNpzOfImages(path: string): boolean {
  if (!path.endsWith('.npz')) return false;
  const archive = openNpz(path);
  try {
    return archive.has(ADM_IMAGES) && isOfImages(archive.info(ADM_IMAGES));
  } finally {
    archive.close();
  }
}

/**
 * Arrays of the same length are columns of their names, `arr_0` of the usual name; labels as arrayLabels finds them.
 * @param name of the column, where there is one.
 * @throws DataError when there are no arrays of rows, or of different lengths.
 */
export function readNpzRows(path: string, name?: string): RowSource {
  const archive = openNpz(path);
  try {
    return arrayRows(archive, path, name);
  } catch (error) {
    archive.close();
    throw error;
  }
}

function arrayRows(archive: NpzFile, path: string, name?: string): RowSource {
  const named = archive.names.map((each) => ({ name: each, ...archive.info(each) }));
  const arrays = named.filter(({ shape }) => shape.length > 1);
  const total = arrays[0]?.shape[0];
  const shown = named.map((each) => `${each.name} ${showShape(each.shape)}`).join(', ');
  if (total === undefined || arrays.some(({ shape }) => shape[0] !== total)) {
    throw new DataError(`${path}: its arrays are not one tensor a row each: ${shown}`);
  }
  if (name !== undefined && arrays.length > 1) throw new DataError(`${path}: holds more than one column: ${shown}`);
  const columns = arrays.map((each) => {
    const given = name ?? (each.name === ADM_IMAGES ? undefined : each.name);
    return columnFor(rowInfo(each), `${path}: ${each.name}`, given);
  });
  const labels = arrayLabels(archive, total, path);
  const taken = arrays.map((each) => each.name);
  const sources = arrays.map((each, i) => ({
    column: columns[i],
    batches: archive.batches(each.name, rowsAtATime(columns)),
  }));
  async function* rows(): AsyncGenerator<Row> {
    try {
      yield* zipped(sources, total!, labels);
    } finally {
      archive.close();
    }
  }
  return { columns, total, notes: notTaken(archive, taken), rows: rows() };
}

/** Row after row of arrays that are read side by side; a batch of one has as many rows as that of another. */
async function* zipped(
  sources: readonly ArraySource[],
  total: number,
  labels: Int32Array | undefined,
): AsyncGenerator<Row> {
  const readers = sources.map(({ batches }) => batches[Symbol.asyncIterator]());
  try {
    for (let start = 0; start < total; ) {
      const batches = await Promise.all(readers.map(async (reader) => streamValues((await reader.next()).value)));
      const count = batches[0].length / sizeOf(sources[0].column.shape);
      for (let row = 0; row < count; row++) {
        const tensors = sources.map(({ column }, i) => {
          const size = sizeOf(column.shape);
          return [column.name, batches[i].subarray(row * size, (row + 1) * size)];
        });
        yield {
          key: numberedKey(start + row),
          label: labels?.[start + row] ?? -1,
          tensors: Object.fromEntries(tensors),
        };
      }
      start += count;
    }
  } finally {
    for (const reader of readers) await reader.return?.(undefined); // whose files close then
  }
}
