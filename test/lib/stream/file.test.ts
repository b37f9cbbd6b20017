import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DataError, MissingInputError } from '../../../src/lib/errors.js';
import { openTensorFile, reopenTensorFile, type TensorFile } from '../../../src/lib/stream/file.js';
import { rawRow } from '../../../src/lib/stream/rows.js';
import type { StreamSchema } from '../../../src/lib/stream/schema.js';
import { partName } from '../../../src/lib/stream/shards.js';
import { temporaryFolder } from '../../support.js';
import { encode, encodeSmall, type Row, readRows } from './support.js';

const folder = temporaryFolder();
const file = path.join(folder, 'stream');

const SCHEMA: StreamSchema = {
  columns: [
    { name: 'half', dtype: 'f16', shape: [3] },
    { name: 'single', dtype: 'f32', shape: [2, 2] },
    { name: 'byte', dtype: 'u8', shape: [5] },
  ],
  metadata: {},
};
const BYTES_PER_ROW = 64 + 6 + 16 + 5; // as the writer counts them

/** Rows whose every value tells its row, column and place. */
const makeRows = (count: number, first = 0): Row[] =>
  Array.from({ length: count }, (_, i) => {
    const n = first + i;
    return {
      key: `key-${n}`,
      label: n % 7,
      tensors: {
        half: Uint16Array.from([0, 1, 2], (place) => 0x6400 + ((n * 3 + place) % 1024)), // 1024 + (...): integers in f16
        single: Float32Array.from([0, 1, 2, 3], (place) => n * 10 + place),
        byte: Uint8Array.from([0, 1, 2, 3, 4], (place) => (n * 5 + place) % 256),
      },
    };
  });

const expected = {
  half: (n: number) => [0, 1, 2].map((place) => 1024 + ((n * 3 + place) % 1024)),
  single: (n: number) => [0, 1, 2, 3].map((place) => n * 10 + place),
  byte: (n: number) => [0, 1, 2, 3, 4].map((place) => (n * 5 + place) % 256),
};

const sizes = { half: 3, single: 4, byte: 5 };

/** All rows, as the file gives them in order. */
function* inOrder(opened: TensorFile): Generator<Row> {
  for (const batch of opened.inOrder()) {
    for (let row = 0; row < batch.rows; row++) {
      const tensors = Object.keys(batch.tensors).map((name) => [name, rawRow(batch, name, row).slice()]);
      yield { key: batch.keys[row], label: batch.labels[row], tensors: Object.fromEntries(tensors) };
    }
  }
}

async function readEachRow(): Promise<void> {
  const opened = await openTensorFile(file);
  try {
    for (let row = 0; row < opened.rows; row++) opened.read('image', [row], new Float32Array(3));
  } finally {
    opened.close();
  }
}

const isDataError =
  (message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof DataError, String(error));
    assert.match(error.message, message);
    return true;
  };

describe('TensorFile', () => {
  it('gathers any rows of any column, from batches and concatenated streams of any size', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(30), { minLength: 1, maxLength: 4 }).filter((counts) => counts.some((count) => count > 0)),
        fc.integer({ min: 1, max: 10 }),
        fc.array(fc.nat(), { maxLength: 60 }),
        async (counts, rowsPerBatch, picks) => {
          const streams: Buffer[] = [];
          let total = 0;
          for (const count of counts) {
            streams.push(await encode(SCHEMA, makeRows(count, total), rowsPerBatch * BYTES_PER_ROW));
            total += count;
          }
          fs.writeFileSync(file, Buffer.concat(streams));
          const opened = await openTensorFile(file);
          assert.equal(opened.rows, total);
          assert.deepEqual(
            opened.keys(),
            [...Array(total).keys()].map((n) => `key-${n}`),
          );
          assert.deepEqual(
            [...opened.labels()],
            [...Array(total).keys()].map((n) => n % 7),
          );
          const rows = picks.map((pick) => pick % total);
          for (const column of ['half', 'single', 'byte'] as const) {
            const out = new Float32Array(rows.length * sizes[column]);
            opened.read(column, rows, out);
            assert.deepEqual([...out], rows.flatMap(expected[column]));
          }
          opened.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('is known by what its rows hold: every value, key, label and their order, and not by its header', async () => {
    const contentOf = async (rows: readonly Row[], metadata = {}): Promise<string> => {
      fs.writeFileSync(file, await encode({ ...SCHEMA, metadata }, rows, 2 * BYTES_PER_ROW));
      const opened = await openTensorFile(file);
      opened.close();
      return opened.content;
    };
    const rows = makeRows(5);
    const content = await contentOf(rows);
    assert.equal(await contentOf(rows, { 'repa.command': 'another' }), content);
    const value = structuredClone(rows);
    value[3].tensors.byte[0] ^= 1;
    const others = [
      value,
      [{ ...rows[0], key: 'x' }, ...rows.slice(1)],
      [{ ...rows[0], label: 5 }, ...rows.slice(1)],
      rows.slice(1),
      rows.toReversed(),
    ];
    const found = await others.reduce<Promise<string[]>>(
      async (all, each) => [...(await all), await contentOf(each)],
      Promise.resolve([]),
    );
    assert.equal(new Set([content, ...found]).size, 1 + others.length);
  });

  it('refuses every flipped bit, at the opening or when the row is read', async () => {
    const stream = await encodeSmall();
    fs.writeFileSync(file, stream);
    const fd = fs.openSync(file, 'r+'); // writing single bytes: thousands of whole files would take a minute
    for (let bit = 0; bit < stream.length * 8; bit++) {
      const at = bit >> 3;
      fs.writeSync(fd, Uint8Array.of(stream[at] ^ (1 << (bit & 7))), 0, 1, at);
      await assert.rejects(readEachRow(), DataError, `bit ${bit}`);
      fs.writeSync(fd, stream, at, 1, at);
    }
    fs.closeSync(fd);
    await readEachRow();
  });

  it('refuses every truncation at the opening', async () => {
    const stream = await encodeSmall();
    fs.writeFileSync(file, stream);
    for (let length = stream.length - 1; length >= 0; length--) {
      fs.truncateSync(file, length);
      await assert.rejects(openTensorFile(file), DataError);
    }
  });

  it('reads intact batches of a file in which another is damaged', async () => {
    const stream = await encodeSmall();
    stream[stream.length - 9] ^= 1; // padding of the last batch's last tensor: nothing but the checksum sees it
    fs.writeFileSync(file, stream);
    const opened = await openTensorFile(file);
    const out = new Float32Array(4);
    opened.read('latent', [1], out);
    assert.equal(out[1], 1);
    assert.throws(() => opened.read('latent', [2], out), isDataError(/checksum mismatch in the tensors of rows 2-2/));
    assert.throws(() => opened.read('latent', [2], out), DataError, 'and again');
    opened.close();
  });

  it('refuses a key that comes twice, naming both rows', async () => {
    const twice = isDataError(/rows 2 and 5 have the same key 'key-2'/);
    await assert.rejects(encode(SCHEMA, [...makeRows(5), ...makeRows(1, 2)], 2 * BYTES_PER_ROW), twice);
    const streams = [makeRows(5), makeRows(1, 2)].map((rows) => encode(SCHEMA, rows, 2 * BYTES_PER_ROW));
    fs.writeFileSync(file, Buffer.concat(await Promise.all(streams)));
    await assert.rejects(openTensorFile(file), twice);
    await assert.rejects(readRows(file), twice);
  });

  it('refuses rows, columns and lengths that are not there', async () => {
    fs.writeFileSync(file, await encode(SCHEMA, makeRows(3)));
    const opened = await openTensorFile(file);
    const out = new Float32Array(3);
    assert.throws(() => opened.read('half', [3], out), /row 3 of 3/);
    assert.throws(() => opened.read('half', [-1], out), RangeError);
    assert.throws(() => opened.read('half', [0.5], out), RangeError);
    assert.throws(() => opened.read('none', [0], out), /no column 'none'/);
    assert.throws(() => opened.read('half', [0, 1], out), /do not fit/);
    opened.close();
  });

  it('sees a file that was cut after it was opened', async () => {
    fs.writeFileSync(file, await encode(SCHEMA, makeRows(20), 2 * BYTES_PER_ROW));
    const opened = await openTensorFile(file);
    const out = new Float32Array(3);
    opened.read('half', [19], out);
    opened.read('half', [0], out);
    fs.truncateSync(file, 100);
    assert.throws(() => opened.read('half', [19], out), isDataError(/truncated/));
    opened.close();
  });

  it('is for files', async () => {
    await assert.rejects(openTensorFile(path.join(folder, 'absent')), MissingInputError);
    await assert.rejects(openTensorFile('/dev/null'), isDataError(/not a regular file/));
  });
});

describe('TensorFile over a shard folder', () => {
  /** A folder of three parts of 4, 0 and 5 rows. */
  async function makeShards(name: string): Promise<string> {
    const shards = path.join(folder, name);
    fs.mkdirSync(shards);
    const parts = [makeRows(4), [], makeRows(5, 4)];
    for (const [index, rows] of parts.entries()) {
      fs.writeFileSync(path.join(shards, partName({ index, count: 3 })), await encode(SCHEMA, rows, 2 * BYTES_PER_ROW));
    }
    return shards;
  }

  async function readAll(shards: string): Promise<{ keys: string[]; labels: number[]; values: number[] }> {
    const opened = await openTensorFile(shards);
    const values = new Float32Array(9 * 4);
    opened.read('single', [8, 0, 5, 3, 4, 1, 2, 6, 7], values);
    const result = { keys: [...opened.keys()], labels: [...opened.labels()], values: [...values] };
    opened.close();
    return result;
  }

  const rows = makeRows(9);
  const everything = {
    keys: rows.map(({ key }) => key),
    labels: rows.map(({ label }) => label),
    values: [8, 0, 5, 3, 4, 1, 2, 6, 7].flatMap(expected.single),
  };

  it('is one row space, the same in sequence, whatever an index.json beside the parts says', async () => {
    const shards = await makeShards('whole');
    const index = path.join(shards, 'index.json');
    for (const text of [undefined, 'null', '{"version": 1, "parts": {"part-00000-of-00003.arrows": 7}}']) {
      if (text !== undefined) fs.writeFileSync(index, text);
      assert.deepEqual(await readAll(shards), everything);
      assert.deepEqual((await readRows(shards)).rows, rows);
      assert.deepEqual([...inOrder(await openTensorFile(shards))], rows);
    }
  });

  it('sees what is written into a part while it is open, and takes what is only touched', async () => {
    const shards = await makeShards('changed');
    const part = path.join(shards, partName({ index: 2, count: 3 }));
    const opened = await openTensorFile(shards);
    const out = new Float32Array(4);
    for (const row of [4, 8, 4]) opened.read('single', [row], out);
    fs.utimesSync(part, new Date(), new Date(1e12));
    opened.read('single', [4], out);
    assert.deepEqual([...out], expected.single(4));
    const bytes = fs.readFileSync(part);
    bytes.writeFloatLE(1e6, bytes.indexOf(Buffer.from(Float32Array.of(40).buffer)));
    fs.writeFileSync(part, bytes);
    opened.read('single', [0], out);
    assert.throws(() => opened.read('single', [4], out), isDataError(/checksum mismatch in the tensors/));
    assert.throws(() => [...opened.inOrder()], isDataError(/checksum mismatch in the tensors/));
    fs.writeFileSync(part, await encode(SCHEMA, makeRows(5, 104), 2 * BYTES_PER_ROW));
    assert.throws(() => opened.keys(), isDataError(/changed since the file was opened/));
    opened.close();
  });

  it('keeps reading the file that it opened when another takes its name', async () => {
    fs.writeFileSync(file, await encode(SCHEMA, makeRows(9), 2 * BYTES_PER_ROW));
    const opened = await openTensorFile(file);
    fs.writeFileSync(`${file}.new`, await encode(SCHEMA, makeRows(9, 100), 2 * BYTES_PER_ROW));
    fs.renameSync(`${file}.new`, file);
    assert.deepEqual([...inOrder(opened)], rows);
    assert.throws(() => reopenTensorFile(opened.opened).keys(), isDataError(/changed since the file was opened/));
    opened.close();
  });

  it('refuses a key that two parts share, a part of other fields, and missing parts', async () => {
    const shards = await makeShards('bad');
    const second = path.join(shards, partName({ index: 1, count: 3 }));
    fs.writeFileSync(second, await encode(SCHEMA, makeRows(1, 8)));
    const twice = isDataError(/rows 4 and 9 have the same key 'key-8'/);
    await assert.rejects(openTensorFile(shards), twice);
    await assert.rejects(readRows(shards), twice);
    fs.writeFileSync(second, await encodeSmall());
    await assert.rejects(openTensorFile(shards), isDataError(/part-00001-of-00003.arrows: other fields/));
    await assert.rejects(readRows(shards), isDataError(/part-00001-of-00003.arrows: other fields/));
    fs.rmSync(second);
    await assert.rejects(openTensorFile(shards), isDataError(/incomplete, missing part-00001-of-00003.arrows/));
    await assert.rejects(readRows(shards), isDataError(/incomplete, missing part-00001-of-00003.arrows/));
  });
});
