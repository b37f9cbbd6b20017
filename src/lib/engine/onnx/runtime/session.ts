/** Models loaded by ONNX Runtime, and their runs. */
import { koffi } from '../../../foreign-functions.js';
import type { ExternalData } from '../model.js';
import { cPath, created, cStrings, environmentHandle, type OrtApi, ort } from './library.js';
import { describeTensor } from './tensor.js';

export interface SessionOptions {
  readonly threads: number;
  /** For graphs that run often: full optimisation, and freed memory is kept for the next run. */
  readonly reused: boolean;
  /** What the model refers to; read while it loads. */
  readonly externalData?: readonly ExternalData[];
  /** Files of libraries of operations beyond ONNX Runtime's own. */
  readonly customOperations?: readonly string[];
  /** Computes on a device by this provider, which has to have a kernel for each node; on the processor by default. */
  readonly provider?: 'WebGPU';
}

/** An input or an output of a model; sizes that it leaves open are -1, and the type is one of TensorProto.DataType. */
export interface PortType {
  readonly name: string;
  readonly type: number;
  readonly shape: readonly number[];
}

/** GraphOptimizationLevel of onnxruntime_c_api.h. */
const OPTIMISATION = { basic: 1, all: 99 } as const;
const FATAL = 4;

/** Options of a session, made for the time of `use`. */
function withOptions<T>(options: SessionOptions, use: (handle: bigint) => T): T {
  const { threads, reused, externalData = [], customOperations = [], provider } = options;
  const api = ort();
  environmentHandle(); // before all else: without it nothing can be logged
  const handle = created((out) => api.CreateSessionOptions(out));
  try {
    api.SetIntraOpNumThreads(handle, threads);
    api.SetSessionGraphOptimizationLevel(handle, reused ? OPTIMISATION.all : OPTIMISATION.basic);
    // Only what is fatal: errors are thrown, and said where they are caught.
    api.SetSessionLogSeverityLevel(handle, FATAL);
    if (!reused) api.DisableCpuMemArena(handle);
    // Planning all addresses of a run at once makes a training step take half as much memory again, and no faster.
    api.DisableMemPattern(handle);
    // Threads that wait for work at full speed would slow down the other sessions, and other programs.
    api.AddSessionConfigEntry(handle, 'session.intra_op.allow_spinning', '0');
    for (const file of customOperations) api.RegisterCustomOpsLibrary_V2(handle, cPath(file));
    if (provider !== undefined) {
      const none = new BigUint64Array(1);
      api.SessionOptionsAppendExecutionProvider(handle, provider, none, none, 0);
      api.AddSessionConfigEntry(handle, 'session.disable_cpu_ep_fallback', '1');
    }
    if (externalData.length > 0) addExternalData(api, handle, externalData);
    return use(handle);
  } finally {
    api.ReleaseSessionOptions(handle);
  }
}

function addExternalData(api: OrtApi, options: bigint, files: readonly ExternalData[]): void {
  const names = files.map(({ path }) => cPath(path));
  const pointers = BigUint64Array.from(names, (name) => koffi.address(name));
  const buffers = BigUint64Array.from(files, ({ data }) => koffi.address(data));
  const lengths = BigUint64Array.from(files, ({ data }) => BigInt(data.byteLength));
  api.AddExternalInitializersFromFilesInMemory(options, pointers, buffers, lengths, files.length);
}

export class OrtSession {
  readonly #handle: bigint;

  /**
   * Loads a model from its bytes or its file; a file may refer to weights in files beside it.
   * @throws whatever ONNX Runtime says of a model that it cannot run
   */
  constructor(model: string | Uint8Array, options: SessionOptions) {
    const api = ort();
    this.#handle = withOptions(options, (settings) =>
      created((out) =>
        typeof model === 'string'
          ? api.CreateSession(environmentHandle(), cPath(model), settings, out)
          : api.CreateSessionFromArray(environmentHandle(), model, model.byteLength, settings, out),
      ),
    );
  }

  inputs(): PortType[] {
    const { SessionGetInputCount, SessionGetInputName, SessionGetInputTypeInfo } = ort();
    return this.#ports(SessionGetInputCount, SessionGetInputName, SessionGetInputTypeInfo);
  }

  outputs(): PortType[] {
    const { SessionGetOutputCount, SessionGetOutputName, SessionGetOutputTypeInfo } = ort();
    return this.#ports(SessionGetOutputCount, SessionGetOutputName, SessionGetOutputTypeInfo);
  }

  #ports(count: Getter, name: Getter, typeInfo: Getter): PortType[] {
    const api = ort();
    const allocator = created((out) => api.GetAllocatorWithDefaultOptions(out));
    const length = Number(created((out) => count(this.#handle, out)));
    return Array.from({ length }, (_, index) => {
      const text = created((out) => name(this.#handle, index, allocator, out));
      const portName = String(koffi.decode(text, 'char', -1));
      api.AllocatorFree(allocator, text);
      const info = created((out) => typeInfo(this.#handle, index, out));
      // Sequences and maps have no tensor type: their address is null.
      const tensor = created((out) => api.CastTypeInfoToTensorInfo(info, out));
      const described = tensor ? describeTensor(tensor) : { type: 0, shape: [] };
      api.ReleaseTypeInfo(info);
      return { name: portName, ...described };
    });
  }

  /** A way to run the session with these inputs and outputs, by their names. */
  plan(inputs: readonly string[], outputs: readonly string[]): RunPlan {
    return new RunPlan(this.#handle, inputs, outputs);
  }

  /** A way to run the session on tensors that stay where they are. */
  bind(): Binding {
    return new Binding(this.#handle);
  }

  /** What allocates memory of this name for the session's provider. */
  allocator(memory: bigint): bigint {
    return created((out) => ort().CreateAllocator(this.#handle, memory, out));
  }

  release(): void {
    ort().ReleaseSession(this.#handle);
  }
}

type Getter = (session: bigint, ...args: (number | bigint | BigUint64Array)[]) => void;

/** Inputs and outputs by name, each a tensor of any memory; an output may be the tensor of an input. */
export class Binding {
  readonly #session: bigint;
  readonly #handle: bigint;

  constructor(session: bigint) {
    this.#session = session;
    this.#handle = created((out) => ort().CreateIoBinding(session, out));
  }

  input(name: string, tensor: bigint): void {
    ort().BindInput(this.#handle, name, tensor);
  }

  output(name: string, tensor: bigint): void {
    ort().BindOutput(this.#handle, name, tensor);
  }

  /** May return before a device is done: copies from it wait. */
  run(): void {
    ort().RunWithBinding(this.#session, null, this.#handle);
  }

  release(): void {
    ort().ReleaseIoBinding(this.#handle);
  }
}

/** The arguments of a run, of which tensors alone change. */
export class RunPlan {
  readonly #session: bigint;
  readonly #inputNames: ReturnType<typeof cStrings>;
  readonly #outputNames: ReturnType<typeof cStrings>;
  /** Handles of tensors, in the order of the names. */
  readonly inputs: BigUint64Array;
  /** The same; 0 is replaced by a tensor that the run makes, and the caller has to release. */
  readonly outputs: BigUint64Array;

  constructor(session: bigint, inputs: readonly string[], outputs: readonly string[]) {
    this.#session = session;
    this.#inputNames = cStrings(inputs);
    this.#outputNames = cStrings(outputs);
    this.inputs = new BigUint64Array(inputs.length);
    this.outputs = new BigUint64Array(outputs.length);
  }

  run(): void {
    ort().Run(...this.#arguments());
  }

  /** Another thread computes; nothing of this plan may be touched meanwhile. */
  runAsync(): Promise<void> {
    return ort().runAsync(...this.#arguments());
  }

  #arguments() {
    const { pointers: inputNames } = this.#inputNames;
    const { pointers: outputNames } = this.#outputNames;
    return [
      this.#session,
      null,
      inputNames,
      this.inputs,
      this.inputs.length,
      outputNames,
      this.outputs.length,
      this.outputs,
    ] as const;
  }
}
