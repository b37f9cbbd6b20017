/**
 * WebDataset archives: tars in which the members of one sample follow each other and share their name up to its first
 * dot. Here a sample's members are `cls` (its class), `json` (`{"key": ...}`), images, and `npy` or `<column>.npy`.
 */
import path from 'node:path';
import { DataError } from '../errors.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { encodeNpy, readNpy } from '../formats/npy.js';
import { TarWriter } from '../formats/tar-writer.js';
import { classMetadata } from '../images/class-map.js';
import { decodeImage } from '../images/decode.js';
import { isHidden, isImageName } from '../images/image-names.js';
import { type Picture, pictureSet } from '../images/picture-set.js';
import { encodePng } from '../images/png.js';
import type { RgbImage } from '../images/rgb-image.js';
import { readTarFiles, type TarFiles } from '../images/tar-files.js';
import { bytesOf } from '../numbers/typed-array.js';
import type { TensorColumn } from '../stream/schema.js';
import type { ByteSink } from '../stream/sink.js';
import { FreeNames, fileNameOf } from './file-names.js';
import { checkedRow, columnFor, type Row, type RowSource } from './rows.js';

export const isArrayName = (name: string): boolean => name.toLowerCase().endsWith('.npy');

/** Members that become tensors of a sample. */
interface Sample {
  key: string;
  label: number;
  members: string[];
}

/** Whether an archive holds arrays, and not pictures alone. */
export const holdsArrays = ({ names }: TarFiles): boolean => names.some((name) => isArrayName(name) && !isHidden(name));

/**
 * Reads an archive in which samples hold arrays. A sample is what shares its name up to the first dot; it is emitted
 * once all of its members are read.
 * @param transform of images, such as a crop.
 * @throws DataError when the archive is damaged, or holds samples of different kinds.
 */
export async function readTarRows(archive: TarFiles, transform: (image: RgbImage) => RgbImage): Promise<RowSource> {
  const { pictures, classes, notes } = pictureSet(archive, (name) => isImageName(name) || isArrayName(name));
  const samples = samplesOf(pictures);
  const read = readSamples(archive, samples, transform);
  const first = await read.next();
  if (first.done) throw new DataError(`${archive.file}: holds no images and no arrays`);
  const columns = [...first.value.tensors].map(([name, tensor]) =>
    columnFor(tensor, archive.show(first.value!.key), name),
  );
  async function* rows(): AsyncGenerator<Row> {
    yield toRow(first.value!, columns, archive);
    for await (const sample of read) yield toRow(sample, columns, archive);
  }
  return {
    columns,
    total: new Set(samples.values()).size,
    metadata: classMetadata(classes),
    notes: [...archive.notes, ...notes],
    rows: rows(),
  };
}

/**
 * The samples by their members. A sample is called and classed as its picture is, or as its first array without one.
 */
function samplesOf(members: readonly Picture[]): Map<string, Sample> {
  const byStem = new Map<string, Sample>();
  const byMember = new Map<string, Sample>();
  for (const { name, key, label } of members) {
    const stem = firstStem(name);
    const isPicture = isImageName(name);
    const own = key === name && !isPicture ? stem : key;
    const sample = byStem.get(stem) ?? { key: own, label, members: [] };
    if (isPicture) Object.assign(sample, { key: own, label });
    sample.members.push(name);
    byStem.set(stem, sample);
    byMember.set(name, sample);
  }
  return byMember;
}

/** The name of a member's sample: its own up to the first dot. */
const firstStem = (name: string): string => /^(?:.*\/)?[^/.]*/.exec(name)![0];

interface ReadSample {
  key: string;
  label: number;
  /** By column. */
  tensors: ReadonlyMap<string, HostTensor>;
}

async function* readSamples(
  archive: TarFiles,
  samples: ReadonlyMap<string, Sample>,
  transform: (image: RgbImage) => RgbImage,
): AsyncGenerator<ReadSample> {
  const unfinished = new Map<Sample, Map<string, HostTensor>>();
  for await (const { name, bytes } of readTarFiles(archive, samples.keys())) {
    const sample = samples.get(name)!;
    const tensors = unfinished.get(sample) ?? new Map<string, HostTensor>();
    unfinished.set(sample, tensors);
    const where = archive.show(name);
    const tensor = isArrayName(name) ? readNpy(bytes, where) : await readPicture(bytes, where, transform);
    const column = (isArrayName(name) && name.slice(firstStem(name).length + 1, -'.npy'.length)) || undefined;
    const key = columnFor(tensor, where, column).name;
    if (tensors.has(key)) throw new DataError(`${where}: its sample has two tensors that would be '${key}'`);
    tensors.set(key, tensor);
    if (tensors.size < sample.members.length) continue;
    unfinished.delete(sample);
    yield { key: sample.key, label: sample.label, tensors };
  }
}

async function readPicture(
  bytes: Uint8Array,
  where: string,
  transform: (image: RgbImage) => RgbImage,
): Promise<HostTensor> {
  const { width, height, data } = transform(await decodeImage(bytes, where));
  return { shape: [height, width, 3], dtype: 'u8', data: bytesOf(data) };
}

function toRow({ key, label, tensors }: ReadSample, columns: readonly TensorColumn[], { file }: TarFiles): Row {
  if (tensors.size !== columns.length) {
    throw new DataError(`${file}: '${key}' has ${tensors.size} tensors, those before have ${columns.length}`);
  }
  const entries = columns.map((column) => {
    const tensor = tensors.get(column.name);
    if (!tensor) throw new DataError(`${file}: '${key}' has no '${column.name}'`);
    return [column.name, checkedRow(tensor, column, `${file}: ${key}`)];
  });
  return { key, label, tensors: Object.fromEntries(entries) };
}

/** Writes rows as samples; `end` completes the archive. */
export class WebDatasetWriter {
  readonly #tar: TarWriter;
  readonly #columns: readonly TensorColumn[];
  readonly #stems = new FreeNames();

  constructor(sink: Pick<ByteSink, 'write'>, columns: readonly TensorColumn[]) {
    this.#tar = new TarWriter(sink);
    this.#columns = columns;
  }

  /** @throws DataError when the key is no name within an archive, or came before. */
  async append({ key, label, tensors }: Row): Promise<void> {
    const stem = this.#stems.take(key, stemsOf(fileNameOf(key)));
    const append = (extension: string, body: Uint8Array) => this.#tar.append(`${stem}.${extension}`, body);
    const words = (content: string) => new TextEncoder().encode(content);
    // Without a class, the folder that a name begins with would be taken for one.
    if (label >= 0 || stem.includes('/')) await append('cls', words(String(label)));
    const [only] = this.#columns;
    const isPicture = this.#columns.length === 1 && only.name === 'image';
    if (key !== (isPicture ? `${stem}.png` : stem)) await append('json', words(JSON.stringify({ key })));
    for (const { name, shape, dtype } of this.#columns) {
      const data = tensors[name];
      if (name === 'image') {
        const [height, width] = shape;
        await append('png', await encodePng({ width, height, data: data as Uint8Array }));
      } else await append(`${name}.npy`, encodeNpy({ shape: [...shape], dtype, data }));
    }
  }

  end(): Promise<void> {
    return this.#tar.end();
  }
}

/**
 * Names for a key's sample, the best first: without an image's ending, and with it. The first dot would end
 * it.
 */
function stemsOf(name: string): string[] {
  const { dir, name: bare, base } = path.posix.parse(name);
  const names = isImageName(base) ? [bare, base] : [base];
  return names.map((each) => path.posix.join(dir, each.replaceAll('.', '_')));
}
