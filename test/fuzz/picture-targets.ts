/** Pictures, and archives of them. */
import { closeSync, copyFileSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { sha256OfText } from '../../src/lib/files/sha256.js';
import { ZipWriter } from '../../src/lib/formats/zip-writer.js';
import { decodeImage } from '../../src/lib/images/decode.js';
import { openImages } from '../../src/lib/images/open-images.js';
import { openParquetImages } from '../../src/lib/images/parquet-images.js';
import { fixturePath } from '../support.js';
import { below, mutant, pick, type Random } from './mutate.js';
import { type Store, type Target, target } from './target.js';

const SIDES = [0, 1, 3, 255, 0x3fff, 0x4000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

/** Where each format tells its sides: the offset, the bytes, and whether the last of them counts least. */
const HEADERS: Readonly<Record<string, readonly [at: number, bytes: 2 | 4, bigEndian: boolean][]>> = {
  png: [
    [16, 4, true],
    [20, 4, true],
  ],
  gif: [
    [6, 2, false],
    [8, 2, false],
  ],
  webp: [[26, 4, false]],
};

/** A picture whose header tells another size, or one with bytes changed anywhere. */
function pictureMutant(pictures: readonly [format: string, bytes: Buffer][], random: Random): Buffer {
  const [format, good] = pick(random, pictures);
  const fields = HEADERS[format] ?? [];
  if (fields.length === 0 || random() < 0.6) return mutant(good, random);
  const bytes = Buffer.from(good);
  const [at, width, bigEndian] = pick(random, fields);
  const side = pick(random, SIDES) % 2 ** (8 * width);
  if (bigEndian) bytes.writeUIntBE(side, at, width);
  else bytes.writeUIntLE(side, at, width);
  // A chunk of a PNG has its checksum, which a careful forger would set: half of them are.
  if (format === 'png' && random() < 0.5) bytes.writeUInt32BE(crcOf(bytes.subarray(12, 29)), 29);
  return random() < 0.8 ? bytes : mutant(bytes, random);
}

/** CRC-32 as PNG has it. */
function crcOf(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

async function samplePictures(): Promise<[format: string, bytes: Buffer][]> {
  const data = Buffer.from(Array.from({ length: 12 * 9 * 3 }, (_, i) => (i * 37) % 256));
  const image = () => sharp(data, { raw: { width: 12, height: 9, channels: 3 } });
  const grey = () => image().greyscale().toColourspace('b-w');
  return [
    ['png', await image().png().toBuffer()],
    ['png', await grey().png({ progressive: true }).toBuffer()],
    ['png', await image().png({ palette: true }).toBuffer()],
    ['jpeg', await image().jpeg().toBuffer()],
    ['jpeg', await image().jpeg({ progressive: true }).toBuffer()],
    ['gif', await image().gif().toBuffer()],
    ['webp', await image().webp().toBuffer()],
    ['webp', await image().webp({ lossless: true }).toBuffer()],
    ['tiff', await image().tiff().toBuffer()],
  ];
}

async function picture(file: string): Promise<string> {
  const { width, height, data } = await decodeImage(readFileSync(file), file);
  return `${width}x${height} ${sha256OfText(Buffer.from(data).toString('base64'))}`;
}

/** Keys, classes and bytes of a Parquet file, before pictures are decoded. */
async function parquet(file: string): Promise<string> {
  const { total, classes, images } = await openParquetImages(file);
  const rows: string[] = [];
  for await (const { key, label, bytes } of images(0, Math.min(total, MOST_ROWS))) {
    rows.push(`${key} ${label} ${Buffer.from(bytes!).toString('hex')}`);
  }
  return sha256OfText(`${classes} ${rows.join('\n')}`);
}

/** A count that is a lie is not gone through to its end. */
const MOST_ROWS = 1000;

/** Keys, classes and pixels of an archive of pictures. */
const archive = (name: string, folder: string) => async (file: string) => {
  const named = path.join(folder, name);
  copyFileSync(file, named);
  const rows: string[] = [];
  for await (const { key, label, image } of (await openImages(named)).images)
    rows.push(`${key} ${label} ${image.data}`);
  return sha256OfText(rows.join('\n'));
};

async function zipOf(folder: string, pictures: readonly [format: string, bytes: Buffer][]): Promise<Buffer> {
  const file = path.join(folder, 'made.zip');
  const fd = openSync(file, 'w');
  const writer = new ZipWriter(fd);
  for (const [i, [format, bytes]] of pictures.slice(0, 4).entries()) {
    await writer.add(`class${i % 2}/${i}.${format}`, bytes.length, [bytes]);
  }
  writer.end();
  closeSync(fd);
  return readFileSync(file);
}

export async function pictureTargets(folder: string, store: Store): Promise<Target[]> {
  const pictures = await samplePictures();
  const files = ['snappy', 'zstd'].map((name) => readFileSync(fixturePath(`parquet/${name}.parquet`)));
  return [
    await target(
      'pictures',
      false,
      pictures.map(([, bytes]) => bytes),
      picture,
      store,
      (random) => pictureMutant(pictures, random),
    ),
    await target('parquet', false, files, parquet, store, (random) => parquetMutant(pick(random, files), random)),
    await target('zip of pictures', true, [await zipOf(folder, pictures)], archive('pictures.zip', folder), store),
  ];
}

/** Half of the changes are in the footer, which tells where everything is. */
function parquetMutant(good: Buffer, random: Random): Buffer {
  if (random() < 0.5) return mutant(good, random);
  const footer = good.readUInt32LE(good.length - 8);
  const start = good.length - 8 - footer;
  const changed = mutant(good.subarray(start, start + footer), random);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(random() < 0.9 ? changed.length : below(random, 2 ** 31));
  return Buffer.concat([good.subarray(0, start), changed, length, good.subarray(good.length - 4)]);
}
