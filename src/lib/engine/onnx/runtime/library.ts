/**
 * ONNX Runtime's C interface: the library that onnxruntime-node brings, without that package's binding, which copies
 * every output and keeps no tensor on a device.
 *
 * All functions lie in one table (struct OrtApi of onnxruntime_c_api.h). It is only ever appended to, so that a
 * function has the same place in all later versions.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { UnavailableError } from '../../../errors.js';
import { koffi } from '../../../foreign-functions.js';
import type { TypedArray } from '../../../numbers/typed-array.js';

// p: an address, of an object or of an array; s: a string; z: size_t; i: int. A result of 'status' is an error or null.
type Result = 'status' | 'void' | 'string' | 'int';
type Signature = readonly [place: number, parameters: string, result?: Result];

const FUNCTIONS = {
  CreateStatus: [0, 'is', 'status'],
  GetErrorCode: [1, 'p', 'int'],
  GetErrorMessage: [2, 'p', 'string'],
  CreateEnvWithCustomLogger: [4, 'ppisp'],
  CreateSession: [7, 'pppp'],
  CreateSessionFromArray: [8, 'ppzpp'],
  Run: [9, 'ppppzpzp'],
  CreateSessionOptions: [10, 'p'],
  DisableMemPattern: [17, 'p'],
  DisableCpuMemArena: [19, 'p'],
  SetSessionLogSeverityLevel: [22, 'pi'],
  SetSessionGraphOptimizationLevel: [23, 'pi'],
  SetIntraOpNumThreads: [24, 'pi'],
  SessionGetInputCount: [30, 'pp'],
  SessionGetOutputCount: [31, 'pp'],
  SessionGetInputTypeInfo: [33, 'pzp'],
  SessionGetOutputTypeInfo: [34, 'pzp'],
  SessionGetInputName: [36, 'pzpp'],
  SessionGetOutputName: [37, 'pzpp'],
  CreateRunOptions: [39, 'p'],
  RunOptionsSetRunLogSeverityLevel: [41, 'pi'],
  RunOptionsGetRunLogSeverityLevel: [44, 'pp'],
  CreateTensorAsOrtValue: [48, 'ppzip'],
  CreateTensorWithDataAsOrtValue: [49, 'ppzpzip'],
  GetTensorMutableData: [51, 'pp'],
  CastTypeInfoToTensorInfo: [55, 'pp'],
  GetTensorElementType: [60, 'pp'],
  GetDimensionsCount: [61, 'pp'],
  GetDimensions: [62, 'ppz'],
  GetTensorTypeAndShape: [65, 'pp'],
  CreateMemoryInfo: [68, 'siiip'],
  CreateCpuMemoryInfo: [69, 'iip'],
  AllocatorFree: [76, 'pp'],
  GetAllocatorWithDefaultOptions: [78, 'p'],
  ReleaseStatus: [93, 'p', 'void'],
  ReleaseSession: [95, 'p', 'void'],
  ReleaseValue: [96, 'p', 'void'],
  ReleaseTypeInfo: [98, 'p', 'void'],
  ReleaseTensorTypeAndShapeInfo: [99, 'p', 'void'],
  ReleaseSessionOptions: [100, 'p', 'void'],
  GetAvailableProviders: [125, 'pp'],
  ReleaseAvailableProviders: [126, 'pi'],
  AddSessionConfigEntry: [130, 'pss'],
  CreateAllocator: [131, 'ppp'],
  ReleaseAllocator: [132, 'p', 'void'],
  RunWithBinding: [133, 'ppp'],
  CreateIoBinding: [134, 'pp'],
  ReleaseIoBinding: [135, 'p', 'void'],
  BindInput: [136, 'psp'],
  BindOutput: [137, 'psp'],
  SessionOptionsAppendExecutionProvider: [216, 'psppz'],
  RegisterCustomOpsLibrary_V2: [228, 'pp'],
  AddExternalInitializersFromFilesInMemory: [279, 'ppppz'],
  CopyTensors: [386, 'ppppz'],
} as const satisfies Record<string, Signature>;

/** The version of the interface that these places are of, and the oldest of the library that has it. */
const INTERFACE = 23;

type Argument = TypedArray | BigUint64Array | bigint | number | string | null;
type Functions = typeof FUNCTIONS;
type ResultOf<S> = S extends readonly [number, string, 'string']
  ? string
  : S extends readonly [number, string, 'int']
    ? number
    : S extends readonly [number, string, 'status']
      ? bigint
      : undefined;

/** The functions by their names; those that may fail throw what they say. */
export type OrtApi = {
  readonly [N in keyof Functions]: (...args: Argument[]) => ResultOf<Functions[N]>;
} & {
  /** `Run` on another thread, while JavaScript goes on. */
  readonly runAsync: (...args: Argument[]) => Promise<void>;
  /** Where a function lies, for those who call it from C. */
  readonly addressOf: (name: keyof Functions) => bigint;
  readonly version: string;
};

const PARAMETERS: Readonly<Record<string, string>> = { p: 'void *', s: 'const char *', z: 'size_t', i: 'int' };
const RESULTS = { status: 'void *', void: 'void', string: 'const char *', int: 'int' } as const;

type Foreign = ((...args: unknown[]) => unknown) & { async(...args: unknown[]): void };

const types = new Map<string, ReturnType<typeof koffi.proto>>();

/** A function of these types at an address. */
function functionAt(address: bigint, parameters: string, result: keyof typeof RESULTS): Foreign {
  const name = `Ort_${result}_${parameters}`;
  const type =
    types.get(name) ??
    koffi.proto(
      name,
      RESULTS[result],
      [...parameters].map((letter) => PARAMETERS[letter]),
    );
  types.set(name, type);
  return koffi.decode(address, type) as Foreign;
}

/** The address that lies at a place of a table. */
export const addressAt = (table: bigint, place: number): bigint => BigInt(koffi.decode(table, place * 8, 'uint64_t'));

/**
 * What `OrtGetApiBase` of a library gives: its version, and its table of functions (0 where it is of another version).
 */
export interface ApiBase {
  readonly version: string;
  table(version: number): bigint;
}

/**
 * The functions of a library.
 * @throws UnavailableError when it is too old, lacks a function, or has them in another order
 */
export function bindApi({ version, table }: ApiBase): OrtApi {
  const [major, minor] = version.split('.').map(Number);
  if (major !== 1 || !(minor >= INTERFACE)) {
    throw unfit(`ONNX Runtime ${version} has another interface than 1.${INTERFACE} and later, which repa calls`);
  }
  const address = table(INTERFACE);
  if (!address) throw unfit(`ONNX Runtime ${version} does not know version ${INTERFACE} of its interface`);
  const addressOf = (name: keyof Functions): bigint => {
    const entry = addressAt(address, FUNCTIONS[name][0]);
    if (!entry) throw unfit(`ONNX Runtime ${version} has no function ${name}`);
    return entry;
  };
  const bind = (name: keyof Functions): Foreign => {
    const [, parameters, result = 'status']: Signature = FUNCTIONS[name];
    return functionAt(addressOf(name), parameters, result);
  };
  checkOrder(bind('CreateStatus'), bind('GetErrorCode'), bind('GetErrorMessage'), version);
  const message = bind('GetErrorMessage');
  const release = bind('ReleaseStatus');
  const check = (status: unknown): void => {
    if (!status) return;
    const text = message(status) as string;
    release(status);
    throw new Error(text);
  };
  const api: Record<string, unknown> = { version, addressOf };
  for (const name of Object.keys(FUNCTIONS) as (keyof Functions)[]) {
    const call = bind(name);
    const [, , result = 'status']: Signature = FUNCTIONS[name];
    api[name] = result === 'status' && name !== 'CreateStatus' ? (...args: unknown[]) => check(call(...args)) : call;
  }
  const run = bind('Run');
  api.runAsync = (...args: unknown[]) =>
    new Promise<void>((resolve, reject) => {
      run.async(...args, (error: Error | null, status: unknown) => {
        try {
          if (error) throw error;
          check(status);
          resolve();
        } catch (problem) {
          reject(problem);
        }
      });
    });
  return api as unknown as OrtApi;
}

/** Whether the first functions of the table are what they should be: an error that is made can be read again. */
function checkOrder(create: Foreign, code: Foreign, message: Foreign, version: string): void {
  const INVALID_ARGUMENT = 2;
  const status = create(INVALID_ARGUMENT, 'order');
  if (status && code(status) === INVALID_ARGUMENT && message(status) === 'order') return;
  throw unfit(`the functions of ONNX Runtime ${version} are not in the order of its interface`);
}

const unfit = (message: string): UnavailableError =>
  new UnavailableError(message, 'install the one that fits: npm install onnxruntime-node@1.30.0');

const LIBRARIES: Readonly<Record<string, string>> = {
  linux: 'libonnxruntime.so.1',
  darwin: 'libonnxruntime.1.dylib',
  win32: 'onnxruntime.dll',
};

/** The file of the library for this machine. */
function libraryFile(): string {
  const root = path.dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  const { platform, arch } = process;
  const file = path.join(root, 'bin/napi-v6', platform, arch, LIBRARIES[platform] ?? '');
  if (LIBRARIES[platform] && existsSync(file)) return file;
  throw new UnavailableError(
    `onnxruntime-node has no library for ${platform} on ${arch}`,
    'use a machine with Linux or macOS on x64 or arm64; or use --backend tensorflow',
  );
}

// koffi unloads a library that is garbage, whoever still has functions of it.
let library: ReturnType<typeof koffi.load> | undefined;
let api: OrtApi | undefined;

/**
 * The functions of the library, which is loaded at the first call.
 * @throws UnavailableError when there is none for this machine, or it is of a version that does not fit
 */
export function ort(): OrtApi {
  if (api) return api;
  // Since 1.30 its Linux builds write a log file for each process and would send events home, unless this is set.
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  library = koffi.load(libraryFile());
  const base = BigInt(library.func('OrtGetApiBase', 'uintptr_t', [])() as number | bigint);
  const table = functionAt(addressAt(base, 0), 'i', 'status');
  api = bindApi({
    version: functionAt(addressAt(base, 1), '', 'string')() as string,
    table: (version) => BigInt((table(version) as bigint | null) ?? 0),
  });
  return api;
}

/** What a function leaves where its last argument points. */
export function created(call: (out: BigUint64Array) => void): bigint {
  const out = new BigUint64Array(1);
  call(out);
  return out[0];
}

/** An array of C strings; `keep` has to stay alive as long as it. */
export function cStrings(texts: readonly string[]): { pointers: BigUint64Array; keep: readonly Buffer[] } {
  const keep = texts.map((text) => Buffer.from(`${text}\0`, 'utf8'));
  return { pointers: BigUint64Array.from(keep, (bytes) => koffi.address(bytes)), keep };
}

/** A path as the interface takes it: wide characters on Windows. */
export const cPath = (file: string): Buffer =>
  Buffer.from(`${file}\0`, process.platform === 'win32' ? 'utf16le' : 'utf8');

/** OrtLoggingLevel of onnxruntime_c_api.h; sessions log what is fatal alone. */
const [NOTHING, ERROR] = [-1, 3];
let environment: { readonly handle: bigint; readonly lastSeverity: bigint } | undefined;

/**
 * What all sessions share. It prints nothing: errors are thrown, and said where they are caught. Some are not, but
 * logged alone, such as those of a GPU without memory for what is sent to it: where a message would be printed, its
 * severity is set as that of an object of RunOptions. (Functions of JavaScript cannot be called for it by threads that
 * JavaScript waits for.)
 */
function makeEnvironment() {
  const api = ort();
  const lastSeverity = created((out) => api.CreateRunOptions(out));
  api.RunOptionsSetRunLogSeverityLevel(lastSeverity, NOTHING);
  const log = api.addressOf('RunOptionsSetRunLogSeverityLevel');
  const handle = created((out) => api.CreateEnvWithCustomLogger(log, lastSeverity, ERROR, 'repa', out));
  return { handle, lastSeverity };
}

export function environmentHandle(): bigint {
  environment ??= makeEnvironment();
  return environment.handle;
}

/** Whether ONNX Runtime has logged an error since this was last asked. */
export function errorWasLogged(): boolean {
  if (!environment) return false;
  const severity = new Int32Array(1);
  ort().RunOptionsGetRunLogSeverityLevel(environment.lastSeverity, severity);
  ort().RunOptionsSetRunLogSeverityLevel(environment.lastSeverity, NOTHING);
  return severity[0] >= ERROR;
}

/** The names of the execution providers that are built into the library. */
export function availableProviders(): string[] {
  const count = new Int32Array(1);
  const list = created((out) => ort().GetAvailableProviders(out, count));
  const names = Array.from({ length: count[0] }, (_, i) => String(koffi.decode(list, i * 8, 'const char *')));
  ort().ReleaseAvailableProviders(list, count[0]);
  return names;
}
