import { activeEngine } from '../engine/select.js';
import * as tf from '../engine/tfjs.js';
import { DataError } from '../errors.js';
import { type AdamWOptions, adamw, clipCoefficient } from './adamw.js';
import {
  averageVector,
  type LayoutOptions,
  layOut,
  type ParameterGroup,
  type ParameterSpec,
  type StoredParameter,
} from './layout.js';
import type { VectorMemory } from './memory.js';
import { Muon } from './muon.js';

export type StoreOptions = Partial<LayoutOptions>;

export interface StepOptions extends AdamWOptions {
  /** Largest norm of the gradient: a longer one is scaled down to it. Null for no limit. */
  clip: number | null;
  /** What stays of each moving average: average = decay * average + (1 - decay) * parameter. None leaves them alone. */
  emaDecays: readonly number[];
}

export type Variables = Readonly<Record<string, tf.Variable>>;

/** Well within what a WebAssembly memory can address (4 GiB). */
const MEMORY_BYTES = 2 ** 31;

/**
 * The parameters of a model with their gradients, moments and moving averages (20 bytes a parameter with AdamW and one
 * average), updated in place. A model reads `tensors`; ONNX Runtime reads the very memory that the optimizer writes.
 */
export class ParameterStore {
  readonly parameters: readonly StoredParameter[];
  /** The parameters by name: the same tensors for the life of the store. */
  readonly tensors: Variables;
  readonly #adamw: readonly ParameterGroup[];
  readonly #muon: readonly ParameterGroup[];
  readonly #frozen: readonly ParameterGroup[];
  readonly #accumulation: boolean;
  readonly #orthogonal = new Muon();
  #emaTensors: Variables | null = null;

  /** @throws UnavailableError when memory runs out */
  constructor(specs: readonly ParameterSpec[], options: StoreOptions = {}) {
    const { accumulation = false, averages = 1, memoryBytes = MEMORY_BYTES } = options;
    const { parameters, groups } = layOut(specs, { accumulation, averages, memoryBytes });
    this.parameters = parameters;
    this.#adamw = groups.adamw;
    this.#muon = groups.muon;
    this.#frozen = groups.frozen;
    this.#accumulation = accumulation;
    this.tensors = variables(this.parameters, value);
  }

  /** The first moving average of each parameter, by name. */
  get emaTensors(): Variables {
    this.#emaTensors ??= variables(this.parameters, firstAverage);
    return this.#emaTensors;
  }

  get #learned(): VectorMemory[] {
    return [...this.#adamw, ...this.#muon].map(({ memory }) => memory);
  }

  /** All gradients in a few long arrays, for those who sum them over processes in place. */
  gradientBuffers(): Float32Array<ArrayBuffer>[] {
    return this.#learned.map((memory) => memory.view('gradient'));
  }

  /** Euclidean norm over all gradients; not finite if any of them is not. */
  gradientNorm(): number {
    const squares = this.#learned.map((memory) =>
      memory.arithmetic.sumOfSquares(memory.address('gradient'), memory.length),
    );
    return Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
  }

  /** Adds the gradients of one batch to those put aside. */
  accumulateGradients(): void {
    if (!this.#accumulation) throw new Error('the parameter store was made without room to accumulate gradients');
    for (const memory of this.#learned) memory.blend('accumulated', 'gradient', 1, 1);
  }

  /** Makes the gradients the mean over `batches` batches: those put aside and the last. */
  averageGradients(batches: number): void {
    for (const memory of this.#learned) {
      memory.blend('gradient', 'accumulated', 1 / batches, 1 / batches);
      memory.view('accumulated').fill(0);
    }
  }

  /**
   * One step of AdamW, of Muon for the parameters that are learned by it, then of the moving averages. The gradients are
   * used up.
   * @returns the norm of the gradients before clipping
   * @throws DataError, with nothing changed, when a gradient is not finite
   */
  step({ clip, emaDecays, ...options }: StepOptions): number {
    const norm = this.gradientNorm();
    if (!Number.isFinite(norm)) throw this.#gradientError(options.step);
    const gradientScale = clip === null ? 1 : clipCoefficient(norm, clip);
    for (const { memory } of this.#adamw) adamw(memory, options, gradientScale);
    for (const group of this.#muon) this.#orthogonal.step(group, options, gradientScale);
    for (const { memory } of [...this.#adamw, ...this.#muon, ...this.#frozen]) {
      emaDecays.forEach((decay, i) => {
        memory.blend(averageVector(i), 'value', decay, 1 - decay);
      });
    }
    this.refresh();
    return norm;
  }

  /** Has to be called after writing to the arrays of `parameters`: some backends compute on copies of their own. */
  refresh(): void {
    if (activeEngine().readsInPlace) return;
    assign(this.tensors, this.parameters, value);
    if (this.#emaTensors) assign(this.#emaTensors, this.parameters, firstAverage);
  }

  dispose(): void {
    tf.dispose(this.tensors);
    if (this.#emaTensors) tf.dispose(this.#emaTensors);
    this.#orthogonal.dispose();
  }

  #gradientError(step: number): DataError {
    const broken = this.parameters.find(({ gradient }) => gradient?.some((element) => !Number.isFinite(element)));
    return new DataError(
      `step ${step}: the gradient of ${broken?.name ?? 'the parameters'} is not finite`,
      'lower --lr, and check the inputs for numbers that are not finite',
    );
  }
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
