/**
 * What the globals of a checkpoint stand for: tensors and plain values for what they are, any other class for an object
 * of fields (a path, an array, the configuration of somebody's script). No Python ever runs.
 */
import { DataError } from '../errors.js';
import type { HostDType } from './host-tensor.js';
import {
  foreignName,
  foreignObject,
  isDict,
  newDict,
  type PickleCallable,
  type PickleDict,
  type PickleGlobal,
} from './pickle.js';
import { type ReadStorage, TorchStorage, TorchTensor } from './torch-tensor.js';

/** Storage classes by name. */
const STORAGES: Record<string, HostDType> = {
  'torch HalfStorage': 'f16',
  'torch FloatStorage': 'f32',
  'torch DoubleStorage': 'f64',
  'torch BFloat16Storage': 'bf16',
  'torch ByteStorage': 'u8',
  'torch CharStorage': 'i8',
  'torch ShortStorage': 'i16',
  'torch IntStorage': 'i32',
  'torch LongStorage': 'i64',
  'torch BoolStorage': 'bool',
};

const TORCH_DTYPE = /^torch (float16|float32|float64|bfloat16|uint8|int8|int16|int32|int64|bool)$/;

/** A storage class stands as a value: it is passed on in a persistent id, and never called. */
export class StorageType {
  readonly dtype: HostDType;

  constructor(dtype: HostDType) {
    this.dtype = dtype;
  }
}

/**
 * Modules and functions that run programs. No weights need them: a file that names one was made to do harm, and is
 * refused though nothing of it would be run.
 */
const PROGRAM_MODULES = new Set(
  (
    'os posix nt sys subprocess _posixsubprocess pty socket shutil runpy importlib imp ctypes code codeop pdb bdb timeit ' +
    'webbrowser commands pip pickle _pickle marshal multiprocessing asyncio'
  ).split(' '),
);
const PROGRAM_FUNCTIONS = /^(__builtin__|builtins) (eval|exec|execfile|compile|open|input|breakpoint|__import__)$/;

const runsPrograms = (name: string): boolean =>
  PROGRAM_MODULES.has(/^[^. ]*/.exec(name)![0]) || PROGRAM_FUNCTIONS.test(name);

/** The table of the globals; tensors made through it are fetched by `read`. */
export function torchGlobals(read: ReadStorage, where: string): (name: string) => PickleGlobal | undefined {
  const fail = (what: string): never => {
    throw new DataError(`${where}: ${what}`);
  };
  const text = (value: unknown): string => (typeof value === 'string' ? value : fail('a name that is not a text'));
  const rebuildTensor = callable(([storage, offset, shape, strides]) => {
    if (foreignName(storage) !== undefined) return storage; // of elements that are not known
    if (!(storage instanceof TorchStorage)) return fail('a tensor without a storage');
    if (!areCounts([offset]) || !areCounts(shape) || !areCounts(strides)) return fail('a tensor of absurd sizes');
    return new TorchTensor(storage, offset as number, shape, strides, read, where);
  });
  const callables: Record<string, PickleCallable> = {
    'collections OrderedDict': {
      ...callable(([pairs]) => dictOf(pairs) ?? fail('an OrderedDict of no pairs')),
      build: () => {}, // its state is `_metadata`, the versions of the modules
    },
    'argparse Namespace': {
      ...callable(() => newDict()),
      build: (instance, state) =>
        void Object.assign(instance, isDict(state) ? state : fail('a Namespace without fields')),
    },
    'torch._utils _rebuild_tensor': rebuildTensor,
    'torch._utils _rebuild_tensor_v2': rebuildTensor,
    'torch._utils _rebuild_parameter': callable(([tensor]) => tensor),
    'torch._utils _rebuild_parameter_with_state': callable(([tensor]) => tensor),
    'torch Size': callable(([sizes]) => sizes),
    'torch device': callable(([type, index]) => (typeof index === 'number' ? `${text(type)}:${index}` : text(type))),
    'numpy dtype': {
      ...callable(([type]) => new NumpyType(text(type))),
      build: (type, state) => (type as NumpyType).build(state),
    },
    'numpy.core.multiarray scalar': callable((args) => numpyScalar(args) ?? foreignObject('numpy.generic')),
    '_codecs encode': callable(([value]) => Uint8Array.from(Buffer.from(text(value), 'latin1'))),
    '__builtin__ set': callable(([items]) => items),
  };
  callables['numpy._core.multiarray scalar'] = callables['numpy.core.multiarray scalar']; // NumPy 2
  callables['builtins set'] = callables['__builtin__ set']; // protocol 3 and on

  return (name) => {
    if (Object.hasOwn(STORAGES, name)) return { value: new StorageType(STORAGES[name]) };
    const dtype = TORCH_DTYPE.exec(name)?.[1];
    if (dtype) return { value: `torch.${dtype}` };
    if (Object.hasOwn(callables, name)) return callables[name];
    return runsPrograms(name) ? undefined : { value: foreignObject(name.replace(' ', '.')) };
  };
}

const callable = (call: PickleCallable['call']): PickleCallable => ({ call });

/** No tensor has more axes than this. */
const MOST_AXES = 64;

const areCounts = (values: unknown): values is number[] =>
  Array.isArray(values) &&
  values.length <= MOST_AXES &&
  values.every((value) => Number.isSafeInteger(value) && value >= 0);

/** Python 2 gives an OrderedDict its items as a list of pairs. */
function dictOf(pairs: unknown = []): PickleDict | undefined {
  const dict = newDict();
  if (!Array.isArray(pairs)) return undefined;
  for (const pair of pairs) {
    if (!Array.isArray(pair) || typeof pair[0] !== 'string') return undefined;
    dict[pair[0]] = pair[1];
  }
  return dict;
}

class NumpyType {
  readonly name: string;
  #littleEndian = false;

  constructor(name: string) {
    this.name = name;
  }

  /** The state is (version, byte order, ...); `|` is for single bytes. */
  build(state: unknown): void {
    this.#littleEndian = Array.isArray(state) && (state[1] === '<' || state[1] === '|');
  }

  read(bytes: Uint8Array): number | bigint | boolean | undefined {
    if (!this.#littleEndian || bytes.length !== Number(this.name.slice(1))) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    switch (this.name) {
      case 'f8':
        return view.getFloat64(0, true);
      case 'f4':
        return view.getFloat32(0, true);
      case 'i8':
        return Number(view.getBigInt64(0, true));
      case 'i4':
        return view.getInt32(0, true);
      case 'b1':
        return view.getUint8(0) !== 0;
      default:
        return undefined;
    }
  }
}

function numpyScalar([type, bytes]: readonly unknown[]): number | bigint | boolean | undefined {
  return type instanceof NumpyType && bytes instanceof Uint8Array ? type.read(bytes) : undefined;
}
