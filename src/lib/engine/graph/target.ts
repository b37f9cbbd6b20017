/** What computes recorded graphs: each target lowers them to its own language. */
import type { TypedArray } from '../../numbers/typed-array.js';
import type { CompileOptions, Constants, Program } from '../engine.js';
import type { Value } from './value.js';

export interface Target {
  /** The data of values whose leaves are data and constants: a new array each. */
  evaluate(wanted: readonly Value[]): TypedArray[];
  /**
   * A program that computes `outputs` of `inputs`, to run many times. Data is read at each run (`feed`), or may be
   * copied into the program once (`bake`).
   */
  load(outputs: readonly Value[], inputs: readonly Value[], constants: Constants, options: CompileOptions): Program;
  /** Brings host memory up to date, where a device has newer values of it. */
  fetch(data: TypedArray): void;
  /** Lets go of what was compiled for `evaluate`. */
  clear(): void;
}
