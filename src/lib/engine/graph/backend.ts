/** The lazy tfjs backend: tensors are handles on recorded values, computed when their data is asked for. */
import type { TypedArray } from '../../numbers/typed-array.js';
import * as tf from '../tfjs.js';
import type { ElementType } from './operations.js';
import { sortOperations } from './order.js';
import type { Target } from './target.js';
import { ARRAYS, fill, reshape, Value } from './value.js';

/** The name that tfjs knows it by, whatever computes the graphs. */
export const BACKEND_NAME = 'graph';

interface Entry {
  readonly value: Value;
  references: number;
}

export class GraphBackend extends tf.KernelBackend {
  readonly #entries: tf.DataStorage<Entry>;
  #target: Target;
  /** While a function is being captured, what it writes becomes part of the graph, and nothing can be read. */
  tracing = false;

  constructor(target: Target) {
    super();
    this.#target = target;
    this.#entries = new tf.DataStorage<Entry>(this, tf.engine());
  }

  /** What computes the graphs. */
  get target(): Target {
    return this.#target;
  }

  set target(target: Target) {
    if (target !== this.#target) this.#target.clear();
    this.#target = target;
  }

  /** The value behind a tensor, in the tensor's own shape: tfjs may give one piece of data to tensors of two shapes. */
  valueFor(tensor: tf.TensorInfo): Value {
    return reshape(this.#entries.get(tensor.dataId).value, tensor.shape);
  }

  /** A new tensor for a value. */
  tensorFor(value: Value): tf.TensorInfo {
    if (value.dtype === 'float64') throw new Error('tensors of float64 are not supported');
    const dataId = {};
    this.#store(dataId, value, 1);
    return { dataId, shape: [...value.shape], dtype: value.dtype };
  }

  /**
   * Computes these values in one graph, along with every other value on the way that a tensor still refers to,
   * so that nothing is computed twice.
   */
  flush(wanted: readonly Value[]): void {
    const pending = new Set(wanted.filter((value) => value.kind === 'computed'));
    if (pending.size === 0) return;
    for (const { outputs } of sortOperations([...pending]).operations) {
      for (const output of outputs) if (output.handles > 0) pending.add(output);
    }
    const values = [...pending];
    const results = this.#target.evaluate(values);
    values.forEach((value, index) => {
      value.materialise(results[index]);
    });
  }

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): tf.DataId {
    const dataId = {};
    this.move(dataId, values, shape, dtype, 1);
    return dataId;
  }

  override move(dataId: tf.DataId, values: tf.BackendValues, shape: number[], dtype: tf.DataType, references: number) {
    if (!(dtype in ARRAYS)) throw new Error(`tensors of ${dtype} are not supported`);
    const type = dtype as ElementType;
    const data = values instanceof ARRAYS[type] ? values : ARRAYS[type].from(values as ArrayLike<number>);
    if (!this.tracing) this.#store(dataId, new Value(type, [...shape], { kind: 'data', data }), references);
    // Gradients are seeded with ones of the full shape: as a broadcast scalar they cost nothing.
    else if (isUniform(data)) this.#store(dataId, fill(data[0], type, [...shape]), references);
    else this.#store(dataId, new Value(type, [...shape], { kind: 'constant', data }), references);
  }

  override async read(dataId: tf.DataId): Promise<tf.BackendValues> {
    return this.readSync(dataId);
  }

  override readSync(dataId: tf.DataId): tf.BackendValues {
    const { value } = this.#entries.get(dataId);
    if (!value.data) {
      if (this.tracing) throw new Error('a captured function cannot read the data of a tensor');
      this.flush([value]);
    }
    this.#target.fetch(value.data!);
    return value.data as tf.BackendValues;
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    if (!this.#entries.has(dataId)) return true;
    const entry = this.#entries.get(dataId);
    entry.references--;
    if (!force && entry.references > 0) return false;
    entry.value.handles--;
    this.#entries.delete(dataId);
    return true;
  }

  override refCount(dataId: tf.DataId): number {
    return this.#entries.has(dataId) ? this.#entries.get(dataId).references : 0;
  }

  override incRef(dataId: tf.DataId): void {
    this.#entries.get(dataId).references++;
  }

  override numDataIds(): number {
    return this.#entries.numDataIds();
  }

  override memory() {
    return { unreliable: true, reasons: ['pending operations keep what they read'] };
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override timerAvailable(): boolean {
    return false;
  }

  override dispose(): void {
    this.#target.clear();
  }

  #store(dataId: tf.DataId, value: Value, references: number): void {
    value.handles++;
    this.#entries.set(dataId, { value, references });
  }
}

const isUniform = (data: TypedArray): boolean =>
  data.length > 1 && (data as Float32Array).every((element) => element === data[0]);

/** The backend in use; kernels and captures call this. */
export const graphBackend = (): GraphBackend => tf.backend() as GraphBackend;

/** Makes recorded graphs, computed by this target, what tfjs runs on. */
export async function useTarget(target: Target): Promise<void> {
  if (!tf.findBackend(BACKEND_NAME)) tf.registerBackend(BACKEND_NAME, () => new GraphBackend(target));
  await tf.setBackend(BACKEND_NAME);
  graphBackend().target = target;
}
