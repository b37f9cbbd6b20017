/**
 * Optimiser steps on a device: a program updates parameters, moments and averages in the device's memory. A step sends
 * a few scalars to the device and fetches the norm.
 */
import type { CompileOptions, Program, Residency, TensorFunction, TensorSpec } from '../engine/engine.js';
import { activeEngine } from '../engine/select.js';
import * as tf from '../engine/tfjs.js';
import type { StoredParameter } from './layout.js';
import { MOMENTUM, muonUpdate } from './muon.js';
import type { StepOptions, Steps } from './steps.js';

type State = Float32Array<ArrayBuffer>;

/** A learned parameter: its gradient and momentum are there. */
type Learned = StoredParameter & { readonly gradient: State; readonly firstMoment: State };

/** The scalars of a step in the order in which they are sent; each average's decay and 1 - decay follow. */
const SCALARS = [
  ...['clip', 'beta1', 'rest1', 'beta2', 'rest2', 'shrink', 'rate', 'stepSize', 'rootCorrection', 'epsilon'],
] as const;
type Scalars = Readonly<Record<string, tf.Tensor>>;

/** Larger numbers count as not finite: shaders need not represent infinity. */
const LARGEST = 3.4e38;

function scalarsOf({ clip, emaDecays, lr, beta1, beta2, epsilon, weightDecay, step }: StepOptions): Float32Array {
  const values: Record<string, number> = {
    ...{ clip: clip ?? LARGEST, beta1, rest1: 1 - beta1, beta2, rest2: 1 - beta2, epsilon },
    ...{ shrink: 1 - lr * weightDecay, rate: lr },
    ...{ stepSize: lr / (1 - beta1 ** step), rootCorrection: Math.sqrt(1 - beta2 ** step) },
  };
  return Float32Array.from([
    ...SCALARS.map((name) => values[name]),
    ...emaDecays.flatMap((decay) => [decay, 1 - decay]),
  ]);
}

/** Every device computes the same, in float32: precision that an update loses is lost for good. */
const EVERYWHERE: CompileOptions = { devices: 'all', precision: 'f32' };

export class DeviceSteps implements Steps {
  readonly #parameters: readonly StoredParameter[];
  readonly #learned: readonly Learned[];
  readonly #device: Residency;
  readonly #arrays: readonly State[];
  #update: { program: Program; averages: number; into: State[] } | null = null;
  #accumulation: Program | null = null;
  #mean: Program | null = null;

  constructor(parameters: readonly StoredParameter[], device: Residency) {
    this.#parameters = parameters;
    this.#learned = parameters.filter((parameter): parameter is Learned => parameter.gradient !== null);
    this.#device = device;
    this.#arrays = parameters.flatMap((parameter) => arraysOf(parameter));
    for (const array of this.#arrays) device.retain(array);
  }

  /** To be called after the host's arrays were written: all of them, or the gradients alone. */
  written(which: 'all' | 'gradients' = 'all'): void {
    const arrays = which === 'all' ? this.#arrays : this.#learned.map(({ gradient }) => gradient);
    for (const array of arrays) this.#device.written(array);
  }

  /** Brings the host's arrays up to date. */
  fetch(): void {
    for (const array of this.#arrays) this.#device.fetch(array);
  }

  accumulate(): void {
    this.#accumulation ??= this.#program(
      ({ gradient, accumulated }) => [tf.add(accumulated!, gradient)],
      ['gradient', 'accumulated'],
    );
    this.#accumulation.run([], this.#places('accumulated'));
  }

  average(batches: number): void {
    this.#mean ??= this.#program(
      ({ gradient, accumulated }, share) => [tf.mul(tf.add(gradient, accumulated!), share), tf.zerosLike(gradient)],
      ['gradient', 'accumulated'],
      [{ shape: [], dtype: 'float32' }],
    );
    this.#mean.run([Float32Array.of(1 / batches)], this.#places('gradient', 'accumulated'));
  }

  /** The places of these quantities of all learned parameters, parameter by parameter. */
  #places(...quantities: ('gradient' | 'accumulated')[]): State[] {
    return this.#learned.flatMap((parameter) => quantities.map((quantity) => parameter[quantity]!));
  }

  /** Compiles a program that computes the same for each learned parameter. */
  #program(
    compute: (own: Record<string, tf.Tensor>, ...scalars: tf.Tensor[]) => tf.Tensor[],
    quantities: readonly ('gradient' | 'accumulated')[],
    specs: readonly TensorSpec[] = [],
  ): Program {
    const tensors = this.#learned.map((parameter) =>
      Object.fromEntries(quantities.map((quantity) => [quantity, tensorOf(parameter, parameter[quantity]!)])),
    );
    const program = activeEngine().compile(
      (...scalars) => tensors.flatMap((own) => compute(own, ...scalars)),
      specs,
      'feed',
      EVERYWHERE,
    );
    tf.dispose(tensors);
    return program;
  }

  step(options: StepOptions): number {
    const averages = options.emaDecays.length;
    if (this.#update?.averages !== averages) {
      this.#update?.program.dispose();
      this.#update = this.#compileUpdate(averages);
    }
    const { program, into } = this.#update;
    const results = program.run([scalarsOf(options)], into);
    const [norm] = results[into.length] as Float32Array;
    return norm < LARGEST ? norm : Number.NaN;
  }

  #compileUpdate(averages: number) {
    const own = this.#parameters.map((parameter) => quantitiesOf(parameter, averages));
    const into: State[] = [];
    const update: TensorFunction = (packed) => {
      const scalars = unpack(packed, averages);
      const gradients = own.flatMap(({ gradient }) => gradient ?? []);
      const norm = tf.sqrt(tf.addN(gradients.map((gradient) => tf.sum(tf.square(gradient)))));
      const scale = tf.minimum(1, tf.div(scalars.clip, tf.add(norm, 1e-6)));
      const fits = tf.lessEqual(norm, LARGEST);
      /** A new value of an old one, which stays where the gradients are not finite. */
      const kept = (next: tf.Tensor, old: tf.Tensor): tf.Tensor =>
        tf.engine().runKernel('Select', { condition: fits, t: next, e: old }) as tf.Tensor;
      const written: tf.Tensor[] = [];
      this.#parameters.forEach((parameter, i) => {
        for (const [array, next, old] of updates(parameter, own[i], scalars, scale)) {
          into.push(array);
          written.push(kept(next, old));
        }
      });
      return [...written, norm];
    };
    const spec: TensorSpec = { shape: [SCALARS.length + 2 * averages], dtype: 'float32' };
    const program = activeEngine().compile(update, [spec], 'feed', EVERYWHERE);
    tf.dispose(own as unknown as tf.Tensor[]);
    return { program, averages, into };
  }

  dispose(): void {
    for (const program of [this.#update?.program, this.#accumulation, this.#mean]) program?.dispose();
    for (const array of this.#arrays) this.#device.release(array);
  }
}

function arraysOf({ value, averages, gradient, accumulated, firstMoment, secondMoment }: StoredParameter): State[] {
  return [value, ...averages, ...[gradient, accumulated, firstMoment, secondMoment].flatMap((array) => array ?? [])];
}

/** To be made outside of a trace, so that programs read the array and hold no copy of it. */
const tensorOf = ({ shape }: StoredParameter, array: State): tf.Tensor => tf.tensor(array, [...shape], 'float32');

interface Quantities {
  value: tf.Tensor;
  averages: tf.Tensor[];
  gradient?: tf.Tensor;
  first?: tf.Tensor;
  second?: tf.Tensor;
}

function quantitiesOf(parameter: StoredParameter, averages: number): Quantities {
  const { value, gradient, firstMoment, secondMoment } = parameter;
  const optional = (array: State | null) => (array ? tensorOf(parameter, array) : undefined);
  return {
    value: tensorOf(parameter, value),
    averages: parameter.averages.slice(0, averages).map((array) => tensorOf(parameter, array)),
    gradient: optional(gradient),
    first: optional(firstMoment),
    second: optional(secondMoment),
  };
}

function unpack(packed: tf.Tensor, averages: number): Scalars {
  const names = [
    ...SCALARS,
    ...Array.from({ length: averages }, (_, i) => [`averageDecay${i}`, `averageRest${i}`]).flat(),
  ];
  return Object.fromEntries(tf.unstack(packed).map((scalar, i) => [names[i], scalar]));
}

type Update = readonly [array: State, next: tf.Tensor, old: tf.Tensor];

/** The updates of a parameter, its moments and its averages. */
function updates(parameter: StoredParameter, own: Quantities, scalars: Scalars, scale: tf.Tensor): Update[] {
  const learned: Update[] = [];
  let { value } = own;
  if (own.gradient) {
    const gradient = tf.mul(own.gradient, scale);
    const step = parameter.learning === 'muon' ? muonStep : adamwStep;
    const { moved, moments } = step(own, gradient, scalars);
    value = moved;
    learned.push([parameter.value, moved, own.value], [parameter.firstMoment!, moments[0], own.first!]);
    if (moments[1]) learned.push([parameter.secondMoment!, moments[1], own.second!]);
  }
  const averages = own.averages.map((old, i): Update => {
    const next = tf.add(tf.mul(old, scalars[`averageDecay${i}`]), tf.mul(value, scalars[`averageRest${i}`]));
    return [parameter.averages[i], next, old];
  });
  return [...learned, ...averages];
}

/** As `adamw` of the host's memory (arXiv 1711.05101). */
function adamwStep({ value, first, second }: Quantities, gradient: tf.Tensor, s: Scalars) {
  const m = tf.add(tf.mul(first!, s.beta1), tf.mul(gradient, s.rest1));
  const v = tf.add(tf.mul(second!, s.beta2), tf.mul(tf.square(gradient), s.rest2));
  const denominator = tf.add(tf.div(tf.sqrt(v), s.rootCorrection), s.epsilon);
  return { moved: tf.sub(tf.mul(value, s.shrink), tf.div(tf.mul(m, s.stepSize), denominator)), moments: [m, v] };
}

/** As `Muon` in the host's memory. */
function muonStep({ value, first }: Quantities, gradient: tf.Tensor, s: Scalars) {
  const momentum = tf.add(tf.mul(first!, MOMENTUM), gradient);
  const update = muonUpdate(tf.add(gradient, tf.mul(momentum, MOMENTUM)) as tf.Tensor2D);
  return { moved: tf.sub(tf.mul(value, s.shrink), tf.mul(update, s.rate)), moments: [momentum] };
}
