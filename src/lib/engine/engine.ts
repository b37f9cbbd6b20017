/** What every backend offers beyond the kernels that it registers with tfjs. */
import type { TypedArray } from '../numbers/typed-array.js';
import type * as tf from './tfjs.js';

export type BackendName = 'onnx' | 'xla' | 'tensorflow' | 'tensorflow-gpu';

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
  readonly precision?: 'f32' | 'bf16';
}

export interface TensorSpec {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
}

export type TensorFunction = (...inputs: tf.Tensor[]) => tf.Tensor[];

/** A function of tensors, ready to run on host arrays. */
export interface Program {
  /** Where `into` has an array, that output is written there; the others get new arrays. */
  run(inputs: readonly TypedArray[], into?: readonly (TypedArray | null)[]): TypedArray[];
  dispose(): void;
}

export interface Engine extends EngineInfo {
  /** Whether tensors made of host arrays read them when computing, instead of copies made once. */
  readonly readsInPlace: boolean;
  /**
   * @param constants tensors that `fn` closes over are read at each run (`feed`), or may be copied into the program
   *   once and arranged for speed (`bake`)
   */
  compile(fn: TensorFunction, inputs: readonly TensorSpec[], constants: 'feed' | 'bake'): Program;
}
