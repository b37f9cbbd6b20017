/** Network weights from files of any format, recognised by content and not by name. */
import { DataError } from '../errors.js';
import { BinaryFile } from './binary-file.js';
import type { HostTensor, TensorInfo } from './host-tensor.js';
import { openNpz } from './npz.js';
import { isDict, type PickleDict } from './pickle.js';
import { openSafetensors } from './safetensors.js';
import { openTorch } from './torch.js';
import { TorchTensor } from './torch-tensor.js';
import { openZip } from './zip.js';

export interface WeightsFile {
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  has(name: string): boolean;
  /** @throws DataError when there is no such tensor. */
  info(name: string): TensorInfo;
  /** Fetches one tensor. @throws DataError when there is no such tensor. */
  read(name: string): HostTensor;
  close(): void;
}

export interface WeightsOptions {
  /** The path of the state dict in a PyTorch checkpoint: `ema`, or `student.backbone` for a dictionary within one. */
  key?: string;
}

/**
 * Where checkpoints keep the weights to use, best first: REPA and SiT save `ema` beside `model`; MAE `model`; MoCo-v3
 * `state_dict`; DINO `teacher` beside `student`; I-JEPA `encoder`.
 */
const STATE_DICT_KEYS = ['ema', 'model', 'state_dict', 'teacher', 'encoder'];

/** What DistributedDataParallel puts before every name. */
const PARALLEL_PREFIX = 'module.';

/**
 * Opens safetensors, a PyTorch checkpoint (zip or legacy) or a .npz. Of a PyTorch checkpoint, the state dict is the
 * dictionary at `key`, else the first of `ema`, `model`, `state_dict`, `teacher`, `encoder` that holds tensors, else
 * the file's own dictionary, or the only one in it that holds tensors; `module.` is taken off when all names start with
 * it.
 * @throws MissingInputError when there is no such file; DataError when it is none of these, or holds no tensors there.
 */
export function openWeights(path: string, { key }: WeightsOptions = {}): WeightsFile {
  const format = weightsFormat(path);
  if (format === 'torch') return openStateDict(path, key);
  if (key !== undefined)
    throw new DataError(`${path}: has no dictionary '${key}': it is a ${format} file, which is flat`);
  return format === 'safetensors' ? openSafetensors(path) : openNpzWeights(path);
}

/** What kind of file it is. @throws MissingInputError when there is none; DataError when it is of no known kind. */
export function weightsFormat(path: string): 'safetensors' | 'torch' | 'npz' {
  const file = new BinaryFile(path);
  const start = file.read(0, Math.min(9, file.size));
  file.close();
  const [first, second] = start;
  // The length of a header, below 2^40, and its {. Asked first: the length may begin as the marks of the others do.
  if (start[8] === 0x7b && start.subarray(5, 8).every((byte) => byte === 0)) return 'safetensors';
  if (first === 0x50 && second === 0x4b) return isNpz(path) ? 'npz' : 'torch'; // PK
  if (first === 0x80) return 'torch'; // a pickle of protocol 2 and on
  if (start[8] === 0x7b) return 'safetensors'; // with a header of an absurd length, which opening it tells
  throw new DataError(
    `${path}: not a weights file that is known here`,
    'It reads safetensors, PyTorch checkpoints (.pt, .pth, .bin) and .npz.',
  );
}

function isNpz(path: string): boolean {
  const zip = openZip(path);
  zip.close();
  return zip.entries.size > 0 && [...zip.entries.keys()].every((name) => name.endsWith('.npy'));
}

function openNpzWeights(path: string): WeightsFile {
  const npz = openNpz(path);
  return {
    names: npz.names,
    metadata: {},
    has: (name) => npz.has(name),
    info: (name) => npz.info(name),
    read: (name) => npz.read(name),
    close: () => npz.close(),
  };
}

function openStateDict(path: string, key: string | undefined): WeightsFile {
  const file = openTorch(path);
  try {
    const tensors = stateDictOf(findStateDict(file.root, key, path));
    const find = (name: string): TorchTensor => {
      const tensor = tensors.get(name);
      if (!tensor) throw new DataError(`${path}: has no tensor '${name}'`);
      return tensor;
    };
    return {
      names: [...tensors.keys()],
      metadata: {},
      has: (name) => tensors.has(name),
      info: (name) => ({ shape: [...find(name).shape], dtype: find(name).dtype }),
      read: (name) => find(name).read(),
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** The tensors of a saved dictionary by their names, without what DistributedDataParallel puts before all of them. */
export const stateDictOf = (value: unknown): Map<string, TorchTensor> => withoutPrefix(tensorsOf(value));

/** The tensors of a dictionary, not those of dictionaries within it. */
function tensorsOf(value: unknown): Map<string, TorchTensor> {
  const entries = isDict(value) ? Object.entries(value) : [];
  return new Map(entries.filter((entry): entry is [string, TorchTensor] => entry[1] instanceof TorchTensor));
}

function findStateDict(root: unknown, key: string | undefined, path: string): unknown {
  const chosen = key === undefined ? defaultStateDict(root) : key.split('.').reduce(member, root);
  if (tensorsOf(chosen).size > 0) return chosen;
  const keys = isDict(root) ? Object.keys(root).slice(0, 20).join(', ') : '';
  throw new DataError(
    `${path}: holds no tensors ${key === undefined ? 'where they are looked for' : `at '${key}'`}`,
    `It holds ${keys || 'no dictionary'}: save the dictionary of the weights alone, or as safetensors.`,
  );
}

const member = (value: unknown, name: string): unknown => (isDict(value) ? value[name] : undefined);

function defaultStateDict(root: unknown): unknown {
  const dict: PickleDict = isDict(root) ? root : {};
  const key = STATE_DICT_KEYS.find((name) => tensorsOf(dict[name]).size > 0);
  if (key !== undefined) return dict[key];
  if (tensorsOf(dict).size > 0) return dict;
  const others = Object.values(dict).filter((value) => tensorsOf(value).size > 0);
  return others.length === 1 ? others[0] : root;
}

function withoutPrefix(tensors: Map<string, TorchTensor>): Map<string, TorchTensor> {
  if (![...tensors.keys()].every((name) => name.startsWith(PARALLEL_PREFIX))) return tensors;
  return new Map([...tensors].map(([name, tensor]) => [name.slice(PARALLEL_PREFIX.length), tensor]));
}
