/**
 * WebDataset archives: tars in which the members of one sample follow each other and share their name up to its first
 * dot. Here a sample's members are `cls` (its class), `json` (`{"key": ...}`), images, and `npy` or `<column>.npy`.
 */
import { createReadStream } from 'node:fs';
import path from 'node:path';
import { DataError } from '../errors.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { encodeNpy, readNpy } from '../formats/npy.js';
import { readTar } from '../formats/tar.js';
import { TarWriter } from '../formats/tar-writer.js';
import { decodeImage } from '../images/decode.js';
import { isImageName } from '../images/list.js';
import { encodePng } from '../images/png.js';
import type { RgbImage } from '../images/rgb-image.js';
import { bytesOf } from '../numbers/typed-array.js';
import type { TensorColumn } from '../stream/schema.js';
import type { ByteSink } from '../stream/sink.js';
import { checkedRow, columnFor, type Row, type RowSource } from './rows.js';

/** One sample as it lies in the archive. */
interface Sample {
  key: string;
  label: number;
  /** By column; undefined names the usual one. */
  tensors: [name: string | undefined, HostTensor][];
}

/**
 * @param transform of images, such as a crop.
 * @throws DataError when the archive is damaged, holds no such samples, or samples of different kinds.
 */
export async function readTarRows(file: string, transform: (image: RgbImage) => RgbImage): Promise<RowSource> {
  const samples = readSamples(file, transform);
  const first = await samples.next();
  if (first.done) throw new DataError(`${file}: holds no images and no arrays`);
  const columns = first.value.tensors.map(([name, tensor]) => columnFor(tensor, `${file}: ${first.value.key}`, name));
  async function* rows(): AsyncGenerator<Row> {
    yield toRow(first.value!, columns, file);
    for await (const sample of samples) yield toRow(sample, columns, file);
  }
  return { columns, total: undefined, rows: rows() };
}

function toRow({ key, label, tensors }: Sample, columns: readonly TensorColumn[], file: string): Row {
  if (tensors.length !== columns.length) {
    throw new DataError(`${file}: '${key}' has ${tensors.length} tensors, those before have ${columns.length}`);
  }
  const entries = columns.map((column, i) => {
    const [name, tensor] = tensors[i];
    if (name !== undefined && name !== column.name) throw new DataError(`${file}: '${key}' has no '${column.name}'`);
    return [column.name, checkedRow(tensor, column, `${file}: ${key}`)];
  });
  return { key, label, tensors: Object.fromEntries(entries) };
}

/** The archive's members by sample; samples without images or arrays are passed over. */
async function* readSamples(file: string, transform: (image: RgbImage) => RgbImage): AsyncGenerator<Sample> {
  let stem: string | undefined;
  let sample: Sample | undefined;
  for await (const entry of readTar(createReadStream(file), file)) {
    const [, name, extension = ''] = /^((?:.*\/)?[^/.]*)\.?([^/]*)$/.exec(entry.name) ?? [];
    if (name !== stem) {
      if (sample && sample.tensors.length > 0) yield sample;
      stem = name;
      sample = { key: name, label: -1, tensors: [] };
    }
    const where = `${file}: ${entry.name}`;
    if (extension === 'cls') sample!.label = parseLabel(await entry.read(), where);
    else if (extension === 'json') sample!.key = parseKey(await entry.read(), where) ?? sample!.key;
    else if (/(^|\.)npy$/.test(extension)) {
      const column = extension.slice(0, -'.npy'.length) || undefined;
      sample!.tensors.push([column, readNpy(await entry.read(), where)]);
    } else if (isImageName(entry.name)) {
      const { width, height, data } = transform(await decodeImage(await entry.read(), where));
      sample!.tensors.push(['image', { shape: [height, width, 3], dtype: 'u8', data: bytesOf(data) }]);
      if (sample!.key === name) sample!.key = entry.name; // as the verbs that read images from archives name them
    }
  }
  if (sample && sample.tensors.length > 0) yield sample;
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).trim();

function parseLabel(bytes: Uint8Array, where: string): number {
  const label = text(bytes) === '' ? Number.NaN : Number(text(bytes));
  if (Number.isInteger(label)) return label;
  throw new DataError(`${where}: '${text(bytes)}' is no class number`);
}

function parseKey(bytes: Uint8Array, where: string): string | undefined {
  try {
    const { key } = JSON.parse(text(bytes)) as { key?: unknown };
    return typeof key === 'string' ? key : undefined;
  } catch (error) {
    throw new DataError(`${where}: ${(error as Error).message}`);
  }
}

/** Writes rows as samples; `end` completes the archive. */
export class WebDatasetWriter {
  readonly #tar: TarWriter;
  readonly #columns: readonly TensorColumn[];
  readonly #stems = new Set<string>();

  constructor(sink: Pick<ByteSink, 'write'>, columns: readonly TensorColumn[]) {
    this.#tar = new TarWriter(sink);
    this.#columns = columns;
  }

  /** @throws DataError when two keys make the same name. */
  async append({ key, label, tensors }: Row): Promise<void> {
    const stem = stemOf(key);
    if (this.#stems.has(stem))
      throw new DataError(`two rows would be called '${stem}' in the archive, one is '${key}'`);
    this.#stems.add(stem);
    const append = (extension: string, body: Uint8Array) => this.#tar.append(`${stem}.${extension}`, body);
    const words = (content: string) => new TextEncoder().encode(content);
    if (label >= 0) await append('cls', words(String(label)));
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

/** A key as a sample's name, in which the first dot would end it. */
function stemOf(key: string): string {
  const { dir, name, base } = path.posix.parse(key);
  return path.posix.join(dir, (isImageName(base) ? name : base).replaceAll('.', '_'));
}
