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
  /** Begins to send to a device what the next run reads, which must stay as it is until that is over. */
  stage(...inputs: TypedArray[]): void;
  /** Of one run (see productFlops), over all devices; undefined where the backend does not tell. */
  readonly flops?: number | undefined;
  dispose(): void;
}

/**
 * Makes a function of tensors into one that runs on host arrays, compiled once on backends that compile.
 *
 * Tensors that `fn` closes over are read at each run, so that in-place changes are seen. With `constants: 'bake'` the
 * caller promises not to change them, and those that are faster to read in another layout are copied once. Whatever
 * `fn` itself makes of numbers and arrays is frozen too: what changes from run to run has to be an input.
 *
 * With `byRow` the caller promises that each row of the results depends on that row of the inputs alone: where there
 * are several devices, they share the rows.
 */
export function capture(
  fn: TensorFunction,
  inputs: readonly TensorSpec[],
  { constants = 'feed', byRow = false }: { constants?: Constants; byRow?: boolean } = {},
): Captured {
  const devices = byRow ? (activeEngine().devices?.length ?? 1) : 1;
  if (devices > 1) return captureByRow(fn, inputs, constants, devices);
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
    stage: (...data) => program.stage?.(data),
    flops: program.flops,
    dispose: () => program.dispose(),
  };
}

/** Each device computes as many rows; behind the last of the inputs' come rows of zeros, whose results nobody sees. */
function captureByRow(
  fn: TensorFunction,
  inputs: readonly TensorSpec[],
  constants: Constants,
  devices: number,
): Captured {
  const [rows] = inputs[0].shape;
  const share = Math.ceil(rows / devices);
  const specs = inputs.map(({ shape, dtype }) => ({ shape: shape.with(0, share), dtype }));
  const program = activeEngine().compile(fn, specs, constants, { devices: 'rows' });
  const wholes = (data: readonly TypedArray[]): TypedArray[] => {
    checkInputs(inputs, data);
    return data.map((array, i) => filledUp(array, devices * sizeOf(specs[i].shape)));
  };
  const ofRows = (results: readonly TypedArray[]): TypedArray[] =>
    results.map((array) => array.subarray(0, (array.length / (devices * share)) * rows) as TypedArray);
  return {
    run: (...data) => ofRows(program.run(wholes(data))),
    runAsync: async (...data) => ofRows(await (program.runAsync?.(wholes(data)) ?? program.run(wholes(data)))),
    stage: () => {}, // what is filled up is another array at each run
    flops: program.flops && devices * program.flops,
    dispose: () => program.dispose(),
  };
}

function filledUp(array: TypedArray, length: number): TypedArray {
  if (array.length === length) return array;
  const whole = new (array.constructor as new (length: number) => TypedArray)(length);
  (whole as Float32Array).set(array as Float32Array);
  return whole;
}

export function checkInputs(specs: readonly TensorSpec[], data: readonly TypedArray[]): void {
  if (data.length !== specs.length)
    throw new Error(`captured function takes ${specs.length} inputs, not ${data.length}`);
  specs.forEach(({ shape }, index) => {
    if (data[index].length === sizeOf(shape)) return;
    throw new Error(`input ${index} of a captured function has ${data[index].length} elements, not [${shape}]`);
  });
}
