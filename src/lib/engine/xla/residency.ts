/** Copies of host arrays on the devices, of which each has one of its own. */
import type { TypedArray } from '../../numbers/typed-array.js';
import type { Residency } from '../engine.js';
import type { BufferType, Client, DeviceBuffer } from './client.js';

interface Copy {
  users: number;
  /** By device, flat; null where there is none. */
  buffers: (DeviceBuffer | null)[];
  /** Whether the devices have newer values than the host. */
  isNewer: boolean;
}

export class DeviceCopies implements Residency {
  readonly #copies = new Map<TypedArray, Copy>();

  constructor(readonly client: Client) {}

  retain(array: TypedArray): void {
    const copy = this.#copies.get(array) ?? { users: 0, buffers: this.client.devices.map(() => null), isNewer: false };
    copy.users++;
    this.#copies.set(array, copy);
  }

  written(array: TypedArray): void {
    const copy = this.#copies.get(array);
    if (!copy) return;
    drop(copy);
    copy.isNewer = false;
  }

  fetch(array: TypedArray): void {
    const copy = this.#copies.get(array);
    if (!copy?.isNewer) return;
    copy.buffers[0]!.read(array);
    copy.isNewer = false;
  }

  release(array: TypedArray): void {
    const copy = this.#copies.get(array);
    if (!copy || --copy.users > 0) return;
    drop(copy);
    this.#copies.delete(array);
  }

  has(array: TypedArray): boolean {
    return this.#copies.has(array);
  }

  /** The copies on the first `count` devices, made where they are missing. */
  buffersOf(array: TypedArray, type: BufferType, count: number): DeviceBuffer[] {
    const copy = this.#copies.get(array)!;
    if (copy.buffers.slice(0, count).some((buffer) => !buffer)) this.fetch(array);
    return Array.from({ length: count }, (_, i) => {
      copy.buffers[i] ??= this.client.upload(array, [array.length], type, this.client.devices[i]);
      return copy.buffers[i];
    });
  }

  /** Lets go of the device's values, which are about to be computed anew. */
  discard(array: TypedArray): void {
    drop(this.#copies.get(array)!);
  }

  /** What a program has made of an array. */
  replace(array: TypedArray, buffers: readonly DeviceBuffer[]): void {
    const copy = this.#copies.get(array)!;
    drop(copy);
    copy.buffers = this.client.devices.map((_, i) => buffers[i] ?? null);
    copy.isNewer = true;
  }
}

function drop(copy: Copy): void {
  for (const buffer of copy.buffers) buffer?.dispose();
  copy.buffers = copy.buffers.map(() => null);
}
