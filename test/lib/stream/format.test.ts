import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { DataError, MissingInputError } from '../../../src/lib/errors.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { openTensorStream } from '../../../src/lib/stream/reader.js';
import { floatColumn, floatRow } from '../../../src/lib/stream/rows.js';
import { STORAGE, type StreamSchema, type TensorColumn, withScales } from '../../../src/lib/stream/schema.js';
import { TensorWriter } from '../../../src/lib/stream/writer.js';
import { fixturePath, temporaryFolder } from '../../support.js';
import { encode, encodeSmall, MemorySink, type Row, readRows, SMALL_ROWS, SMALL_SCHEMA } from './support.js';

const folder = temporaryFolder();
const file = path.join(folder, 'stream');

const bits = { f16: 0xffff, f32: 0xffffffff, u8: 0xff, i8: 0xff };

/** Bytes of two rows of the fixtures, as the writer counts them. */
const BATCH_OF_TWO = 2 * (64 + 16 + 6 + 6 + 4 + 6);

/** One number has no vectors that could share a scale. */
const notCompact = ({ dtype }: TensorColumn): TensorColumn['dtype'] => (dtype === 'i8' ? 'u8' : dtype);

/** Any values, by their bits: NaN payloads must survive too. */
function anyTensor({ dtype, shape }: TensorColumn): fc.Arbitrary<Row['tensors'][string]> {
  const size = sizeOf(shape);
  return fc.array(fc.nat(bits[dtype]), { minLength: size, maxLength: size }).map((values) => {
    if (dtype === 'f32') return new Float32Array(Uint32Array.from(values).buffer);
    return STORAGE[dtype].from(values);
  });
}

const anyColumns = fc
  .uniqueArray(
    fc.record(
      {
        name: fc.stringMatching(/^[A-Za-z][\w.-]{0,9}$/).filter((name) => name !== 'key' && name !== 'label'),
        dtype: fc.constantFrom('f16', 'f32', 'u8', 'i8'),
        shape: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
      },
      { noNullPrototype: true },
    ),
    { selector: ({ name }) => name, maxLength: 3 },
  )
  .map((columns) =>
    withScales(columns.map((column) => (column.shape.length < 2 ? { ...column, dtype: notCompact(column) } : column))),
  )
  .filter((columns) => new Set(columns.map(({ name }) => name)).size === columns.length);

const anyStream = anyColumns.chain((columns) =>
  fc.record({
    schema: fc.record({
      columns: fc.constant(columns),
      metadata: fc.dictionary(
        fc.string().map((key) => `x.${key}`),
        fc.string({ unit: 'grapheme' }),
      ),
    }),
    rows: fc.uniqueArray(
      fc.record({
        key: fc.string({ unit: 'grapheme' }),
        label: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        tensors: fc.record(Object.fromEntries(columns.map((column) => [column.name, anyTensor(column)]))),
      }),
      { maxLength: 12, selector: ({ key }) => key },
    ),
    batchBytes: fc.integer({ min: 1, max: 2000 }),
  }),
);

/** Values as bytes, so that NaNs compare by their bits. */
const comparable = (rows: readonly Row[]): unknown =>
  rows.map(({ key, label, tensors }) => ({
    key,
    label,
    tensors: Object.entries(tensors).map(([name, values]) => [
      name,
      Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex'),
    ]),
  }));

describe('tensor stream', () => {
  it('gives back any rows, columns and metadata, in batches of any size', async () => {
    await fc.assert(
      fc.asyncProperty(anyStream, async ({ schema, rows, batchBytes }) => {
        fs.writeFileSync(file, await encode(schema as StreamSchema, rows as Row[], batchBytes));
        const read = await readRows(file);
        assert.deepEqual(read.schema.columns, schema.columns);
        assert.deepEqual({ ...read.schema.metadata }, { 'repa.format': '2', ...schema.metadata });
        assert.deepEqual(comparable(read.rows), comparable(rows as Row[]));
      }),
    );
  });

  it('reads streams of both versions of the format, alone and one after the other, and writes the second', async () => {
    const versions = ['1', '2'].map((version) => fixturePath(`stream/format-${version}.arrows`));
    const [first, second] = await Promise.all(versions.map((version) => readRows(version)));
    assert.deepEqual(comparable(first.rows), comparable(second.rows));
    assert.deepEqual(first.rows[4], {
      key: 'ü/4.png',
      label: 3,
      tensors: {
        latent: Float32Array.of(4, 4.125, 4.25, 4.375),
        cls: Uint16Array.of(0x4400, 0x4380, 0x4300),
        feature: Int8Array.of(1, -2, 127, 0, 0, 127),
        'feature.scale': Uint16Array.of(0x3c00, 0x2809),
        image: Uint8Array.of(24, 25, 26, 27, 28, 29),
      },
    });
    assert.deepEqual(await encode(first.schema, first.rows, BATCH_OF_TWO), fs.readFileSync(versions[1]));
    const fewer = { ...first.schema, metadata: {} };
    const others = first.rows.map((row) => ({ ...row, key: `other/${row.key}` }));
    fs.writeFileSync(file, Buffer.concat([fs.readFileSync(versions[0]), await encode(fewer, others)]));
    assert.equal((await readRows(file)).rows.length, 10);
  });

  it('is the same bytes at every writing', async () => {
    assert.deepEqual(await encodeSmall(), await encodeSmall());
  });

  it('concatenates: equal fields continue the rows, the first metadata stands', async () => {
    const other = { ...SMALL_SCHEMA, metadata: { 'repa.kind': 'other' } };
    const empty = await encode(SMALL_SCHEMA, []);
    const more = SMALL_ROWS.map((row) => ({ ...row, key: `more/${row.key}` }));
    fs.writeFileSync(file, Buffer.concat([await encodeSmall(), empty, await encode(other, more)]));
    const { schema, rows } = await readRows(file);
    assert.deepEqual(comparable(rows), comparable([...SMALL_ROWS, ...more]));
    assert.equal(schema.metadata['repa.kind'], 'test');
  });

  it('refuses to concatenate streams of other fields', async () => {
    const [latent, image] = SMALL_SCHEMA.columns as [TensorColumn, TensorColumn];
    const others = [
      [latent],
      [image, latent],
      [{ ...latent, shape: [4], dimNames: ['C'] }, image],
      [{ ...latent, dimNames: ['W', 'H'] }, image],
    ];
    for (const columns of others) {
      const other = await encode({ columns, metadata: {} }, []);
      fs.writeFileSync(file, Buffer.concat([await encodeSmall(), other]));
      await assert.rejects(readRows(file), (error: Error) => {
        assert.ok(error instanceof DataError);
        assert.match(error.message, /other fields/);
        return true;
      });
    }
  });

  it('converts f32 given for f16, and back', async () => {
    const schema: StreamSchema = { columns: [{ name: 'x', dtype: 'f16', shape: [2] }], metadata: {} };
    const values = [Float32Array.of(0.5, -3), Float32Array.of(65504, Number.NEGATIVE_INFINITY)];
    fs.writeFileSync(
      file,
      await encode(
        schema,
        values.map((x, i) => ({ key: `${i}`, label: i, tensors: { x } })),
      ),
    );
    for await (const batch of await openTensorStream(file)) {
      assert.deepEqual([...floatColumn(batch, 'x')], [0.5, -3, 65504, Number.NEGATIVE_INFINITY]);
      assert.deepEqual([...floatRow(batch, 'x', 1)], [65504, Number.NEGATIVE_INFINITY]);
      assert.throws(() => floatRow(batch, 'y', 0), /no column 'y'/);
    }
  });

  it('refuses rows that do not fit', async () => {
    const schema: StreamSchema = { columns: [{ name: 'x', dtype: 'f16', shape: [2] }], metadata: {} };
    const writer = new TensorWriter(new MemorySink(), schema);
    await assert.rejects(
      writer.append('a', 0, { x: Float32Array.of(1e5, 0) }),
      /a: the value 100000 of 'x' is too large/,
    );
    await assert.rejects(writer.append('a', 0, { x: Float32Array.of(1) }), /has 1 values, its schema says 2/);
    await assert.rejects(writer.append('a', 0, {}), /has no values/);
    await assert.rejects(writer.append('a', 0, { x: Uint8Array.of(1, 2) }), /cannot hold a Uint8Array/);
    await assert.rejects(writer.append('a', 0.5, { x: Float32Array.of(1, 2) }), /no 32-bit integer/);
    assert.equal(writer.rows, 0);
    const reserved = { columns: [{ name: 'key', dtype: 'f16', shape: [2] } as const], metadata: {} };
    assert.throws(() => new TensorWriter(new MemorySink(), reserved), /'key' is malformed or taken/);
  });

  it('writes batches as they fill and holds no more than one', async () => {
    let written = 0;
    let largest = 0;
    const sink = new MemorySink();
    sink.write = async (chunks) => {
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
      written += bytes;
      largest = Math.max(largest, bytes);
    };
    const writer = new TensorWriter(sink, { columns: [{ name: 'x', dtype: 'f32', shape: [256] }], metadata: {} });
    const x = new Float32Array(256);
    for (let row = 0; row < 20_000; row++) await writer.append(`${row}`, 0, { x });
    assert.equal(writer.rows, 20_000);
    assert.ok(written > 16 * 2 ** 20, `${written} of 20 MiB written`);
    assert.ok(largest <= 4 * 2 ** 20, `a batch of ${largest} bytes`);
  });

  it('names what a missing or foreign input lacks', async () => {
    await assert.rejects(openTensorStream(path.join(folder, 'absent')), MissingInputError);
    const cases: [content: string, message: RegExp][] = [
      ['', /empty: no stream begins here/],
      ['ARROW1\0\0 and more', /Arrow IPC file \(Feather\)/],
      ['\x93NUMPY and more', /not a tensor stream/],
    ];
    for (const [content, message] of cases) {
      fs.writeFileSync(file, content, 'latin1');
      await assert.rejects(openTensorStream(file), (error: Error) => {
        assert.ok(error instanceof DataError);
        assert.match(error.message, message);
        assert.ok(error.message.startsWith(file));
        return true;
      });
    }
  });

  it('is read once', async () => {
    fs.writeFileSync(file, await encodeSmall());
    const reader = await openTensorStream(file);
    for await (const _ of reader);
    assert.throws(() => reader[Symbol.asyncIterator](), /read only once/);
  });
});
