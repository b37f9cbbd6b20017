/**
 * Writing PyTorch checkpoints as `torch.save` does: a zip of the pickle, the storages and a few words about the format.
 * Layout: `torch.serialization` (`_save`); plain dictionaries and tensors only, so that `weights_only=True` reads them.
 */
import path from 'node:path';
import { DataError } from '../errors.js';
import { writeFileAtomicAsync } from '../files/atomic-file.js';
import { bytesOf, showShape, sizeOf } from '../numbers/typed-array.js';
import { bytesPerElement, type HostDType, type HostTensor } from './host-tensor.js';
import { Call, encodePickle, Global, Persistent, type Picklable, Tuple } from './pickle-writer.js';
import type { LazyTensor } from './safetensors.js';
import { rowMajorStrides } from './strided.js';
import { ZipWriter } from './zip-writer.js';

/** Storage classes by element type. */
const STORAGES: Record<HostDType, string> = {
  f16: 'HalfStorage',
  f32: 'FloatStorage',
  f64: 'DoubleStorage',
  bf16: 'BFloat16Storage',
  u8: 'ByteStorage',
  i8: 'CharStorage',
  i16: 'ShortStorage',
  i32: 'IntStorage',
  i64: 'LongStorage',
  bool: 'BoolStorage',
};

/** What `torch.save` is given: nested dictionaries and lists of plain values and tensors. */
export type Savable =
  | null
  | boolean
  | number
  | string
  | Tuple
  | HostTensor
  | LazyTensor
  | readonly Savable[]
  | ReadonlyMap<string | number, Savable>
  | { readonly [key: string]: Savable };

const VERSION = '3\n';

/**
 * Writes a checkpoint; tensors are loaded one by one as they are written, and the file appears when it is complete.
 * @throws DataError when a tensor's data does not match its shape
 */
export async function writeTorch(file: string, value: Savable): Promise<void> {
  const tensors: (HostTensor | LazyTensor)[] = [];
  const pickle = encodePickle(toPicklable(value, tensors));
  const root = path.parse(file).name;
  await writeFileAtomicAsync(file, async (fd) => {
    const zip = new ZipWriter(fd);
    const addText = (name: string, text: string) => {
      const bytes = new TextEncoder().encode(text);
      return zip.add(`${root}/${name}`, bytes.length, [bytes]);
    };
    await zip.add(`${root}/data.pkl`, pickle.length, [pickle]);
    await addText('byteorder', 'little');
    for (const [key, tensor] of tensors.entries()) {
      const data = bytesOf('load' in tensor ? tensor.load() : tensor.data);
      const size = sizeOf(tensor.shape) * bytesPerElement(tensor.dtype);
      if (data.length !== size) {
        throw new DataError(`${file}: tensor ${key} has ${data.length} bytes, not ${showShape(tensor.shape)}`);
      }
      await zip.add(`${root}/data/${key}`, size, [data]);
    }
    await addText('version', VERSION);
    zip.end();
  });
}

/** Puts a call that rebuilds each tensor in its place, and collects the tensors in the order of their storages. */
function toPicklable(value: Savable, tensors: (HostTensor | LazyTensor)[]): Picklable {
  if (value === null || typeof value !== 'object' || value instanceof Tuple) return value;
  if (isTensor(value)) return rebuild(value, tensors.push(value) - 1);
  if (isList(value)) return value.map((item) => toPicklable(item, tensors));
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return new Map(entries.map(([key, item]) => [key, toPicklable(item, tensors)]));
}

const isTensor = (value: object): value is HostTensor | LazyTensor =>
  'dtype' in value && 'shape' in value && ('data' in value || 'load' in value);

const isList = (value: object): value is readonly Savable[] => Array.isArray(value);

/** `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`. */
function rebuild({ shape, dtype }: HostTensor | LazyTensor, key: number): Call {
  const type = new Global('torch', STORAGES[dtype]);
  const storage = new Persistent(['storage', type, String(key), 'cpu', sizeOf(shape)]);
  const hooks = new Call('collections', 'OrderedDict', []);
  return new Call('torch._utils', '_rebuild_tensor_v2', [
    storage,
    0,
    new Tuple(shape),
    new Tuple(rowMajorStrides(shape)),
    false,
    hooks,
  ]);
}
