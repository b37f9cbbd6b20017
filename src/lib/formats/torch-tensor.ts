/** A tensor of a PyTorch checkpoint: a strided view of a storage, read when it is asked for. */
import { DataError } from '../errors.js';
import { showShape, sizeOf } from '../numbers/typed-array.js';
import { bytesPerElement, type HostDType, type HostTensor, storageOf, type TensorInfo } from './host-tensor.js';
import { gatherStrided, isContiguous } from './strided.js';

/** A flat run of elements in the file, shared by all the tensors that view it. */
export class TorchStorage {
  /**
   * @param length in elements.
   * @param start where it starts in the stored one, in elements: the oldest checkpoints hold views of storages.
   */
  constructor(
    readonly key: string,
    readonly dtype: HostDType,
    readonly length: number,
    readonly start = 0,
  ) {}
}

/** Fetches bytes of a storage. */
export type ReadStorage = (key: string, offset: number, length: number) => Uint8Array<ArrayBuffer>;

/** A view may repeat elements (`expand`), but not so that a small file fills the memory. */
const LARGEST_EXPANSION = 2 ** 24;

export class TorchTensor implements TensorInfo {
  readonly shape: number[];
  readonly dtype: HostDType;
  readonly #storage: TorchStorage;
  readonly #offset: number;
  readonly #strides: readonly number[];
  readonly #read: ReadStorage;

  /**
   * @param offset with `shape` and `strides`: whole numbers from 0 on, in elements.
   * @throws DataError when the view leaves its storage or is of an absurd size.
   */
  constructor(
    storage: TorchStorage,
    offset: number,
    shape: readonly number[],
    strides: readonly number[],
    read: ReadStorage,
    where: string,
  ) {
    const elements = sizeOf(shape);
    const fits = shape.length === strides.length && offset + extent(shape, strides) <= storage.length;
    if (!fits || (elements > storage.length && elements > LARGEST_EXPANSION)) {
      throw new DataError(
        `${where}: a tensor ${showShape(shape)} with strides ${showShape(strides)} at ${offset} does not fit its storage ` +
          `'${storage.key}' of ${storage.length} elements`,
      );
    }
    this.shape = [...shape];
    this.dtype = storage.dtype;
    this.#storage = storage;
    this.#offset = offset;
    this.#strides = [...strides];
    this.#read = read;
  }

  /** The elements, row-major whatever the view's strides. */
  read(): HostTensor {
    const { shape, dtype } = this;
    const size = bytesPerElement(dtype);
    const start = (this.#storage.start + this.#offset) * size;
    const bytes = this.#read(this.#storage.key, start, extent(shape, this.#strides) * size);
    const data = storageOf(dtype, bytes);
    return {
      shape: [...shape],
      dtype,
      data: isContiguous(shape, this.#strides) ? data : gatherStrided(data, shape, this.#strides),
    };
  }
}

/** Elements from the first to the last that the view touches. */
function extent(shape: readonly number[], strides: readonly number[]): number {
  if (sizeOf(shape) === 0) return 0;
  return shape.reduce((last, dim, axis) => last + (dim - 1) * strides[axis], 1);
}
