/** The parameters of a network in training. */
import { activeDevice, activeEngine } from '../engine/select.js';
import * as tf from '../engine/tfjs.js';
import { DataError } from '../errors.js';
import { DeviceSteps } from './device-steps.js';
import { fetched } from './fetched.js';
import { type LayoutOptions, layOut, type ParameterSpec, type StoredParameter } from './layout.js';
import { ProcessorSteps } from './processor-steps.js';
import type { StepOptions, Steps } from './steps.js';
import { assign, firstAverage, type Variables, value, variables } from './variables.js';

export type StoreOptions = Partial<LayoutOptions>;

/** Well within what a WebAssembly memory can address (4 GiB). */
const MEMORY_BYTES = 2 ** 31;

/**
 * The parameters of a model with their gradients, moments and moving averages (20 bytes a parameter with AdamW and one
 * average), updated in place. A model reads `tensors`; ONNX Runtime reads the very memory that the optimizer writes.
 *
 * Where tensors live on a device, so do all of these: the host's arrays are brought up to date when they are read.
 */
export class ParameterStore {
  /** Their arrays have the present values whenever they are read. */
  readonly parameters: readonly StoredParameter[];
  /** The parameters by name: the same tensors for the life of the store. */
  readonly tensors: Variables;
  readonly #stored: readonly StoredParameter[];
  readonly #processor: ProcessorSteps;
  /** Null where parameters lie in the host's memory alone. */
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

  /** Hands all gradients to `sum`, in a few long arrays, to be summed over processes in place. */
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

  /** Adds the gradients of one batch to the sum. */
  accumulateGradients(): void {
    if (!this.#accumulation) throw new Error('the parameter store was made without room to accumulate gradients');
    this.#steps.accumulate();
  }

  /** Turns the sum, with the last batch, into the mean over `batches` batches. */
  averageGradients(batches: number): void {
    this.#steps.average(batches);
  }

  get #steps(): Steps {
    return this.#device ?? this.#processor;
  }

  /**
   * One step of AdamW, of Muon for the parameters that are learned by it, then of the moving averages. The gradients
   * may be overwritten.
   * @returns the norm of the gradients before clipping
   * @throws DataError, with nothing changed, when a gradient is not finite
   */
  step(options: StepOptions): number {
    const norm = this.#steps.step(options);
    if (!Number.isFinite(norm)) throw this.#gradientError(options.step);
    if (!this.#device) this.refresh();
    return norm;
  }

  /** Brings arrays that were read earlier up to date. */
  fetch(): void {
    this.#device?.fetch();
  }

  /**
   * To be called after writing to the arrays of `parameters`: some backends compute on copies. All arrays are read
   * again, so those that were not written have to be up to date (`fetch`).
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
      'Lower --lr, and check the inputs for numbers that are not finite.',
    );
  }
}
