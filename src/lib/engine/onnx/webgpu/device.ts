/** A GPU by way of ONNX Runtime's WebGPU provider: tensors in its memory, and copies to and from it. */
import { UnavailableError } from '../../../errors.js';
import { sameShape, sizeOf, type TypedArray } from '../../../numbers/typed-array.js';
import { encodeModel, ONNX_TYPE, type OnnxGraph } from '../model.js';
import { availableProviders, created, errorWasLogged, ort } from '../runtime/library.js';
import { OrtSession } from '../runtime/session.js';
import { ARRAYS, copyTensor, HostTensor, type TensorSpec } from '../runtime/tensor.js';

const MEMORY = 'WebGPU_Buf';
/** OrtDeviceAllocator and OrtMemTypeDefault of onnxruntime_c_api.h. */
const [DEVICE_ALLOCATOR, DEFAULT_MEMORY] = [0, 0];

/** The smallest graph: a session of it owns the memory of all tensors. */
const HOME: OnnxGraph = {
  nodes: [{ type: 'Neg', domain: '', attributes: {}, inputs: ['x'], outputs: ['y'] }],
  inputs: [{ name: 'x', dtype: 'float32', shape: [1] }],
  outputs: [{ name: 'y', dtype: 'float32', shape: [1] }],
  initializers: [],
};

export class WebgpuDevice {
  readonly #home: OrtSession;
  readonly #memory: bigint;
  readonly #allocator: bigint;

  /** @throws UnavailableError where no driver gives access to a GPU */
  constructor() {
    if (!availableProviders().includes('WebGpuExecutionProvider')) {
      throw new UnavailableError(
        `onnxruntime-node has no WebGPU for ${process.platform} on ${process.arch}`,
        'use --backend onnx',
      );
    }
    this.#home = explain(() => new OrtSession(encodeModel(HOME), { threads: 1, reused: true, provider: 'WebGPU' }));
    this.#memory = created((out) => ort().CreateMemoryInfo(MEMORY, DEVICE_ALLOCATOR, 0, DEFAULT_MEMORY, out));
    this.#allocator = this.#home.allocator(this.#memory);
  }

  /** Room for a tensor. */
  tensor(spec: TensorSpec): DeviceTensor {
    return new DeviceTensor(this.#memory, this.#allocator, spec);
  }
}

const dimensions = (shape: readonly number[]): BigInt64Array => BigInt64Array.from(shape, (size) => BigInt(size));

/** A tensor at one place of the device's memory for its life. */
export class DeviceTensor {
  readonly spec: TensorSpec;
  readonly #memory: bigint;
  readonly #handle: bigint;
  /** The same memory in other shapes. */
  readonly #views = new Map<string, bigint>();

  constructor(memory: bigint, allocator: bigint, spec: TensorSpec) {
    const dims = dimensions(spec.shape);
    this.spec = spec;
    this.#memory = memory;
    this.#handle = explain(() =>
      created((out) => ort().CreateTensorAsOrtValue(allocator, dims, dims.length, ONNX_TYPE[spec.dtype], out)),
    );
  }

  /** The tensor in a shape of as many elements. */
  handle(shape: readonly number[]): bigint {
    if (sameShape(shape, this.spec.shape)) return this.#handle;
    const key = shape.join();
    const view = this.#views.get(key) ?? this.#view(shape);
    this.#views.set(key, view);
    return view;
  }

  #view(shape: readonly number[]): bigint {
    const address = created((out) => ort().GetTensorMutableData(this.#handle, out));
    const dims = dimensions(shape);
    const { dtype } = this.spec;
    const bytes = sizeOf(shape) * ARRAYS[dtype].BYTES_PER_ELEMENT;
    return created((out) =>
      ort().CreateTensorWithDataAsOrtValue(this.#memory, address, bytes, dims, dims.length, ONNX_TYPE[dtype], out),
    );
  }

  upload(data: TypedArray): void {
    this.#copy(data, (host) => copyTensor(host, this.#handle));
  }

  /** Waits for the device. */
  download(into: TypedArray): void {
    this.#copy(into, (host) => copyTensor(this.#handle, host));
  }

  release(): void {
    for (const view of this.#views.values()) ort().ReleaseValue(view);
    ort().ReleaseValue(this.#handle);
  }

  #copy(data: TypedArray, copy: (host: bigint) => void): void {
    const host = new HostTensor(this.spec, data);
    try {
      explain(() => copy(host.handle));
    } finally {
      host.release();
    }
  }
}

const SMALLER = 'lower --batch-size, or choose a smaller model; or use --backend onnx';
const DRIVER = "look at what the system's log says of its driver; or use --backend onnx";
const REFUSED = 'the GPU refused what was asked of it, most likely for want of memory';

/** What goes wrong with drivers and devices, by what is said of it. */
const PROBLEMS: readonly [pattern: RegExp, message: string, hint: string][] = [
  [
    /failed to get a webgpu adapter|no supported adapters|requestadapter/i,
    'WebGPU finds no GPU that it can use',
    "install a Vulkan driver of your GPU (Mesa 23 or later, or the maker's own) with libvulkan1, and look at what `vulkaninfo` lists; or use --backend onnx",
  ],
  [
    /\bdevice\]? (was |is )?lost|devicelost|lost device|wait for the operation/i,
    'the GPU was lost while it computed',
    DRIVER,
  ],
  [
    /too many storage buffers|maxStorageBuffer|maxBufferSize|exceeds the (supported )?max|larger than the max/i,
    'a tensor is larger than the buffers of the GPU',
    SMALLER,
  ],
  [
    /out of (device )?memory|failed to allocate|allocate memory|bad_alloc|buffer allocation failed/i,
    'the GPU is out of memory',
    SMALLER,
  ],
  [
    /invalid buffer.* due to a previous error/i, // what was wrong with the buffer is not said
    'the GPU made no buffer, most likely for want of memory',
    SMALLER,
  ],
  [/webgpu|wgpu/i, 'the GPU failed', DRIVER],
];

/** What is said after the place in ONNX Runtime's source and the condition that was not met there. */
const essence = (message: string): string =>
  message
    .trim()
    .split('\n')[0]
    .replace(/^.*(was false\.|Status Message:|\[ONNXRuntimeError\] : \d+ : [A-Z_]+ :) */, '');

/**
 * What `call` makes by the GPU. What a GPU without memory cannot do, such as taking what is sent to it, is left undone
 * and logged: that is an error too.
 * @throws UnavailableError that names what went wrong with the GPU, and what to do
 */
export function explain<T>(call: () => T): T {
  errorWasLogged(); // what was before is not of this call
  try {
    const result = call();
    if (errorWasLogged()) throw new UnavailableError(REFUSED, SMALLER);
    return result;
  } catch (error) {
    const { message } = error as Error;
    const problem = PROBLEMS.find(([pattern]) => pattern.test(message));
    if (!problem) throw error;
    const [, what, hint] = problem;
    throw new UnavailableError(`${what}: ${essence(message)}`, hint);
  }
}
