/** Small images, and tensor streams of small numbers, for the tests of verbs. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { fillNormal, PURPOSE } from '../../src/lib/numbers/random.js';
import { sizeOf } from '../../src/lib/numbers/typed-array.js';
import type { TensorColumn } from '../../src/lib/stream/schema.js';
import { atomicFileSink } from '../../src/lib/stream/sink.js';
import { TensorWriter } from '../../src/lib/stream/writer.js';

/** Writes `count` distinct pictures, in turn into `classes` folders, and returns their keys. */
export async function makeImages(folder: string, count: number, { classes = 2, side = 16 } = {}): Promise<string[]> {
  const keys: string[] = [];
  for (let i = 0; i < count; i++) {
    const key = `class${i % classes}/${String(i).padStart(3, '0')}.png`;
    const data = Buffer.alloc(side * side * 3);
    for (let at = 0; at < data.length; at++) data[at] = (at * (7 + (i % classes) * 6) + i * 31) % 256;
    mkdirSync(path.join(folder, path.dirname(key)), { recursive: true });
    await sharp(data, { raw: { width: side, height: side, channels: 3 } })
      .png()
      .toFile(path.join(folder, key));
    keys.push(key);
  }
  return keys.sort();
}

/** Writes a stream of standard normals, one row a key, each as `change` leaves it; labels are 0 and 1 in turn. */
export async function makeTensors(
  file: string,
  keys: readonly string[],
  column: TensorColumn | readonly TensorColumn[],
  metadata: Record<string, string> = {},
  change: (values: Float32Array, row: number) => void = () => {},
  label: (row: number) => number = (row) => row % 2,
): Promise<void> {
  const sink = await atomicFileSink(file);
  const columns = [column].flat() as TensorColumn[];
  const writer = new TensorWriter(sink, { columns, metadata });
  for (const [row, key] of keys.entries()) {
    const tensors = columns.map(({ name, shape }) => {
      const values = new Float32Array(sizeOf(shape));
      fillNormal(values, 1, PURPOSE.noise, row);
      change(values, row);
      return [name, values];
    });
    await writer.append(key, label(row), Object.fromEntries(tensors));
  }
  await writer.end();
}
