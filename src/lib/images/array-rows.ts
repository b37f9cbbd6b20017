/** Images in ADM's .npz, and the classes and keys of rows that have no names. */
import { DataError } from '../errors.js';
import type { TensorInfo } from '../formats/host-tensor.js';
import type { NpzFile } from '../formats/npz.js';
import { showShape } from '../numbers/typed-array.js';
import { isClass } from './picture-set.js';

/** Number `index` as the key of a row that has no name. */
export const numberedKey = (index: number): string => String(index).padStart(6, '0');

/** What ADM's tools call the images. */
export const ADM_IMAGES = 'arr_0';

/** What arrays of classes are called: ours, other people's, ADM's. */
const LABELS: readonly string[] = ['label', 'labels', 'arr_1'];

/** Whether an array is images: u8 [N, H, W, 3]. */
export const isOfImages = ({ shape, dtype }: TensorInfo): boolean =>
  dtype === 'u8' && shape.length === 4 && shape[3] === 3;

/**
 * The classes of an archive's rows, of an array called `label`, `labels` or `arr_1`; undefined where it has none.
 * @throws DataError when they are of another number of rows, not whole numbers of 32 bits, or told twice
 */
export function arrayLabels(archive: NpzFile, rows: number, where: string): Int32Array | undefined {
  const found = LABELS.filter((name) => archive.has(name) && archive.info(name).shape.length === 1);
  if (found.length === 0) return undefined;
  const [name] = found;
  if (found.length > 1) throw new DataError(`${where}: both '${name}' and '${found[1]}' are labels`);
  const count = archive.info(name).shape[0]; // known before the array takes its memory
  if (count !== rows) throw new DataError(`${where}: ${count} labels for ${rows} rows`);
  const { dtype, data } = archive.read(name);
  if (dtype === 'f16') throw new DataError(`${where}: ${name} is f16, and no array of class numbers`);
  const labels = Array.from(data as ArrayLike<number | bigint>, Number);
  const wrong = labels.findIndex((label) => !isClass(label));
  if (wrong < 0) return Int32Array.from(labels);
  throw new DataError(
    `${where}: ${name}[${wrong}] is ${data[wrong]}, no class number`,
    'Classes are whole numbers from 0 on, and -1 stands for none.',
  );
}

/** Arrays that are neither `taken` nor labels, in words: they are left out. */
export function notTaken(archive: NpzFile, taken: readonly string[]): string[] {
  const others = archive.names.filter((name) => {
    return !taken.includes(name) && !(LABELS.includes(name) && archive.info(name).shape.length === 1);
  });
  return others.length === 0
    ? []
    : [`left out: ${others.map((name) => `${name} ${showShape(archive.info(name).shape)}`).join(', ')}`];
}
