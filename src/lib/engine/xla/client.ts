/** A plugin's devices: memory on them, programs for them. */
import type { TypedArray } from '../../numbers/typed-array.js';
import { addressOf, bytes, PjrtApi, PjrtError, STATUS, text, words } from './c-api.js';
import { CPU_FLAGS, compileOptions, type Flags, NO_FLAGS } from './compile-options.js';
import { asRepaError } from './errors.js';

/** The element types of device memory (PJRT_Buffer_Type). */
export const BUFFER_TYPE = { bool: 1, int32: 4, float32: 11, float64: 12, bfloat16: 13 } as const;
export type BufferType = keyof typeof BUFFER_TYPE;

/** PJRT_HostBufferSemantics: when the host's array is free again. */
const UNTIL_CALL_ENDS = 0;
const UNTIL_COPIED = 1;

export interface Device {
  readonly handle: bigint;
  /** As its maker calls it, such as `NVIDIA H100 80GB HBM3`. */
  readonly kind: string;
}

export interface MemoryStatistics {
  readonly inUse: number;
  readonly peak: number | undefined;
  /** Most that can be in use. */
  readonly limit: number | undefined;
}

/** Bytes that a program takes: what it reads, what it writes anew, and what it needs on the way. */
export interface ProgramMemory {
  readonly arguments: number;
  readonly outputs: number;
  readonly temporary: number;
}

/** A tensor in a device's memory. */
export class DeviceBuffer {
  #handle: bigint;

  constructor(
    readonly client: Client,
    handle: bigint,
  ) {
    this.#handle = handle;
  }

  get handle(): bigint {
    if (!this.#handle) throw new Error('a device buffer was used after its end');
    return this.#handle;
  }

  /** Waits for what computes it. */
  read(into: TypedArray): void {
    if (into.length === 0) return; // an address of nothing would ask for the size
    const { api } = this.client;
    this.client.guard(() => api.await(this.#copyTo(into), into));
  }

  async readAsync(into: TypedArray): Promise<void> {
    if (into.length === 0) return;
    const { api } = this.client;
    await this.client.guardAsync(() => api.awaitAsync(this.#copyTo(into), into));
  }

  dispose(): void {
    if (this.#handle) this.client.api.call('Buffer_Destroy', [this.#handle]);
    this.#handle = 0n;
  }

  #copyTo(into: TypedArray): bigint {
    const { api } = this.client;
    return api.call('Buffer_ToHostBuffer', [this.handle, 0, addressOf(into), into.byteLength, 0], into)[4];
  }
}

/** A compiled program, on one device or as a replica on each of several. */
export class Executable {
  readonly outputs: number;
  readonly memory: ProgramMemory | undefined;

  constructor(
    readonly client: Client,
    readonly handle: bigint,
    readonly replicas: number,
  ) {
    const { api } = client;
    const [, executable] = api.call('LoadedExecutable_GetExecutable', [handle]);
    this.outputs = Number(api.call('Executable_NumOutputs', [executable])[1]);
    this.memory = client.programMemory(executable);
    api.call('Executable_Destroy', [executable]);
  }

  /**
   * Starts a run; what comes out can be used at once, for reading waits. Donated arguments are used up, and have to be
   * disposed of all the same.
   * @param inputs of each replica
   */
  run(inputs: readonly (readonly DeviceBuffer[])[]): DeviceBuffer[][] {
    const { api } = this.client;
    const lists = inputs.map((buffers) => BigInt64Array.from(buffers, ({ handle }) => handle));
    const results = inputs.map(() => new BigInt64Array(this.outputs));
    const listOfLists = BigInt64Array.from(lists, addressOf);
    const listOfResults = BigInt64Array.from(results, addressOf);
    const options = new BigInt64Array(24); // PJRT_ExecuteOptions: no callbacks, nothing kept from donation
    options[0] = BigInt(options.byteLength);
    const held = [lists, results, listOfLists, listOfResults, options];
    this.client.guard(() =>
      api.call(
        'LoadedExecutable_Execute',
        [
          this.handle,
          addressOf(options),
          addressOf(listOfLists),
          inputs.length,
          inputs[0].length,
          addressOf(listOfResults),
        ],
        held,
      ),
    );
    return results.map((handles) => Array.from(handles, (handle) => new DeviceBuffer(this.client, handle)));
  }

  /** What `Client.load` takes; null where the plugin cannot tell. */
  serialise(): Uint8Array<ArrayBuffer> | null {
    const { api } = this.client;
    const [, executable] = api.call('LoadedExecutable_GetExecutable', [this.handle]);
    try {
      const [, start, length, owner, free] = api.call('Executable_Serialize', [executable]);
      const serialised = bytes(start, Number(length));
      api.release(free, owner);
      return serialised;
    } catch (error) {
      if (error instanceof PjrtError) return null;
      throw error;
    } finally {
      api.call('Executable_Destroy', [executable]);
    }
  }

  dispose(): void {
    this.client.api.call('LoadedExecutable_Destroy', [this.handle]);
  }
}

export class Client {
  readonly api: PjrtApi;
  readonly platform: string;
  readonly platformVersion: string;
  /** Those that programs run on. */
  devices: readonly Device[];
  /** Of XLA, for all programs. */
  flags: Flags;
  readonly #handle: bigint;

  /** @throws UnavailableError when the plugin does not load or finds no device */
  constructor(readonly plugin: string) {
    this.api = PjrtApi.open(plugin);
    this.#handle = this.guard(() => this.api.call('Client_Create', [])[6]);
    const named = (fn: 'Client_PlatformName' | 'Client_PlatformVersion') => {
      const [, start, length] = this.api.call(fn, [this.#handle]);
      return text(start, length);
    };
    this.platform = named('Client_PlatformName');
    this.platformVersion = named('Client_PlatformVersion');
    this.flags = this.isCpu ? CPU_FLAGS : NO_FLAGS;
    const [, list, count] = this.api.call('Client_AddressableDevices', [this.#handle]);
    this.devices = Array.from(words(list, Number(count)), (handle) => ({ handle, kind: this.#kindOf(handle) }));
  }

  /** Whether the devices are the processor's. */
  get isCpu(): boolean {
    return this.platform === 'cpu' || this.platform === 'Host';
  }

  /** Of one device; undefined where the plugin does not count. */
  memory({ handle }: Device): MemoryStatistics | undefined {
    const found = this.#asked('Device_MemoryStats', handle);
    if (!found) return undefined;
    const optional = (at: number) => (found[at + 1] & 0xffn ? Number(found[at]) : undefined);
    return { inUse: Number(found[1]), peak: optional(2), limit: optional(8) };
  }

  /** @param executable a PJRT_Executable */
  programMemory(executable: bigint): ProgramMemory | undefined {
    const found = this.#asked('Executable_GetCompiledMemoryStats', executable);
    if (!found) return undefined;
    const [, , inputs, outputs, shared, temporary] = Array.from(found, Number);
    return { arguments: inputs, outputs: outputs - shared, temporary };
  }

  #asked(name: 'Device_MemoryStats' | 'Executable_GetCompiledMemoryStats', handle: bigint): BigInt64Array | undefined {
    if (!this.api.has(name)) return undefined;
    try {
      return this.api.call(name, [handle]);
    } catch (error) {
      if (error instanceof PjrtError && error.status === STATUS.unimplemented) return undefined;
      throw error;
    }
  }

  /** Copies an array, which can be changed as soon as this returns. */
  upload(data: TypedArray, shape: readonly number[], type: BufferType, device = this.devices[0]): DeviceBuffer {
    const { buffer, done } = this.guard(() => this.#send(data, shape, type, device, UNTIL_CALL_ENDS));
    this.api.await(done);
    return buffer;
  }

  /**
   * Begins to copy an array. The buffer can be used at once; the array must be kept, and stay as it is, until something
   * that was computed of it has been read.
   */
  beginUpload(data: TypedArray, shape: readonly number[], type: BufferType, device = this.devices[0]): DeviceBuffer {
    const { buffer, done } = this.guard(() => this.#send(data, shape, type, device, UNTIL_COPIED));
    this.api.call('Event_Destroy', [done]);
    return buffer;
  }

  /**
   * @param program StableHLO as text
   * @throws PjrtError when it does not compile
   */
  compile(program: string, replicas = 1): Executable {
    try {
      return new Executable(this, this.#compile(program, replicas), replicas);
    } catch (error) {
      if (!isUnknownFlag(error) || this.flags === NO_FLAGS) throw error;
      this.flags = NO_FLAGS; // another version's XLA
      return this.compile(program, replicas);
    }
  }

  /**
   * A program as `Executable.serialise` gave it on a plugin of the same version and devices of the same kind.
   * @throws PjrtError when it does not fit
   */
  load(serialised: Uint8Array, replicas = 1): Executable {
    const given = [this.#handle, addressOf(serialised), serialised.length];
    return new Executable(this, this.api.call('Executable_DeserializeAndLoad', given, serialised)[3], replicas);
  }

  /** @throws what the user can act on, instead of what a plugin says */
  guard<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      throw asRepaError(error, this.platform);
    }
  }

  async guardAsync<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw asRepaError(error, this.platform);
    }
  }

  #kindOf(device: bigint): string {
    const [, description] = this.api.call('Device_GetDescription', [device]);
    const [, start, length] = this.api.call('DeviceDescription_Kind', [description]);
    return text(start, length);
  }

  #send(data: TypedArray, shape: readonly number[], type: BufferType, device: Device, semantics: number) {
    const dims = BigInt64Array.from(shape, BigInt);
    const strides = [0, 0]; // dense
    const given = [
      addressOf(data),
      BUFFER_TYPE[type],
      addressOf(dims),
      dims.length,
      ...strides,
      semantics,
      device.handle,
    ];
    const result = this.api.call('Client_BufferFromHostBuffer', [this.#handle, ...given], [data, dims]);
    return { buffer: new DeviceBuffer(this, result[12]), done: result[11] };
  }

  #compile(program: string, replicas: number): bigint {
    const code = Buffer.from(program);
    const format = Buffer.from('mlir');
    const options = compileOptions(replicas, this.flags);
    const structure = BigInt64Array.of(48n, 0n, addressOf(code), BigInt(code.length), addressOf(format), 4n); // PJRT_Program
    const given = [this.#handle, addressOf(structure), addressOf(options), options.length];
    const held = [code, format, options, structure];
    return this.guard(() => this.api.call('Client_Compile', given, held)[4]);
  }
}

const isUnknownFlag = (error: unknown): boolean =>
  error instanceof PjrtError && /no such compile option/i.test(error.message);
