import { sizeOf, type TypedArray } from '../numbers/typed-array.js';
import type { Constants, TensorFunction, TensorSpec } from './engine.js';
import { activeEngine } from './select.js';

export interface Captured {
  /**
   * One array per input, of the specified sizes; one new array per output.
   * @throws UnavailableError when memory runs out
   */
  run(...inputs: TypedArray[]): TypedArray[];
  /** The same, during which the event loop goes on where the backend's device works by itself. */
  runAsync(...inputs: TypedArray[]): Promise<TypedArray[]>;
  dispose(): void;
}

/**
 * Makes a function of tensors into one that runs on host arrays, compiled once on backends that compile.
 *
 * Tensors that `fn` closes over are read at each run, so that in-place changes are seen. With `constants: 'bake'` the
 * caller promises not to change them, and those that are faster to read in another layout are copied once; with `own`, not to
 * keep them either. Whatever `fn` itself makes of numbers and arrays is frozen too: what changes from run to run has to be an input.
 */
export function capture(
  fn: TensorFunction,
  inputs: readonly TensorSpec[],
  { constants = 'feed' }: { constants?: Constants } = {},
): Captured {
  const program = activeEngine().compile(fn, inputs, constants);
  return {
    run(...data) {
      checkInputs(inputs, data);
      return program.run(data);
    },
    async runAsync(...data) {
      checkInputs(inputs, data);
      return program.runAsync?.(data) ?? program.run(data);
    },
    dispose: () => program.dispose(),
  };
}

export function checkInputs(specs: readonly TensorSpec[], data: readonly TypedArray[]): void {
  if (data.length !== specs.length)
    throw new Error(`captured function takes ${specs.length} inputs, not ${data.length}`);
  specs.forEach(({ shape }, index) => {
    if (data[index].length === sizeOf(shape)) return;
    throw new Error(`input ${index} of a captured function has ${data[index].length} elements, not [${shape}]`);
  });
}
