import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DataError, MissingInputError } from '../../../src/lib/errors.js';
import { openTensorFile } from '../../../src/lib/stream/file.js';
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
    fs.writeFileSync(file, await encode(SCHEMA, [...makeRows(5), ...makeRows(1, 2)], 2 * BYTES_PER_ROW));
    await assert.rejects(openTensorFile(file), isDataError(/rows 2 and 5 have the same key 'key-2'/));
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

  it('is one row space, the same in sequence, with and without index.json', async () => {
    const shards = await makeShards('whole');
    const index = path.join(shards, 'index.json');
    assert.deepEqual(await readAll(shards), everything);
    const { parts } = JSON.parse(fs.readFileSync(index, 'utf8'));
    assert.deepEqual(
      Object.values(parts).map((part) => (part as { rows: number }).rows),
      [4, 0, 5],
    );
    assert.deepEqual(await readAll(shards), everything, 'from the index');
    fs.writeFileSync(index, '{"version": 1, "parts": {"part-00000-of-00003.arrows": 7}}');
    assert.deepEqual(await readAll(shards), everything, 'from a damaged index');
    assert.deepEqual(JSON.parse(fs.readFileSync(index, 'utf8')).parts, parts, 'which is made again');
    fs.rmSync(index);
    assert.deepEqual(await readAll(shards), everything);
    assert.deepEqual((await readRows(shards)).rows, rows);
  });

  it('notices a part that changed, by its time or by what lies in it', async () => {
    const shards = await makeShards('changed');
    const part = path.join(shards, partName({ index: 2, count: 3 }));
    await readAll(shards);
    const other = await encode(SCHEMA, makeRows(5, 104), 2 * BYTES_PER_ROW);
    fs.writeFileSync(part, other);
    fs.utimesSync(part, new Date(), new Date(1e12));
    const opened = await openTensorFile(shards);
    assert.equal(opened.keys()[4], 'key-104');
    opened.close();

    const { atime, mtime } = fs.statSync(part);
    fs.writeFileSync(part, await encode(SCHEMA, makeRows(5, 104), 3 * BYTES_PER_ROW));
    fs.appendFileSync(part, Buffer.alloc(Math.max(0, other.length - fs.statSync(part).size)));
    fs.truncateSync(part, other.length);
    fs.utimesSync(part, atime, mtime);
    const stale = await openTensorFile(shards);
    for (const row of [4, 8]) assert.throws(() => stale.read('half', [row], new Float32Array(3)), DataError);
    assert.throws(() => stale.keys(), DataError);
    stale.close();
  });

  it('does not believe an index that someone changed', async () => {
    const shards = await makeShards('swapped');
    const index = path.join(shards, 'index.json');
    await readAll(shards);
    const parsed = JSON.parse(fs.readFileSync(index, 'utf8'));
    parsed.parts[partName({ index: 0, count: 3 })].batches.reverse();
    fs.writeFileSync(index, JSON.stringify(parsed));
    assert.deepEqual(await readAll(shards), everything);
  });

  it('refuses a key that two parts share, a part of other fields, and missing parts', async () => {
    const shards = await makeShards('bad');
    const second = path.join(shards, partName({ index: 1, count: 3 }));
    fs.writeFileSync(second, await encode(SCHEMA, makeRows(1, 8)));
    await assert.rejects(openTensorFile(shards), isDataError(/rows 4 and 9 have the same key 'key-8'/));
    fs.writeFileSync(second, await encodeSmall());
    await assert.rejects(openTensorFile(shards), isDataError(/part-00001-of-00003.arrows: other fields/));
    await assert.rejects(readRows(shards), isDataError(/part-00001-of-00003.arrows: other fields/));
    fs.rmSync(second);
    await assert.rejects(openTensorFile(shards), isDataError(/incomplete, missing part-00001-of-00003.arrows/));
    await assert.rejects(readRows(shards), isDataError(/incomplete, missing part-00001-of-00003.arrows/));
  });

  it('reads a folder that it cannot write an index to', async () => {
    const shards = await makeShards('locked');
    fs.mkdirSync(path.join(shards, 'index.json'));
    assert.deepEqual(await readAll(shards), everything);
    assert.equal(fs.readdirSync(shards).length, 4, 'nothing is left behind');
  });
});
