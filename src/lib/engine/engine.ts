/** What every backend offers beyond the kernels that it registers with tfjs. */
import type { TypedArray } from '../numbers/typed-array.js';
import type { Space } from './space.js';
import type * as tf from './tfjs.js';

export type BackendName = 'onnx' | 'webgpu' | 'xla' | 'tensorflow' | 'tensorflow-gpu';

/** Of the operands of products: f32x2 is f32 as the sum of two bf16. Sums and all else are f32. */
export type Precision = 'f32' | 'f32x2' | 'bf16' | 'f16';

/** What ran, for provenance. */
export interface EngineInfo {
  readonly backend: BackendName;
  /** Of the library that executes. */
  readonly version: string;
  /** Threads of one operation. */
  readonly threads: number;
  /** The devices that compute, as their makers call them, where they are told apart. */
  readonly devices?: readonly string[];
  /** Element type of the operands of products, where it can be chosen. */
  readonly precision?: Precision;
}

export interface TensorSpec {
  readonly shape: readonly number[];
  /** What is given as float64 is rounded to float32 for the function. */
  readonly dtype: 'float32' | 'int32' | 'float64';
}

export type TensorFunction = (...inputs: tf.Tensor[]) => tf.Tensor[];

/** A function of tensors, ready to run on host arrays. */
export interface Program {
  /**
   * Where `into` has an array, that output is written there (on a device, to its copy of it: see {@link Residency});
   * the others get new arrays.
   */
  run(inputs: readonly TypedArray[], into?: readonly (TypedArray | null)[]): TypedArray[];
  /** The same beside the event loop, of backends whose devices work by themselves. */
  runAsync?(inputs: readonly TypedArray[], into?: readonly (TypedArray | null)[]): Promise<TypedArray[]>;
  /** Begins to send these inputs to where the next run reads them; they must stay as they are until it is over. */
  stage?(inputs: readonly TypedArray[]): void;
  /** Of one run on one device (see productFlops), where the backend can tell. */
  readonly flops?: number;
  dispose(): void;
}

/**
 * Host arrays that have copies on a device, which is where programs read and write them. A copy is made when a program
 * first needs it, and stays while somebody uses it.
 */
export interface Residency {
  /** Keeps the device's copy of an array from now on. */
  retain(array: TypedArray): void;
  /** Has to be called after an array was written: its copy is made anew before it is next read. */
  written(array: TypedArray): void;
  /** Brings an array up to date with the device's copy of it. */
  fetch(array: TypedArray): void;
  /** Ends what `retain` began; the copy is lost, once nobody else uses it. */
  release(array: TypedArray): void;
}

/** Rows of numbers that lie on the devices alone, of which each has a share of them. */
export interface DeviceRows {
  /** How many, of how many numbers each. */
  readonly rows: number;
  readonly size: number;
}

/** A function of rows whose results stay on the devices. */
export interface RowProgram {
  /**
   * Starts a run, for which nothing is waited. Host arrays go up, unless the last run was given the same ones: what is
   * in them is taken to be the same.
   * @param inputs of which the first tells the number of rows
   */
  run(...inputs: readonly [DeviceRows, ...(DeviceRows | TypedArray)[]]): DeviceRows[];
  dispose(): void;
}

/** Rows that stay on the devices, with arithmetic in f64, and the networks between. */
export interface DeviceSpace extends Space<DeviceRows, DeviceRows> {
  /** @param inputs for so many rows; each row of the results depends on that row of the inputs alone */
  program(fn: TensorFunction, inputs: (rows: number) => readonly TensorSpec[], constants: Constants): RowProgram;
}

/**
 * Tensors that a function closes over are read at each run (`feed`); or do not change, so that those which are faster
 * to read in another layout may be copied once (`bake`), and are forgotten if nobody else keeps them.
 */
export type Constants = 'feed' | 'bake';

export interface CompileOptions {
  /**
   * Where there are several devices: the first alone computes (`one`, the default); each computes the same (`all`); or
   * each computes on its share of the inputs' rows, whose numbers the specifications tell, and the outputs are summed
   * over the devices (`divided`) or are the rows of all (`rows`).
   */
  readonly devices?: 'one' | 'all' | 'divided' | 'rows';
  /** Of the operands of products, where it must not be the engine's own. */
  readonly precision?: 'f32';
}

export interface Engine extends EngineInfo {
  /** Null where tensors are computed in the host's memory. */
  readonly device: Residency | null;
  /**
   * A new place for rows that stay on the devices; none where tensors are computed in the host's memory, or there is no
   * f64.
   */
  readonly space?: () => DeviceSpace | null;
  /** Whether tensors made of host arrays read them when computing, instead of copies made once. */
  readonly readsInPlace: boolean;
  /**
   * @param constants what becomes of the tensors that `fn` closes over
   */
  compile(fn: TensorFunction, inputs: readonly TensorSpec[], constants: Constants, options?: CompileOptions): Program;
}
