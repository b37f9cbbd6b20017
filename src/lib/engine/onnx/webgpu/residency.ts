import type { TypedArray } from '../../../numbers/typed-array.js';
import type { Residency } from '../../engine.js';
import type { ElementType } from '../model.js';
import type { DeviceTensor, WebgpuDevice } from './device.js';

/** An array and its copy. */
interface Twin {
  readonly array: TypedArray;
  tensor: DeviceTensor | null;
  /** Which of both has what the other has not. */
  newer: 'neither' | 'host' | 'device';
  users: number;
}

/** Copies of host arrays in a GPU's memory. */
export class DeviceCopies implements Residency {
  readonly #device: WebgpuDevice;
  /** By the memory that an array shows: two arrays of the same place are one. */
  readonly #twins = new WeakMap<ArrayBufferLike, Map<string, Twin>>();

  constructor(device: WebgpuDevice) {
    this.#device = device;
  }

  retain(array: TypedArray): void {
    const twin = this.#find(array);
    if (twin) twin.users++;
    else this.#placesOf(array).set(placeOf(array), { array, tensor: null, newer: 'host', users: 1 });
  }

  written(array: TypedArray): void {
    const twin = this.#find(array);
    if (twin) twin.newer = 'host';
  }

  fetch(array: TypedArray): void {
    const twin = this.#find(array);
    if (twin?.newer !== 'device') return;
    twin.tensor!.download(twin.array);
    twin.newer = 'neither';
  }

  release(array: TypedArray): void {
    const twin = this.#find(array);
    if (!twin || --twin.users > 0) return;
    twin.tensor?.release();
    this.#placesOf(array).delete(placeOf(array));
  }

  /** The copy of a retained array, to be read: it has the array's values. */
  forReading(array: TypedArray): DeviceTensor {
    const twin = this.#twinOf(array);
    const tensor = this.#tensorOf(twin);
    if (twin.newer === 'host') {
      tensor.upload(twin.array);
      twin.newer = 'neither';
    }
    return tensor;
  }

  /** Where the copy of a retained array lies, whatever its values. */
  place(array: TypedArray): DeviceTensor {
    return this.#tensorOf(this.#twinOf(array));
  }

  /** The copy of a retained array was written: it is newer than the array. */
  overwritten(array: TypedArray): void {
    this.#twinOf(array).newer = 'device';
  }

  #find(array: TypedArray): Twin | undefined {
    return this.#twins.get(array.buffer)?.get(placeOf(array));
  }

  #placesOf({ buffer }: TypedArray): Map<string, Twin> {
    const known = this.#twins.get(buffer) ?? new Map<string, Twin>();
    this.#twins.set(buffer, known);
    return known;
  }

  #twinOf(array: TypedArray): Twin {
    const twin = this.#find(array);
    if (!twin) throw new Error('this array is not retained on the device');
    return twin;
  }

  #tensorOf(twin: Twin): DeviceTensor {
    twin.tensor ??= this.#device.tensor({ dtype: elementType(twin.array), shape: [twin.array.length] });
    return twin.tensor;
  }
}

const placeOf = ({ byteOffset, byteLength }: TypedArray): string => `${byteOffset}:${byteLength}`;

function elementType(array: TypedArray): ElementType {
  if (array instanceof Float32Array) return 'float32';
  return array instanceof Int32Array ? 'int32' : 'bool';
}
