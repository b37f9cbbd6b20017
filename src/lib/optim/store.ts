import type { Residency } from '../engine/engine.js';
import { activeDevice, activeEngine } from '../engine/select.js';
import * as tf from '../engine/tfjs.js';
import { DataError } from '../errors.js';
import { DeviceSteps } from './device-steps.js';
import { type LayoutOptions, layOut, type ParameterSpec, type StoredParameter } from './layout.js';
import { ProcessorSteps } from './processor-steps.js';
import type { StepOptions, Steps } from './steps.js';

export type StoreOptions = Partial<LayoutOptions>;

export type Variables = Readonly<Record<string, tf.Variable>>;

/** Well within what a WebAssembly memory can address (4 GiB). */
const MEMORY_BYTES = 2 ** 31;

/**
 * The parameters of a model with their gradients, moments and moving averages (20 bytes a parameter with AdamW and one
 * average), updated in place. A model reads `tensors`; ONNX Runtime reads the very memory that the optimizer writes.
 *
 * Where tensors live on a device, so do all of these: what the host has is brought up to date when it is asked for.
 */
export class ParameterStore {
  /** Their arrays, as they are asked for, have the values of now. */
  readonly parameters: readonly StoredParameter[];
  /** The parameters by name: the same tensors for the life of the store. */
  readonly tensors: Variables;
  readonly #stored: readonly StoredParameter[];
  readonly #processor: ProcessorSteps;
  /** Null where parameters are in the host's memory alone. */
  readonly #device: DeviceSteps | null;
  readonly #accumulation: boolean;
  #emaTensors: Variables | null = null;

  /** @throws UnavailableError when memory runs out */
  constructor(specs: readonly ParameterSpec[], options: StoreOptions = {}) {
    const { accumulation = false, averages = 1, memoryBytes = MEMORY_BYTES } = options;
    const layout = layOut(specs, { accumulation, averages, memoryBytes });
    const device = activeDevice();
    this.#stored = layout.parameters;
    this.#processor = new ProcessorSteps(layout);
    this.#device = device && new DeviceSteps(this.#stored, device);
    this.#accumulation = accumulation;
    this.parameters = device ? this.#stored.map((parameter) => fetched(parameter, device)) : this.#stored;
    this.tensors = variables(this.#stored, value);
  }

  /** The first moving average of each parameter, by name. */
  get emaTensors(): Variables {
    this.#emaTensors ??= variables(this.#stored, firstAverage);
    return this.#emaTensors;
  }

  /** All gradients in a few long arrays, for those who sum them over processes in place. */
  exchangeGradients(sum: (gradients: Float32Array<ArrayBuffer>) => void): void {
    for (const parameter of this.parameters) void parameter.gradient;
    for (const gradients of this.#processor.gradientBuffers()) sum(gradients);
    this.#device?.written('gradients');
  }

  /** Euclidean norm over all gradients; not finite if any of them is not. */
  gradientNorm(): number {
    for (const parameter of this.parameters) void parameter.gradient;
    return this.#processor.gradientNorm();
  }

  /** Adds the gradients of one batch to those put aside. */
  accumulateGradients(): void {
    if (!this.#accumulation) throw new Error('the parameter store was made without room to accumulate gradients');
    this.#steps.accumulate();
  }

  /** Makes the gradients the mean over `batches` batches: those put aside and the last. */
  averageGradients(batches: number): void {
    this.#steps.average(batches);
  }

  get #steps(): Steps {
    return this.#device ?? this.#processor;
  }

  /**
   * One step of AdamW, of Muon for the parameters that are learned by it, then of the moving averages. The gradients are
   * used up.
   * @returns the norm of the gradients before clipping
   * @throws DataError, with nothing changed, when a gradient is not finite
   */
  step(options: StepOptions): number {
    const norm = this.#steps.step(options);
    if (!Number.isFinite(norm)) throw this.#gradientError(options.step);
    if (!this.#device) this.refresh();
    return norm;
  }

  /** Brings arrays that were asked for earlier up to date. */
  fetch(): void {
    this.#device?.fetch();
  }

  /**
   * Has to be called after writing to the arrays of `parameters`: some backends compute on copies of their own. What is not written
   * has to be up to date (`fetch`): all is read again.
   */
  refresh(): void {
    this.#device?.written();
    if (activeEngine().readsInPlace) return;
    assign(this.tensors, this.#stored, value);
    if (this.#emaTensors) assign(this.#emaTensors, this.#stored, firstAverage);
  }

  dispose(): void {
    tf.dispose(this.tensors);
    if (this.#emaTensors) tf.dispose(this.#emaTensors);
    this.#processor.dispose();
    this.#device?.dispose();
  }

  #gradientError(step: number): DataError {
    const broken = this.parameters.find(({ gradient }) => gradient?.some((element) => !Number.isFinite(element)));
    return new DataError(
      `step ${step}: the gradient of ${broken?.name ?? 'the parameters'} is not finite`,
      'lower --lr, and check the inputs for numbers that are not finite',
    );
  }
}

/** A parameter whose arrays are brought up to date with the device when they are asked for. */
function fetched(parameter: StoredParameter, device: Residency): StoredParameter {
  const current = <T extends Float32Array | null>(array: T): T => {
    if (array) device.fetch(array);
    return array;
  };
  return {
    ...{ name: parameter.name, shape: parameter.shape, learning: parameter.learning },
    get value() {
      return current(parameter.value);
    },
    get averages() {
      return parameter.averages.map(current);
    },
    get gradient() {
      return current(parameter.gradient);
    },
    get accumulated() {
      return current(parameter.accumulated);
    },
    get firstMoment() {
      return current(parameter.firstMoment);
    },
    get secondMoment() {
      return current(parameter.secondMoment);
    },
  };
}

/** Which array of a parameter a variable shows. */
type Quantity = (parameter: StoredParameter) => Float32Array<ArrayBuffer>;

const value: Quantity = (parameter) => parameter.value;
const firstAverage: Quantity = (parameter) => parameter.averages[0];

const tensor = (parameter: StoredParameter, quantity: Quantity): tf.Tensor =>
  tf.tensor(quantity(parameter), [...parameter.shape], 'float32');

function variables(parameters: readonly StoredParameter[], quantity: Quantity): Variables {
  return Object.fromEntries(
    parameters.map((parameter) => {
      const initial = tensor(parameter, quantity);
      const variable = tf.variable(initial, quantity === value && parameter.learning !== 'frozen');
      initial.dispose();
      return [parameter.name, variable];
    }),
  );
}

function assign(target: Variables, parameters: readonly StoredParameter[], quantity: Quantity): void {
  for (const parameter of parameters) {
    const current = tensor(parameter, quantity);
    target[parameter.name].assign(current);
    current.dispose();
  }
}
