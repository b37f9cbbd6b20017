/** A tensor in host memory as a file holds it: shape, element type and raw storage. */
import { floatFromHalf } from '../numbers/half.js';
import type { TypedArray } from '../numbers/typed-array.js';

export type HostDType = 'f16' | 'f32' | 'f64' | 'bf16' | 'u8' | 'i8' | 'i16' | 'i32' | 'i64' | 'bool';

export interface TensorInfo {
  shape: number[];
  dtype: HostDType;
}

/** `data` is row-major; f16 and bf16 are stored as the 16 bits of a Uint16Array, bool as a Uint8Array of 0 and 1. */
export interface HostTensor extends TensorInfo {
  data: TypedArray;
}

type StorageConstructor = {
  new (buffer: ArrayBuffer, byteOffset?: number, length?: number): TypedArray;
  readonly BYTES_PER_ELEMENT: number;
};

const STORAGE: Record<HostDType, StorageConstructor> = {
  f16: Uint16Array,
  f32: Float32Array,
  f64: Float64Array,
  bf16: Uint16Array,
  u8: Uint8Array,
  i8: Int8Array,
  i16: Int16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  bool: Uint8Array,
};

/** Bytes of one element. */
export const bytesPerElement = (dtype: HostDType): number => STORAGE[dtype].BYTES_PER_ELEMENT;

/** Reads `bytes` (little-endian, whole elements) as elements of `dtype`; copies only when they are not aligned. */
export function storageOf(dtype: HostDType, bytes: Uint8Array<ArrayBuffer>): TypedArray {
  const size = bytesPerElement(dtype);
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new STORAGE[dtype](aligned.buffer, aligned.byteOffset, aligned.byteLength / size);
}

/** The elements as f32. An f32 tensor is returned as it is, without a copy; i64 beyond 2^53 and f64 are rounded. */
export function toFloat32(tensor: HostTensor): Float32Array {
  const { data, dtype } = tensor;
  if (data instanceof Float32Array) return data;
  if (dtype === 'f16') return floatFromHalf(data as Uint16Array);
  if (dtype === 'bf16') return floatFromBfloat(data as Uint16Array);
  if (data instanceof BigInt64Array) return Float32Array.from(data, Number);
  return new Float32Array(data);
}

/** bf16 is the upper half of the bits of an f32. */
function floatFromBfloat(src: Uint16Array): Float32Array {
  const bits = new Uint32Array(src.length);
  for (let i = 0; i < src.length; i++) bits[i] = src[i] << 16;
  return new Float32Array(bits.buffer);
}
