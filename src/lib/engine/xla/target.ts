/** Recorded graphs computed by XLA, on the devices of a plugin. */
import type { TypedArray } from '../../numbers/typed-array.js';
import type { CompileOptions, Constants } from '../engine.js';
import type { Target } from '../graph/target.js';
import type { Value } from '../graph/value.js';
import type { Products } from './lower/writer.js';
import { XlaProgram } from './program.js';
import type { ProgramCache } from './program-cache.js';
import type { DeviceCopies } from './residency.js';

export class XlaTarget implements Target {
  constructor(
    readonly copies: DeviceCopies,
    readonly programs: ProgramCache,
    readonly products: Products,
  ) {}

  evaluate(wanted: readonly Value[]): TypedArray[] {
    const program = new XlaProgram(this.#plan(wanted, [], false, {}), this.copies, this.programs);
    const results = program.run([]);
    program.dispose();
    return results;
  }

  load(outputs: readonly Value[], inputs: readonly Value[], constants: Constants, options: CompileOptions): XlaProgram {
    return new XlaProgram(this.#plan(outputs, inputs, constants !== 'feed', options), this.copies, this.programs);
  }

  fetch(data: TypedArray): void {
    this.copies.fetch(data);
  }

  clear(): void {
    this.programs.clear();
  }

  #plan(outputs: readonly Value[], inputs: readonly Value[], bake: boolean, options: CompileOptions) {
    const { devices = 'one' } = options;
    return { ...options, devices, outputs, inputs, bake, products: this.products };
  }
}
