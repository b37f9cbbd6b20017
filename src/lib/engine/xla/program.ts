/** A recorded graph as a program of the devices, compiled when it first runs. */
import { sizeOf, type TypedArray } from '../../numbers/typed-array.js';
import type { CompileOptions, Program } from '../engine.js';
import { ARRAYS, type Value } from '../graph/value.js';
import type { Client, DeviceBuffer, Executable } from './client.js';
import { DeviceMemoryError } from './errors.js';
import { type LoweredProgram, lower } from './lower/index.js';
import type { Products } from './lower/writer.js';
import type { ProgramCache } from './program-cache.js';
import type { DeviceCopies } from './residency.js';

export interface ProgramPlan extends CompileOptions {
  readonly outputs: readonly Value[];
  readonly inputs: readonly Value[];
  /** Whether data that has no copy of its own is copied once. */
  readonly bake: boolean;
  readonly products: Products;
}

type Into = readonly (TypedArray | null)[];

interface Compiled extends LoweredProgram {
  readonly executable: Executable;
}

export class XlaProgram implements Program {
  readonly #plan: ProgramPlan;
  readonly #client: Client;
  readonly #copies: DeviceCopies;
  readonly #programs: ProgramCache;
  readonly #replicas: number;
  /** Where outputs go decides which memory is handed on, and so what is compiled. */
  #compiled: { into: Into; program: Compiled } | null = null;
  /** What was sent ahead of a run: of which arrays, and where it is. */
  #staged: { data: readonly TypedArray[]; buffers: DeviceBuffer[][] } | null = null;
  /** What a run reads is kept until it is over: its copies may still be under way. */
  readonly #reading = new Set<unknown>();
  /** Data without copies of its own, by device. */
  #baked = new Map<Value, DeviceBuffer[]>();

  constructor(plan: ProgramPlan, copies: DeviceCopies, programs: ProgramCache) {
    this.#plan = plan;
    this.#client = copies.client;
    this.#copies = copies;
    this.#programs = programs;
    this.#replicas = plan.devices === 'one' ? 1 : copies.client.devices.length;
    // Weights go up now: whoever made them may let go of them.
    if (plan.bake) this.#bake(lower(plan.outputs, plan.inputs, this.#lowering(new Map())).feeds);
  }

  run(data: readonly TypedArray[], into: Into = []): TypedArray[] {
    const results = this.#start(data, into);
    return this.#finish(results, into, (buffer, array) => {
      buffer.read(array);
      buffer.dispose();
    });
  }

  async runAsync(data: readonly TypedArray[], into: Into = []): Promise<TypedArray[]> {
    const reading = [data];
    this.#reading.add(reading);
    try {
      const results = this.#start(data, into);
      const reads: [DeviceBuffer, TypedArray][] = [];
      const arrays = this.#finish(results, into, (buffer, array) => reads.push([buffer, array]));
      // One after the other: each occupies a thread, and when the first is there, so are all.
      for (const [buffer, array] of reads) await buffer.readAsync(array);
      for (const [buffer] of reads) buffer.dispose();
      return arrays;
    } finally {
      this.#reading.delete(reading);
    }
  }

  stage(data: readonly TypedArray[]): void {
    this.#unstage();
    this.#staged = {
      data,
      buffers: this.#plan.inputs.map((input, i) => this.#send(input, data[i], this.#divides, true)),
    };
  }

  #unstage(): void {
    for (const buffer of this.#staged?.buffers.flat() ?? []) buffer.dispose();
    this.#staged = null;
  }

  /** The buffers of what was staged, if it is this. */
  #takeStaged(data: readonly TypedArray[]): DeviceBuffer[][] | null {
    const staged = this.#staged;
    if (!staged?.data.every((array, i) => array === data[i])) return null;
    this.#staged = null;
    return staged.buffers;
  }

  /** Whether each device has its share of the inputs' rows. */
  get #divides(): boolean {
    return this.#plan.devices === 'divided' || this.#plan.devices === 'rows';
  }

  dispose(): void {
    this.#unstage();
    for (const buffers of this.#baked.values()) for (const buffer of buffers) buffer.dispose();
    this.#baked.clear();
    if (this.#compiled) this.#programs.release(this.#compiled.program.executable);
    this.#compiled = null;
  }

  /**
   * A run whose inputs are on the devices already, and whose outputs stay there: nothing is waited for.
   * @param inputs of each, its buffers by device
   * @returns of each output, its buffers by device
   */
  keep(inputs: readonly (readonly DeviceBuffer[])[]): DeviceBuffer[][] {
    const results = this.#execute(inputs, []);
    return this.#plan.outputs.map((_, i) => results.map((outputs) => outputs[i]));
  }

  /** @returns the outputs of each replica */
  #start(data: readonly TypedArray[], into: Into): DeviceBuffer[][] {
    const inputs =
      this.#takeStaged(data) ?? this.#plan.inputs.map((input, i) => this.#send(input, data[i], this.#divides));
    try {
      return this.#execute(inputs, into);
    } finally {
      for (const buffer of inputs.flat()) buffer.dispose();
    }
  }

  /** @returns the outputs of each replica */
  #execute(inputs: readonly (readonly DeviceBuffer[])[], into: Into): DeviceBuffer[][] {
    const { executable, feeds } = this.#program(into);
    const sent: DeviceBuffer[] = [];
    const perFeed = feeds.map((feed, i) => {
      if (i < inputs.length) return inputs[i];
      if (this.#copies.has(feed.data!)) return this.#copies.buffersOf(feed.data!, feed.dtype, this.#replicas);
      return this.#baked.get(feed) ?? keep(sent, this.#send(feed, feed.data!, false));
    });
    const read = new Set(feeds.map((feed) => feed.data));
    // What is overwritten and not read makes room first.
    for (const array of into) if (array && this.#copies.has(array) && !read.has(array)) this.#copies.discard(array);
    try {
      return executable.run(
        Array.from({ length: this.#replicas }, (_, replica) => perFeed.map((buffers) => buffers[replica])),
      );
    } catch (error) {
      throw error instanceof DeviceMemoryError ? this.#explain(error, executable) : error;
    } finally {
      for (const buffer of sent) buffer.dispose();
    }
  }

  /** @param read takes what has to be read, and disposes of the buffer then */
  #finish(
    results: readonly DeviceBuffer[][],
    into: Into,
    read: (buffer: DeviceBuffer, array: TypedArray) => void,
  ): TypedArray[] {
    return this.#plan.outputs.map(({ dtype, shape }, i) => {
      const buffers = results.map((outputs) => outputs[i]);
      const target = into[i];
      if (target && this.#copies.has(target)) {
        this.#copies.replace(target, buffers);
        return target;
      }
      const size = sizeOf(shape);
      if (this.#plan.devices === 'rows') {
        const whole = target ?? new ARRAYS[dtype](this.#replicas * size);
        buffers.forEach((buffer, k) => {
          read(buffer, whole.subarray(k * size, (k + 1) * size) as TypedArray);
        });
        return whole;
      }
      const [first, ...others] = buffers;
      const array = target ?? new ARRAYS[dtype](size);
      read(first, array);
      for (const buffer of others) buffer.dispose();
      return array;
    });
  }

  #program(into: Into): Compiled {
    const same = this.#compiled?.into.every((array, i) => array === (into[i] ?? null));
    if (this.#compiled && same) return this.#compiled.program;
    if (this.#compiled) this.#programs.release(this.#compiled.program.executable);
    const { outputs, inputs } = this.#plan;
    const targets = outputs.map((_, i) => into[i] ?? null);
    const takers = new Map(targets.flatMap((array, i) => (array && this.#copies.has(array) ? [[array, i]] : [])));
    const lowered = lower(outputs, inputs, this.#lowering(takers));
    const executable = this.#programs.acquire(lowered.text, this.#replicas);
    const program = { ...lowered, executable };
    this.#compiled = { into: targets, program };
    return program;
  }

  #lowering(takers: ReadonlyMap<TypedArray, number>) {
    return {
      products: this.#plan.precision ?? this.#plan.products,
      takers,
      isFlat: (array: TypedArray) => this.#copies.has(array),
      replicas: this.#replicas,
      sum: this.#plan.devices === 'divided',
    };
  }

  #bake(feeds: readonly Value[]): void {
    for (const feed of feeds.slice(this.#plan.inputs.length)) {
      if (!this.#copies.has(feed.data!)) this.#baked.set(feed, this.#send(feed, feed.data!, false));
    }
  }

  /** An array on each device: the whole of it, or the rows that are the device's. */
  #send({ dtype, shape }: Value, array: TypedArray, divide: boolean, ahead = false): DeviceBuffer[] {
    return Array.from({ length: this.#replicas }, (_, i) => {
      const length = sizeOf(shape);
      const part = divide ? (array.subarray(i * length, (i + 1) * length) as TypedArray) : array;
      const device = this.#client.devices[i];
      return ahead
        ? this.#client.beginUpload(part, shape, dtype, device)
        : this.#client.upload(part, shape, dtype, device);
    });
  }

  /** Says how many rows would fit, as far as a device tells what it has. */
  #explain(error: DeviceMemoryError, { memory }: Executable): DeviceMemoryError {
    const found = this.#client.memory(this.#client.devices[0]);
    const [input] = this.#plan.inputs;
    const rows = input?.shape[0];
    if (!memory?.temporary || !found?.limit || !rows || rows < 2) return error;
    const free = found.limit - found.inUse - memory.outputs;
    return new DeviceMemoryError(error.wantedBytes, { rows, fit: Math.floor((rows * free) / memory.temporary) });
  }
}

function keep<T>(list: T[], items: T[]): T[] {
  list.push(...items);
  return items;
}
