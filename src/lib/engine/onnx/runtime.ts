/** Sessions of ONNX Runtime that run synchronously on host memory, reading and writing it without copies. */
import './telemetry.js'; // first: see there
import { createRequire } from 'node:module';
import { env, Tensor } from 'onnxruntime-node';
import { UnavailableError } from '../../errors.js';
import { sizeOf, type TypedArray } from '../../numbers/typed-array.js';
import { runInPlace } from './in-place.js';
import type { ExternalData, OnnxGraph, TensorType } from './model.js';

// The package's public `run` is asynchronous; the binding beneath it is not, and tfjs needs `dataSync`.
const require = createRequire(import.meta.url);
const { binding, initOrt } =
  require('onnxruntime-node/dist/binding.js') as typeof import('onnxruntime-node/dist/binding.js');

export const runtimeVersion: string = env.versions.node ?? env.versions.common;

export interface SessionOptions {
  readonly threads: number;
  /** For graphs that run often: full optimisation, and freed memory is kept for the next run. */
  readonly reused: boolean;
  /** What the model refers to; read while it loads. */
  readonly externalData?: readonly ExternalData[];
}

export type RawSession = InstanceType<typeof binding.InferenceSession>;

/**
 * Loads a model from its bytes or its file; a file may refer to weights in files beside it.
 * @throws UnavailableError when memory runs out; whatever ONNX Runtime says of a model that it cannot run
 */
export function loadSession(
  model: string | Uint8Array<ArrayBuffer>,
  { threads, reused, externalData = [] }: SessionOptions,
): RawSession {
  initOrt();
  const session = new binding.InferenceSession();
  const options = {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    intraOpNumThreads: threads,
    graphOptimizationLevel: reused ? 'all' : 'basic',
    enableCpuMemArena: reused,
    // Planning all addresses of a run at once makes a training step take half as much memory again, and no faster.
    enableMemPattern: false,
    // Threads that wait for work at full speed would slow down the other sessions, and other programs.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
    externalData,
    // Only what is fatal: errors are thrown, and said where they are caught.
    logSeverityLevel: 4,
  } as const;
  guard(() => {
    if (typeof model === 'string') session.loadModel(model, options);
    else session.loadModel(model.buffer, model.byteOffset, model.byteLength, options);
  });
  return session;
}

export class Session {
  readonly #session: RawSession;
  readonly #inputs: readonly TensorType[];
  readonly #outputs: readonly TensorType[];

  /**
   * @param model what `encodeInPlace` makes of the graph
   * @throws UnavailableError when memory runs out
   */
  constructor(model: Uint8Array<ArrayBuffer>, { inputs, outputs }: OnnxGraph, options: SessionOptions) {
    this.#inputs = inputs;
    this.#outputs = outputs;
    this.#session = loadSession(model, options);
  }

  /**
   * One array per output, in the order of the graph. Where `into` has an array, the output is written there.
   * @throws UnavailableError when memory runs out
   */
  run(feeds: readonly TypedArray[], into: readonly (TypedArray | null)[] = []): TypedArray[] {
    const fed = Object.fromEntries(this.#inputs.map((input, index) => [input.name, wrap(input, feeds[index])]));
    return guard(() => {
      const written = this.#outputs.map((output, index) => into[index] ?? newArray(output));
      const outputs = this.#outputs.map((output, index) => [output.name, wrap(output, written[index])]);
      runInPlace(this.#session, fed, Object.fromEntries(outputs));
      return written;
    });
  }

  dispose(): void {
    this.#session.dispose();
  }
}

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
} as const;

const newArray = ({ dtype, shape }: TensorType): TypedArray => new ARRAYS[dtype](sizeOf(shape));

const wrap = ({ dtype, shape }: TensorType, data: TypedArray): Tensor =>
  new Tensor(dtype as 'float32', data as Float32Array, shape);

/** As ONNX Runtime, C++ and JavaScript say it. */
const OUT_OF_MEMORY = /allocate memory|bad_alloc|out of memory|buffer allocation failed|invalid typed array length/i;

/** @throws UnavailableError when memory runs out in `call` */
export function guard<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    const { message } = error as Error;
    if (!OUT_OF_MEMORY.test(message)) throw error;
    const [, node] = /while running (\w+) node/.exec(message) ?? [];
    throw new UnavailableError(
      `out of memory${node ? ` in the operation ${node}` : ''}`,
      'lower --batch-size, or choose a smaller model',
    );
  }
}
