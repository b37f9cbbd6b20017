/**
 * PyTorch checkpoints (.pt, .pth, .bin): the zip of PyTorch 1.6 and on, and the sequence of pickles from before. The
 * pickle is read by a machine that runs nothing and knows tensors and plain values only; tensors are fetched one by
 * one. Layouts: `torch.serialization` (`_load` for zip, `_legacy_load`).
 */
import { DataError } from '../errors.js';
import { BinaryFile } from './binary-file.js';
import { bytesPerElement } from './host-tensor.js';
import { foreignName, type PickleOptions, showPlain, unpickle } from './pickle.js';
import type { PickleSource } from './pickle-cursor.js';
import { StorageType, torchGlobals } from './torch-globals.js';
import { type ReadStorage, TorchStorage } from './torch-tensor.js';
import { openZip, type ZipFile } from './zip.js';

export interface TorchFile {
  /** The saved object: dictionaries without prototype, arrays, numbers, texts and `TorchTensor`s. */
  readonly root: unknown;
  close(): void;
}

/** A pickle of pure structure has no reason to be larger. */
const LARGEST_PICKLE = 2 ** 26;
const PICKLE = '/data.pkl';

/** The first pickle of a legacy file, and the second. */
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;

/**
 * @throws MissingInputError when there is no such file; DataError when it is no checkpoint, is damaged, or names an
 *   opcode beyond what tensors and plain values need, or a function that runs programs. Nothing of the file is ever
 *   executed.
 */
export function openTorch(path: string): TorchFile {
  const file = new BinaryFile(path);
  const isZip = file.size >= 4 && new DataView(file.read(0, 4).buffer).getUint32(0, true) === 0x04034b50;
  try {
    if (!isZip) return readLegacy(file);
  } catch (error) {
    file.close();
    throw error;
  }
  file.close();
  return openTorchZip(path);
}

function openTorchZip(path: string): TorchFile {
  const zip = openZip(path, { withoutCrcs: true });
  try {
    return { root: readZip(zip, path), close: () => zip.close() };
  } catch (error) {
    zip.close();
    throw error;
  }
}

function readZip(zip: ZipFile, where: string): unknown {
  // The archive's root folder is named after the file it was first saved to, which may have been renamed since.
  const pickleName = [...zip.entries.keys()].find((name) => name.endsWith(PICKLE));
  if (pickleName === undefined)
    throw new DataError(`${where}: a zip archive, but not a PyTorch checkpoint (no data.pkl)`);
  const root = pickleName.slice(0, -PICKLE.length);
  if (zip.entries.has(`${root}/constants.pkl`)) {
    throw new DataError(
      `${where}: a TorchScript program (the files of OpenAI's clip are such), not a checkpoint`,
      'Save the state_dict() of what torch.jit.load gives; for CLIP, repa pull clip-vit-l fetches one.',
    );
  }
  if (zip.entries.has(`${root}/byteorder`)) {
    const order = new TextDecoder().decode(zip.read(`${root}/byteorder`, 16));
    if (order !== 'little') throw new DataError(`${where}: saved on a ${order}-endian machine, which is not supported`);
  }
  const member = (key: string): string => `${root}/data/${key}`;
  const read: ReadStorage = (key, offset, length) =>
    length === zip.entries.get(member(key))?.size
      ? zip.read(member(key)) // whole, so its CRC can be checked
      : zip.readStored(member(key), offset, length);
  const checkSize = ({ key, dtype, length }: TorchStorage): void => {
    const bytes = zip.entries.get(member(key))?.size;
    if (bytes !== length * bytesPerElement(dtype)) {
      throw new DataError(`${where}: storage '${key}' of ${length} ${dtype} elements has ${bytes ?? 'no'} bytes`);
    }
  };
  const bytes = zip.read(pickleName, LARGEST_PICKLE);
  return unpickle(fromBytes(bytes), pickleOptions(where, read, checkSize)).value;
}

/** Magic number, protocol, system, the object, the keys of its storages; then each storage's length and elements. */
function readLegacy(file: BinaryFile): TorchFile {
  const where = file.path;
  const plain: PickleOptions = { where, findGlobal: () => undefined, persistentLoad: () => undefined };
  const next = (options: PickleOptions, offset: number) => unpickle(limited(file, offset), options, offset);
  const magic = isPickle(file) ? next(plain, 0) : undefined;
  if (magic?.value !== LEGACY_MAGIC) throw new DataError(`${where}: not a PyTorch checkpoint`);
  const protocol = next(plain, magic.end);
  if (protocol.value !== LEGACY_PROTOCOL)
    throw new DataError(`${where}: legacy checkpoint of protocol ${showPlain(protocol.value)}`);
  const system = next(plain, protocol.end);
  if ((system.value as { little_endian?: unknown } | null)?.little_endian !== true) {
    throw new DataError(`${where}: saved on a big-endian machine, which is not supported`);
  }
  const storages = new Map<string, TorchStorage>();
  const positions = new Map<string, number>();
  const read: ReadStorage = (key, offset, length) => file.read(positions.get(key)! + offset, length);
  const object = unpickle(
    file,
    pickleOptions(where, read, (storage) => addStorage(storages, storage, where)),
    system.end,
  );
  const keys = next(plain, object.end);
  locateStorages(file, keys.value, keys.end, storages, positions);
  return { root: object.value, close: () => file.close() };
}

/** The file, as far as a pickle that starts at `offset` may go. */
const limited = (file: BinaryFile, offset: number): PickleSource => ({
  size: Math.min(file.size, offset + LARGEST_PICKLE),
  read: (at, length) => file.read(at, length),
});

const isPickle = (file: BinaryFile): boolean => file.size >= 2 && file.read(0, 1)[0] === 0x80;

/** A storage that several tensors name must be the same each time, since its length tells where the next one lies. */
function addStorage(storages: Map<string, TorchStorage>, storage: TorchStorage, where: string): void {
  const known = storages.get(storage.key) ?? storage;
  if (known.dtype !== storage.dtype || known.length !== storage.length) {
    throw new DataError(`${where}: storage '${storage.key}' is described in two ways`);
  }
  storages.set(storage.key, storage);
}

function locateStorages(
  file: BinaryFile,
  keys: unknown,
  start: number,
  storages: Map<string, TorchStorage>,
  positions: Map<string, number>,
): void {
  if (!Array.isArray(keys)) throw new DataError(`${file.path}: no list of storages at byte ${start}`);
  let position = start;
  for (const key of keys) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (!storage) throw new DataError(`${file.path}: a storage that no tensor names, at byte ${position}`);
    const length = new DataView(file.read(position, 8).buffer).getBigInt64(0, true);
    if (length !== BigInt(storage.length)) {
      throw new DataError(
        `${file.path}: storage '${storage.key}' at byte ${position} has ${length} elements, not ${storage.length}`,
      );
    }
    positions.set(storage.key, position + 8);
    position += 8 + storage.length * bytesPerElement(storage.dtype);
    if (position > file.size)
      throw new DataError(`${file.path}: truncated in storage '${storage.key}', at byte ${file.size}`);
  }
  const missing = [...storages.keys()].find((key) => !positions.has(key));
  if (missing !== undefined) throw new DataError(`${file.path}: storage '${missing}' is not in the file`);
}

function pickleOptions(where: string, read: ReadStorage, check: (storage: TorchStorage) => void): PickleOptions {
  return {
    where,
    findGlobal: torchGlobals(read, where),
    persistentLoad: (id) => {
      if (Array.isArray(id) && foreignName(id[1]) !== undefined) return id[1]; // of elements that are not known
      const storage = parseStorage(id, where);
      check(storage);
      return viewOf(storage, id as unknown[], where);
    },
  };
}

/** A persistent id is ('storage', class, key, device, length), in legacy files followed by a view. */
function parseStorage(id: unknown, where: string): TorchStorage {
  const [kind, type, key, , length] = Array.isArray(id) ? (id as unknown[]) : [];
  const sound = kind === 'storage' && type instanceof StorageType && typeof key === 'string';
  if (!sound || !Number.isSafeInteger(length) || (length as number) < 0) {
    throw new DataError(`${where}: a reference to a storage that makes no sense`);
  }
  return new TorchStorage(key, type.dtype, length as number);
}

/** The view of the oldest files is (key of its own, offset, length), within the storage. */
function viewOf(storage: TorchStorage, id: readonly unknown[], where: string): TorchStorage {
  const view = id[5];
  if (!Array.isArray(view)) return storage;
  const [, start, length] = view as number[];
  const counts = [start, length].every((value) => Number.isSafeInteger(value) && value! >= 0);
  if (!counts || start! + length! > storage.length) {
    throw new DataError(`${where}: a view outside its storage '${storage.key}'`);
  }
  return new TorchStorage(storage.key, storage.dtype, length!, start);
}

const fromBytes = (bytes: Uint8Array): PickleSource => ({
  size: bytes.length,
  read: (offset, length) => bytes.subarray(offset, offset + length),
});
