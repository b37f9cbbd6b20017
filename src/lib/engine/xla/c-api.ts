/**
 * PJRT, the C interface of XLA's devices (openxla/xla, pjrt_c_api.h): a table of functions, each taking one struct. The
 * structs that we pass consist of words of 8 bytes; smaller fields fill theirs up.
 */

import { type RepaError, UnavailableError } from '../../errors.js';
import { koffi } from '../../foreign-functions.js';

/** Names of the table's functions in their order; within one major version, more only come behind. */
const FUNCTIONS = `Error_Destroy Error_Message Error_GetCode Plugin_Initialize Plugin_Attributes
Event_Destroy Event_IsReady Event_Error Event_Await Event_OnReady
Client_Create Client_Destroy Client_PlatformName Client_ProcessIndex Client_PlatformVersion Client_Devices
Client_AddressableDevices Client_LookupDevice Client_LookupAddressableDevice Client_AddressableMemories Client_Compile
Client_DefaultDeviceAssignment Client_BufferFromHostBuffer
DeviceDescription_Id DeviceDescription_ProcessIndex DeviceDescription_Attributes DeviceDescription_Kind
DeviceDescription_DebugString DeviceDescription_ToString
Device_GetDescription Device_IsAddressable Device_LocalHardwareId Device_AddressableMemories Device_DefaultMemory
Device_MemoryStats
Memory_Id Memory_Kind Memory_DebugString Memory_ToString Memory_AddressableByDevices
Executable_Destroy Executable_Name Executable_NumReplicas Executable_NumPartitions Executable_NumOutputs
Executable_SizeOfGeneratedCodeInBytes Executable_GetCostAnalysis Executable_OutputMemoryKinds
Executable_OptimizedProgram Executable_Serialize
LoadedExecutable_Destroy LoadedExecutable_GetExecutable LoadedExecutable_AddressableDevices LoadedExecutable_Delete
LoadedExecutable_IsDeleted LoadedExecutable_Execute Executable_DeserializeAndLoad LoadedExecutable_Fingerprint
Buffer_Destroy Buffer_ElementType Buffer_Dimensions Buffer_UnpaddedDimensions Buffer_DynamicDimensionIndices
Buffer_GetMemoryLayout Buffer_OnDeviceSizeInBytes Buffer_Device Buffer_Memory Buffer_Delete Buffer_IsDeleted
Buffer_CopyToDevice Buffer_ToHostBuffer Buffer_IsOnCpu Buffer_ReadyEvent Buffer_UnsafePointer
Buffer_IncreaseExternalReferenceCount Buffer_DecreaseExternalReferenceCount Buffer_OpaqueDeviceMemoryDataPointer
CopyToDeviceStream_Destroy CopyToDeviceStream_AddChunk CopyToDeviceStream_TotalBytes CopyToDeviceStream_GranuleSize
CopyToDeviceStream_CurrentBytes
TopologyDescription_Create TopologyDescription_Destroy TopologyDescription_PlatformName
TopologyDescription_PlatformVersion TopologyDescription_GetDeviceDescriptions TopologyDescription_Serialize
TopologyDescription_Attributes
Compile Executable_OutputElementTypes Executable_OutputDimensions Buffer_CopyToMemory
Client_CreateViewOfDeviceBuffer Executable_Fingerprint Client_TopologyDescription
Executable_GetCompiledMemoryStats`.split(/\s+/);

/**
 * Words behind the size and the extensions in the struct that each function takes, as many as we write or read. The
 * memory statistics' flags fill a word each.
 */
export const WORDS = {
  Error_Destroy: 1,
  Error_Message: 3,
  Error_GetCode: 2,
  Plugin_Initialize: 0,
  Event_Destroy: 1,
  Event_Await: 1,
  Client_Create: 9,
  Client_Destroy: 1,
  Client_PlatformName: 3,
  Client_PlatformVersion: 3,
  Client_AddressableDevices: 3,
  Client_Compile: 5,
  Client_BufferFromHostBuffer: 13,
  DeviceDescription_Kind: 3,
  Device_GetDescription: 2,
  Device_MemoryStats: 22,
  Executable_Destroy: 1,
  Executable_NumOutputs: 2,
  Executable_Serialize: 5,
  LoadedExecutable_Destroy: 1,
  LoadedExecutable_GetExecutable: 2,
  LoadedExecutable_Execute: 8,
  Executable_DeserializeAndLoad: 6,
  Buffer_Destroy: 1,
  Buffer_ToHostBuffer: 5,
  Buffer_ReadyEvent: 2,
  Executable_GetCompiledMemoryStats: 13,
} as const;

export type FunctionName = keyof typeof WORDS;

/** What a plugin may lack. */
const OPTIONAL: ReadonlySet<FunctionName> = new Set(['Device_MemoryStats', 'Executable_GetCompiledMemoryStats']);

/**
 * A struct's first word is its size. Plugins refuse structs that are shorter than what they know, and ignore what is
 * longer: so each is passed with as many words again as newer versions may have added.
 */
const SPARE_WORDS = 8;

/** Words of a struct in front of its fields. */
const HEAD = 2;
/** Words of the table in front of its functions: size, extensions, and the version's size, extensions and numbers. */
const TABLE_HEAD = 5;

/** The interface's major version, within which nothing moves. */
const MAJOR = 0;

export const STATUS = { unimplemented: 12, resourceExhausted: 8, internal: 13, unavailable: 14, dataLoss: 15 } as const;

/** What a plugin says went wrong. */
export class PjrtError extends Error {
  constructor(
    readonly call: string,
    readonly status: number,
    message: string,
  ) {
    super(message);
    this.name = 'PjrtError';
  }
}

const CALL = koffi.proto('void *PjrtFunction(void *arguments)');
const RELEASE = koffi.proto('void PjrtDeleter(void *owner)');

type Function = ((structure: BigInt64Array) => unknown) & {
  async(structure: BigInt64Array, done: (error: unknown, result: unknown) => void): void;
};

/** The libraries stay loaded for the life of the process: nothing of them can be unloaded in safety. */
const libraries = new Map<string, PjrtApi>();

/** What is being passed to a plugin: collected garbage would pull the memory away from under it. */
const pinned = new Set<unknown>();

export class PjrtApi {
  readonly version: string;
  readonly #functions = new Map<FunctionName, Function>();

  /**
   * The functions of a plugin, which is loaded once.
   * @throws UnavailableError when it is no plugin, does not load, or is of another version of the interface
   */
  static open(file: string): PjrtApi {
    const known = libraries.get(file) ?? new PjrtApi(file);
    libraries.set(file, known);
    return known;
  }

  private constructor(file: string) {
    const table = loadTable(file);
    const [tableBytes, , , , version] = koffi.decode(table, koffi.array('uint64_t', TABLE_HEAD)) as bigint[];
    const [major, minor] = [Number(BigInt(version) & 0xffffffffn), Number(BigInt(version) >> 32n)];
    this.version = `${major}.${minor}`;
    if (major !== MAJOR) throw otherVersion(file, this.version);
    const known = Math.min(FUNCTIONS.length, Number(tableBytes) / 8 - TABLE_HEAD);
    const addresses = koffi.decode(table, 8 * TABLE_HEAD, koffi.array('uint64_t', known)) as bigint[];
    for (const name of Object.keys(WORDS) as FunctionName[]) {
      const address = BigInt(addresses[FUNCTIONS.indexOf(name)] ?? 0n);
      if (address) this.#functions.set(name, koffi.decode(address, CALL) as Function);
      else if (!OPTIONAL.has(name)) throw otherVersion(file, `${this.version}, without PJRT_${name}`);
    }
    this.call('Plugin_Initialize', []);
  }

  has(name: FunctionName): boolean {
    return this.#functions.has(name);
  }

  /**
   * Calls a function with the words of its struct behind the head; those that are missing are zeros.
   * @param held what the words point to
   * @returns all words behind the head, as they are after the call
   * @throws PjrtError when the plugin says so
   */
  call(name: FunctionName, words: readonly (bigint | number)[], held?: unknown): BigInt64Array {
    const structure = structureOf(name, words);
    pinned.add(held);
    try {
      this.#check(name, this.#functions.get(name)!(structure));
    } finally {
      pinned.delete(held);
    }
    return structure.subarray(HEAD);
  }

  /** The same, beside the event loop. */
  callAsync(name: FunctionName, words: readonly (bigint | number)[], held?: unknown): Promise<BigInt64Array> {
    const structure = structureOf(name, words);
    const pins = [held, structure];
    pinned.add(pins);
    return new Promise((resolve, reject) => {
      this.#functions.get(name)!.async(structure, (problem, error) => {
        pinned.delete(pins);
        try {
          if (problem) throw problem;
          this.#check(name, error);
          resolve(structure.subarray(HEAD));
        } catch (reason) {
          reject(reason);
        }
      });
    });
  }

  /** Calls what a plugin gave to free something of its own. */
  release(free: bigint, owner: bigint): void {
    (koffi.decode(free, RELEASE) as (owner: bigint) => void)(owner);
  }

  /** Waits for an event, which is over then. */
  await(event: bigint, held?: unknown): void {
    try {
      this.call('Event_Await', [event], held);
    } finally {
      this.call('Event_Destroy', [event]);
    }
  }

  async awaitAsync(event: bigint, held?: unknown): Promise<void> {
    try {
      await this.callAsync('Event_Await', [event], held);
    } finally {
      this.call('Event_Destroy', [event]);
    }
  }

  #check(name: string, error: unknown): void {
    if (!error) return;
    const address = koffi.address(error);
    const raw = (fn: FunctionName): BigInt64Array => {
      const structure = structureOf(fn, [address]);
      this.#functions.get(fn)!(structure);
      return structure.subarray(HEAD);
    };
    const [, start, length] = raw('Error_Message');
    const message = text(start, length);
    const status = Number(raw('Error_GetCode')[1] & 0xffffffffn);
    raw('Error_Destroy');
    throw new PjrtError(name, status, message);
  }
}

function structureOf(name: FunctionName, words: readonly (bigint | number)[]): BigInt64Array {
  const structure = new BigInt64Array(HEAD + WORDS[name] + SPARE_WORDS);
  structure[0] = BigInt(structure.byteLength);
  words.forEach((word, i) => {
    structure[HEAD + i] = BigInt(word);
  });
  return structure;
}

function loadTable(file: string): unknown {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '3'; // only what is fatal: errors are thrown, and said where they are caught
  try {
    const table = koffi.load(file).func('void *GetPjrtApi()')();
    if (table) return table;
  } catch (error) {
    const { message } = error as Error;
    const reason = message.replace(/^Failed to load shared library: /, '');
    throw new UnavailableError(
      `${file} cannot be loaded as a PJRT plugin: ${reason}`,
      'repa doctor lists what was found; --plugin takes the path of another',
    );
  }
  throw new UnavailableError(`${file} gives no functions of PJRT`, '--plugin takes the path of another');
}

const otherVersion = (file: string, version: string): RepaError =>
  new UnavailableError(
    `${file} has version ${version} of the PJRT interface, and repa calls ${MAJOR}.x`,
    'install a plugin of this version, or a newer repa',
  );

/** A text in the memory of a plugin. */
export const text = (start: bigint, length: bigint): string =>
  length ? Buffer.from(bytes(start, Number(length))).toString() : '';

/** A copy of a plugin's memory. */
export const bytes = (start: bigint, length: number): Uint8Array<ArrayBuffer> =>
  new Uint8Array(koffi.view(start, length)).slice();

/** Numbers of 8 bytes in the memory of a plugin. */
export const words = (start: bigint, count: number): BigInt64Array => new BigInt64Array(bytes(start, 8 * count).buffer);

/** Where an array lies; it has to be held while it is used. */
export const addressOf = (array: NodeJS.TypedArray): bigint => (array.length ? koffi.address(array) : 0n);
