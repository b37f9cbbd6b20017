/** Tensors of ONNX Runtime, over our own memory or in that of a device. */
import { koffi } from '../../../foreign-functions.js';
import { sizeOf, type TypedArray } from '../../../numbers/typed-array.js';
import { type ElementType, ONNX_TYPE } from '../model.js';
import { created, environmentHandle, ort } from './library.js';

export const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
} as const;

export interface TensorSpec {
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

export const newArray = ({ dtype, shape }: TensorSpec): TypedArray => new ARRAYS[dtype](sizeOf(shape));

const dimensions = (shape: readonly number[]): BigInt64Array => BigInt64Array.from(shape, (size) => BigInt(size));

let hostMemory: bigint | undefined;
/** OrtDeviceAllocator and OrtMemTypeDefault of onnxruntime_c_api.h. */
const [DEVICE_ALLOCATOR, DEFAULT_MEMORY] = [0, 0];

/** For empty arrays, which have no address. */
const SOMEWHERE = new Uint8Array(8);

/** A tensor that is read and written where `data` lies, which has to stay alive until it is released. */
export class HostTensor {
  readonly handle: bigint;
  readonly data: TypedArray;

  constructor({ dtype, shape }: TensorSpec, data: TypedArray) {
    void data.buffer; // V8 keeps small arrays on a heap of its own, and moves them, until their buffer is asked for
    hostMemory ??= created((out) => ort().CreateCpuMemoryInfo(DEVICE_ALLOCATOR, DEFAULT_MEMORY, out));
    const memory = data.byteLength > 0 ? data : SOMEWHERE;
    const dims = dimensions(shape);
    this.data = data;
    this.handle = created((out) =>
      ort().CreateTensorWithDataAsOrtValue(
        hostMemory!,
        memory,
        data.byteLength,
        dims,
        dims.length,
        ONNX_TYPE[dtype],
        out,
      ),
    );
  }

  release(): void {
    ort().ReleaseValue(this.handle);
  }
}

/** The element type (of TensorProto.DataType) and the shape that a TensorTypeAndShapeInfo tells; open sizes are -1. */
export function describeTensor(info: bigint): { type: number; shape: number[] } {
  const type = new Int32Array(1);
  ort().GetTensorElementType(info, type);
  const rank = Number(created((out) => ort().GetDimensionsCount(info, out)));
  const dims = new BigInt64Array(rank);
  ort().GetDimensions(info, dims, rank);
  return { type: type[0], shape: Array.from(dims, Number) };
}

/** A copy of what a tensor in host memory holds. */
export function readTensor(handle: bigint): { type: number; shape: number[]; bytes: ArrayBuffer } {
  const info = created((out) => ort().GetTensorTypeAndShape(handle, out));
  const { type, shape } = describeTensor(info);
  ort().ReleaseTensorTypeAndShapeInfo(info);
  const [name] = Object.entries(ONNX_TYPE).find(([, number]) => number === type) ?? [];
  if (!name) throw new Error(`elements of the type ${type} cannot be read`);
  const length = sizeOf(shape) * ARRAYS[name as ElementType].BYTES_PER_ELEMENT;
  const address = created((out) => ort().GetTensorMutableData(handle, out));
  return { type, shape, bytes: length > 0 ? koffi.view(address, length).slice(0) : new ArrayBuffer(0) };
}

/** Copies the data of one tensor to another of the same type and shape, wherever they lie. */
export const copyTensor = (from: bigint, to: bigint): void =>
  ort().CopyTensors(environmentHandle(), BigUint64Array.of(from), BigUint64Array.of(to), null, 1);
