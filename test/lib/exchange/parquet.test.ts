import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { tableFromIPC } from 'apache-arrow';
import { parquetMetadataAsync } from 'hyparquet';
import { DataError } from '../../../src/lib/errors.js';
import { exportTensors } from '../../../src/lib/exchange/export-tensors.js';
import { openRows } from '../../../src/lib/exchange/import-tensors.js';
import type { Row } from '../../../src/lib/exchange/rows.js';
import type { StreamSchema } from '../../../src/lib/stream/schema.js';
import { atomicFileSink } from '../../../src/lib/stream/sink.js';
import { TensorWriter } from '../../../src/lib/stream/writer.js';
import { fixturePath, temporaryFolder } from '../../support.js';

async function imported(
  input: string,
): Promise<{ columns: readonly unknown[]; notes: readonly string[]; rows: Row[] }> {
  const { columns, notes = [], rows } = await openRows(input, {});
  return { columns, notes, rows: await gathered(rows) };
}

async function gathered<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function writeRows(file: string, schema: StreamSchema, rows: readonly Row[]): Promise<void> {
  const sink = atomicFileSink(file);
  const writer = new TensorWriter(sink, schema);
  for (const { key, label, tensors } of rows) await writer.append(key, label, tensors);
  await writer.end();
  await sink.close();
}

test('lists of pyarrow become tensors of their depth, texts keys, nulls no class', async () => {
  const { columns, notes, rows } = await imported(fixturePath('parquet/tensors.parquet'));
  assert.deepEqual(columns, [
    { name: 'feature', dtype: 'f32', shape: [2, 3], dimNames: ['tokens', 'dim'] },
    { name: 'hidden', dtype: 'f16', shape: [4], dimNames: undefined },
    { name: 'bytes', dtype: 'u8', shape: [2], dimNames: undefined },
  ]);
  assert.deepEqual(notes, ['columns that are not taken: note']);
  assert.deepEqual(
    rows.map(({ key, label }) => `${key} ${label}`),
    ['cat/0.png 0', 'cat/1.png 1', 'cat/2.png -1', 'cat/3.png 0', 'cat/4.png 1'],
  );
  assert.deepEqual([...rows[4].tensors.feature], [24, 25, 26, 27, 28, 29]);
  assert.deepEqual([...rows[4].tensors.bytes], [4, 251]);
  assert.equal(rows[4].tensors.hidden[3], 0x3c00); // 1 as a half
});

test('lists of other lengths, of whole numbers and of nothing are refused by name', async () => {
  await assert.rejects(
    imported(fixturePath('parquet/ragged.parquet')),
    /row 1: hidden: a list of 1 in dimension 0 of \[2\]/,
  );
  await assert.rejects(imported(fixturePath('parquet/integers.parquet')), /column 'other' holds lists of int64/);
  await assert.rejects(imported(fixturePath('parquet/no-images.parquet')), /holds no column of images/);
});

test('a stream comes back from Parquet with its keys, classes, header and values, halves and 8 bits as f32', async () => {
  const folder = temporaryFolder();
  const file = path.join(folder, 'rows');
  const columns = [
    { name: 'latent', dtype: 'f16' as const, shape: [2, 1, 2] },
    { name: 'code', dtype: 'i8' as const, shape: [2, 2] },
    { name: 'code.scale', dtype: 'f16' as const, shape: [2] },
  ];
  const rows = [0, 1, 2].map((i) => ({
    key: `ä/${i}`,
    label: i - 1,
    tensors: {
      latent: Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x3800 + i),
      code: Int8Array.of(i, -127, 3, 127),
      'code.scale': Uint16Array.of(0x3c00, 0x3800),
    },
  }));
  await writeRows(file, { columns, metadata: { 'repa.kind': 'latents', 'repa.classes': '["a","b"]' } }, rows);
  const out = path.join(folder, 'rows.parquet');
  assert.deepEqual(await exportTensors(file, out, {}), []);
  const { metadata } = await openRows(out, {});
  assert.equal(metadata?.['repa.classes'], '["a","b"]');
  const back = await imported(out);
  assert.deepEqual(
    back.columns.map((column) => (column as { shape: number[] }).shape),
    [
      [2, 1, 2],
      [2, 2],
    ],
  );
  assert.deepEqual(
    back.rows.map(({ key, label }) => `${key} ${label}`),
    ['ä/0 -1', 'ä/1 0', 'ä/2 1'],
  );
  assert.deepEqual([...back.rows[2].tensors.latent], [1, -2, 2 ** -24, 0.5 + 2 * 2 ** -11]);
  assert.deepEqual([...back.rows[2].tensors.code], [2, -127, 1.5, 63.5]);
  // What fixes the lengths of lists for readers of Arrow.
  const bytes = readFileSync(out);
  const { key_value_metadata: entries } = await parquetMetadataAsync(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  );
  const schema = Buffer.from(entries!.find(({ key }) => key === 'ARROW:schema')!.value!, 'base64');
  assert.deepEqual(tableFromIPC(schema).schema.fields.map(String), [
    'key: Utf8',
    'label: Int64',
    'latent: FixedSizeList[2]<FixedSizeList[1]<FixedSizeList[2]<Float32>>>',
    'code: FixedSizeList[2]<FixedSizeList[2]<Float32>>',
  ]);
});

test('images go to Parquet as the image column of datasets, and come back as they were', async () => {
  const folder = temporaryFolder();
  const file = path.join(folder, 'images');
  const image = Uint8Array.from({ length: 2 * 3 * 3 }, (_, i) => 13 * i);
  const metadata = { 'repa.kind': 'images', 'repa.classes': '["cat","dog"]' };
  const row = { key: 'dog/1.jpg', label: 1, tensors: { image } };
  await writeRows(file, { columns: [{ name: 'image', dtype: 'u8', shape: [2, 3, 3] }], metadata }, [row]);
  const out = path.join(folder, 'images.parquet');
  await exportTensors(file, out, {});
  const source = await openRows(out, {});
  assert.deepEqual(source.metadata, { 'repa.classes': '["cat","dog"]' });
  assert.deepEqual(await gathered(source.rows), [row]);
});

test('a file of tensors that is cut anywhere is refused', async () => {
  const whole = readFileSync(fixturePath('parquet/tensors.parquet'));
  const file = path.join(temporaryFolder(), 'x.parquet');
  for (let cut = 0; cut < whole.length; cut += 211) {
    writeFileSync(file, whole.subarray(0, cut));
    await assert.rejects(imported(file), DataError, String(cut));
  }
});
