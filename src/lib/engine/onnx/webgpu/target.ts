/** Recorded graphs computed by a GPU: programs are bound once to tensors that stay in its memory. */
import type { TypedArray } from '../../../numbers/typed-array.js';
import type { CompileOptions, Constants, Program } from '../../engine.js';
import { sortOperations } from '../../graph/order.js';
import type { Target } from '../../graph/target.js';
import type { Value } from '../../graph/value.js';
import { constantOperands } from '../baking.js';
import { lower } from '../lower/index.js';
import { type Lowering, WEBGPU_LOWERING } from '../lower/lowering.js';
import { type ExternalData, encodeModel, type TensorType } from '../model.js';
import { type Binding, OrtSession } from '../runtime/session.js';
import { newArray } from '../runtime/tensor.js';
import { type DeviceTensor, explain, type WebgpuDevice } from './device.js';
import type { DeviceCopies } from './residency.js';

const LOWERINGS: Readonly<Record<'f32' | 'f16', Lowering>> = {
  f32: WEBGPU_LOWERING,
  f16: { ...WEBGPU_LOWERING, products: 'float16' },
};

export class WebgpuTarget implements Target {
  readonly #device: WebgpuDevice;
  readonly #copies: DeviceCopies;
  readonly #precision: 'f32' | 'f16';
  /** What is computed once is computed by the processor: shaders take longer to compile than to run. */
  readonly #processor: Target;

  constructor(device: WebgpuDevice, copies: DeviceCopies, precision: 'f32' | 'f16', processor: Target) {
    this.#device = device;
    this.#copies = copies;
    this.#precision = precision;
    this.#processor = processor;
  }

  evaluate(wanted: readonly Value[]): TypedArray[] {
    for (const { data } of sortOperations(wanted).leaves) if (data) this.fetch(data);
    return this.#processor.evaluate(wanted);
  }

  load(outputs: readonly Value[], inputs: readonly Value[], constants: Constants, options: CompileOptions): Program {
    const lowering = LOWERINGS[options.precision ?? this.#precision];
    const baked = constantOperands(outputs, constants, lowering);
    for (const { data } of baked) this.fetch(data!);
    const { graph, feeds } = lower(outputs, lowering, (leaf) => baked.has(leaf));
    const externalData: ExternalData[] = [];
    const model = encodeModel(graph, externalData);
    const session = explain(
      () => new OrtSession(model, { threads: 1, reused: true, externalData, provider: 'WebGPU' }),
    );
    const sources = feeds.map((feed): Source => feed.data ?? inputs.indexOf(feed));
    return new WebgpuProgram(session, this.#device, this.#copies, graph.inputs, sources, graph.outputs);
  }

  fetch(data: TypedArray): void {
    this.#copies.fetch(data);
  }

  clear(): void {
    this.#processor.clear();
  }
}

/** Where an input comes from: an array with a copy on the device, or the argument of a run at that position. */
type Source = TypedArray | number;

class WebgpuProgram implements Program {
  readonly #session: OrtSession;
  readonly #binding: Binding;
  readonly #device: WebgpuDevice;
  readonly #copies: DeviceCopies;
  readonly #outputs: readonly TensorType[];
  /** The arrays that are read where they have copies. */
  readonly #closedOver: TypedArray[] = [];
  /** The places of arguments. */
  readonly #arguments: { position: number; tensor: DeviceTensor }[] = [];
  /** The places of outputs that are copied to new arrays. */
  readonly #results: (DeviceTensor | null)[];
  #into: readonly (TypedArray | null)[] = [];

  constructor(
    session: OrtSession,
    device: WebgpuDevice,
    copies: DeviceCopies,
    inputs: readonly TensorType[],
    sources: readonly Source[],
    outputs: readonly TensorType[],
  ) {
    this.#session = session;
    this.#binding = session.bind();
    this.#device = device;
    this.#copies = copies;
    this.#outputs = outputs;
    this.#results = outputs.map(() => null);
    inputs.forEach((input, index) => {
      this.#bindInput(input, sources[index]);
    });
  }

  #bindInput(input: TensorType, source: Source): void {
    if (typeof source === 'number') {
      const tensor = this.#device.tensor(input);
      this.#arguments.push({ position: source, tensor });
      this.#binding.input(input.name, tensor.handle(input.shape));
      return;
    }
    this.#copies.retain(source);
    this.#closedOver.push(source);
    this.#binding.input(input.name, this.#copies.forReading(source).handle(input.shape));
  }

  run(data: readonly TypedArray[], into: readonly (TypedArray | null)[] = []): TypedArray[] {
    for (const array of this.#closedOver) this.#copies.forReading(array);
    for (const { position, tensor } of this.#arguments) tensor.upload(data[position]);
    this.#bindOutputs(into);
    explain(() => this.#binding.run());
    return this.#outputs.map((output, index) => {
      const array = into[index];
      if (array) {
        this.#copies.overwritten(array);
        return array;
      }
      const result = newArray(output);
      this.#results[index]!.download(result);
      return result;
    });
  }

  /** Outputs go where they went at the run before, unless `into` is another. */
  #bindOutputs(into: readonly (TypedArray | null)[]): void {
    this.#outputs.forEach((output, index) => {
      const [before, array] = [this.#into[index] ?? null, into[index] ?? null];
      if (before === array && (array || this.#results[index])) return;
      if (array) this.#copies.retain(array);
      else this.#results[index] ??= this.#device.tensor(output);
      const tensor = array ? this.#copies.place(array) : this.#results[index]!;
      this.#binding.output(output.name, tensor.handle(output.shape));
      if (before) this.#copies.release(before);
    });
    this.#into = [...into];
  }

  dispose(): void {
    this.#binding.release();
    for (const { tensor } of this.#arguments) tensor.release();
    for (const tensor of this.#results) tensor?.release();
    for (const array of [...this.#closedOver, ...this.#into]) if (array) this.#copies.release(array);
    this.#session.release();
  }
}
