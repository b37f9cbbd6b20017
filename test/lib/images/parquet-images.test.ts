import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { DataError } from '../../../src/lib/errors.js';
import { type ImageInputOptions, openImages } from '../../../src/lib/images/open-images.js';
import { fixturePath, temporaryFolder } from '../../support.js';

/** `key label shade` of each image. */
async function seen(input: string, options: ImageInputOptions = {}): Promise<string[]> {
  const rows: string[] = [];
  for await (const { key, label, image } of (await openImages(input, options)).images) {
    rows.push(`${key} ${label} ${image.data[0]}`);
  }
  return rows;
}

const ROWS = [0, 1, 2, 3, 4, 5, 6].map((i) => `00000${i} ${i === 5 ? -1 : i % 3} ${10 * i}`);

test('images and classes of a Parquet file, in two compressions, whole and in parts', async () => {
  for (const name of ['snappy', 'zstd']) {
    const file = fixturePath(`parquet/${name}.parquet`);
    assert.deepEqual(await seen(file), ROWS);
    const parts = await Promise.all([0, 1].map((index) => seen(file, { shard: { index, count: 2 } })));
    assert.deepEqual(parts.flat(), ROWS);
  }
  const { total, metadata, notes } = await openImages(fixturePath('parquet/snappy.parquet'));
  assert.deepEqual([total, metadata], [7, { 'repa.classes': '["cat","dog","owl"]' }]);
  assert.deepEqual(notes, ['columns that are not taken: text']);
});

test('the files of a folder follow each other', async () => {
  const folder = path.join(temporaryFolder(), 'data');
  mkdirSync(folder);
  for (const part of [0, 1]) {
    copyFileSync(fixturePath('parquet/snappy.parquet'), path.join(folder, `train-0000${part}-of-00002.parquet`));
  }
  const rows = await seen(folder);
  assert.equal(rows.length, 14);
  assert.equal(rows[8], '000008 1 10');
});

test('a file without images, and files that are damaged, are refused', async () => {
  await assert.rejects(seen(fixturePath('parquet/no-images.parquet')), /holds no column of images/);
  const hollow = path.join(temporaryFolder(), 'hollow.parquet');
  writeFileSync(hollow, Buffer.concat([Buffer.from('PAR1'), Buffer.alloc(50), Buffer.from('PAR1')]));
  await assert.rejects(seen(hollow), /hollow\.parquet: cannot be read as Parquet: (?!Cannot read)/);
  const whole = readFileSync(fixturePath('parquet/snappy.parquet'));
  const file = path.join(temporaryFolder(), 'x.parquet');
  for (let cut = 0; cut < whole.length; cut += 97) {
    writeFileSync(file, whole.subarray(0, cut));
    await assert.rejects(seen(file), DataError, String(cut));
  }
});
