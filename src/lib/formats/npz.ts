/** NumPy's .npz: a zip of .npy members, one an array. */

import { DataError } from '../errors.js';
import { writeFileAtomicAsync } from '../files/atomic-file.js';
import { bytesOf, sizeOf, type TypedArray } from '../numbers/typed-array.js';
import { bytesPerElement, type HostTensor, type TensorInfo } from './host-tensor.js';
import { encodeNpyHeader, type NpyHeader, npyBatches, parseNpyHeader, readNpy } from './npy.js';
import { openZip, type ZipFile } from './zip.js';
import { ZipWriter } from './zip-writer.js';

const SUFFIX = '.npy';

/** An open archive; arrays are found by the names they were saved under (`arr_0`, `mu`). */
export class NpzFile {
  readonly names: readonly string[];
  readonly #path: string;
  readonly #zip: ZipFile;

  constructor(path: string, zip: ZipFile) {
    this.#path = path;
    this.#zip = zip;
    this.names = [...zip.entries.keys()]
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length));
  }

  has(name: string): boolean {
    return this.#zip.entries.has(name + SUFFIX);
  }

  info(name: string): TensorInfo {
    const { shape, dtype } = this.#header(name);
    return { shape, dtype };
  }

  /** The whole array, row-major. */
  read(name: string): HostTensor {
    const { shape, dtype } = this.#header(name); // its size is known to be right before the whole is unpacked
    const { data } = readNpy(this.#zip.read(name + SUFFIX), this.#where(name));
    return { shape, dtype, data };
  }

  /** The array's rows in order, `rows` of the first axis at a time, in bounded memory. */
  async *batches(name: string, rows: number): AsyncGenerator<TypedArray> {
    const header = this.#header(name);
    if (header.fortran) throw new DataError(`${this.#where(name)}: column-major, so its rows cannot be read in turn`);
    yield* npyBatches(this.#zip.chunks(name + SUFFIX), header, rows);
  }

  close(): void {
    this.#zip.close();
  }

  #header(name: string): NpyHeader {
    const entry = this.#zip.entries.get(name + SUFFIX);
    if (!entry) {
      throw new DataError(`${this.#path}: has no array '${name}'`, `It has ${this.names.join(', ') || 'none'}.`);
    }
    return parseNpyHeader(this.#zip.start(entry.name), entry.size, this.#where(name));
  }

  #where(name: string): string {
    return `${this.#path}: ${name}`;
  }
}

/** @throws MissingInputError when there is no such file; DataError when it is not a sound zip archive. */
export function openNpz(path: string): NpzFile {
  return new NpzFile(path, openZip(path));
}

/** An array that is written piece by piece, without being held. */
export interface ChunkedTensor extends TensorInfo {
  chunks: AsyncIterable<TypedArray> | Iterable<TypedArray>;
}

/** Writes arrays, uncompressed as `numpy.savez` does; the file appears only when it is complete. */
export async function writeNpz(
  path: string,
  arrays: Iterable<readonly [string, HostTensor | ChunkedTensor]>,
): Promise<void> {
  await writeFileAtomicAsync(path, async (fd) => {
    const zip = new ZipWriter(fd);
    for (const [name, array] of arrays) {
      const header = encodeNpyHeader(array);
      const size = header.length + sizeOf(array.shape) * bytesPerElement(array.dtype);
      await zip.add(name + SUFFIX, size, npyChunks(header, 'chunks' in array ? array.chunks : [array.data]));
    }
    zip.end();
  });
}

async function* npyChunks(
  header: Uint8Array,
  chunks: AsyncIterable<TypedArray> | Iterable<TypedArray>,
): AsyncGenerator<Uint8Array> {
  yield header;
  for await (const chunk of chunks) yield bytesOf(chunk);
}
