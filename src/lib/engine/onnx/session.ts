/** Graphs loaded to run on host memory, read and written without copies. */
import { UnavailableError } from '../../errors.js';
import type { TypedArray } from '../../numbers/typed-array.js';
import { hasOwnOperations, type OnnxGraph, type TensorType } from './model.js';
import { productLibrary } from './native.js';
import { OrtSession, type RunPlan, type SessionOptions } from './runtime/session.js';
import { HostTensor, newArray } from './runtime/tensor.js';

/** Where each output goes; null for a new array. */
type Places = readonly (TypedArray | null)[];

export class Session {
  readonly #session: OrtSession;
  readonly #plan: RunPlan;
  readonly #inputs: readonly Slot[];
  readonly #outputs: readonly Slot[];

  /**
   * @param model what `encodeModel` makes of the graph
   * @throws UnavailableError when memory runs out
   */
  constructor(graph: OnnxGraph, model: Uint8Array<ArrayBuffer>, options: SessionOptions) {
    const { inputs, outputs } = graph;
    const customOperations = hasOwnOperations(graph) ? [productLibrary()] : [];
    this.#session = guard(() => new OrtSession(model, { ...options, customOperations }));
    this.#plan = this.#session.plan(
      inputs.map(({ name }) => name),
      outputs.map(({ name }) => name),
    );
    this.#inputs = inputs.map((input) => new Slot(input));
    this.#outputs = outputs.map((output) => new Slot(output));
  }

  /**
   * One array per output, in the order of the graph. Where `into` has an array, the output is written there.
   *
   * Arrays of `kept` inputs, and of `into`, are expected to be the same at the next run, and stay referred to.
   * @throws UnavailableError when memory runs out
   */
  run(feeds: readonly TypedArray[], into: Places = [], kept: readonly boolean[] = []): TypedArray[] {
    return guard(() => {
      const { written, release } = this.#place(feeds, into, kept);
      try {
        this.#plan.run();
      } finally {
        release();
      }
      return written;
    });
  }

  /**
   * The same on another thread, while JavaScript goes on; one run at a time, and the arrays are left alone meanwhile.
   */
  async runAsync(
    feeds: readonly TypedArray[],
    into: Places = [],
    kept: readonly boolean[] = [],
  ): Promise<TypedArray[]> {
    const { written, release } = guard(() => this.#place(feeds, into, kept));
    try {
      await this.#plan.runAsync();
    } catch (error) {
      throw explained(error as Error);
    } finally {
      release();
    }
    return written;
  }

  /** Makes tensors of all arrays; `release` ends those that are of this run alone. */
  #place(feeds: readonly TypedArray[], into: Places, kept: readonly boolean[]) {
    const passing: HostTensor[] = [];
    const place = (handles: BigUint64Array, slots: readonly Slot[], arrays: readonly TypedArray[], stays: boolean[]) =>
      slots.forEach((slot, index) => {
        const tensor = slot.tensor(arrays[index], stays[index]);
        if (!stays[index]) passing.push(tensor);
        handles[index] = tensor.handle;
      });
    const written = this.#outputs.map(({ type }, index) => into[index] ?? newArray(type));
    place(this.#plan.inputs, this.#inputs, feeds, [...kept]);
    place(
      this.#plan.outputs,
      this.#outputs,
      written,
      written.map((_, index) => Boolean(into[index])),
    );
    return {
      written,
      release() {
        for (const tensor of passing) tensor.release();
      },
    };
  }

  dispose(): void {
    for (const slot of [...this.#inputs, ...this.#outputs]) slot.release();
    this.#session.release();
  }
}

/** An input or an output, with the tensor of its last array. */
class Slot {
  #last: HostTensor | null = null;

  constructor(readonly type: TensorType) {}

  /** A tensor of this array; one that `stays` is made anew only when the array is another. */
  tensor(data: TypedArray, stays: boolean): HostTensor {
    if (!stays) return new HostTensor(this.type, data);
    if (this.#last?.data !== data) {
      this.release();
      this.#last = new HostTensor(this.type, data);
    }
    return this.#last;
  }

  release(): void {
    this.#last?.release();
    this.#last = null;
  }
}

/** As ONNX Runtime, C++ and JavaScript say it. */
const OUT_OF_MEMORY = /allocate memory|bad_alloc|out of memory|buffer allocation failed|invalid typed array length/i;

/** @throws UnavailableError when memory runs out in `call` */
export function guard<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw explained(error as Error);
  }
}

function explained(error: Error): Error {
  if (!OUT_OF_MEMORY.test(error.message)) return error;
  const [, node] = /while running (\w+) node/.exec(error.message) ?? [];
  return new UnavailableError(
    `out of memory${node ? ` in the operation ${node}` : ''}`,
    'lower --batch-size, or choose a smaller model',
  );
}
