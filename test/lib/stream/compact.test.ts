import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { DataError } from '../../../src/lib/errors.js';
import { floatFromHalf } from '../../../src/lib/numbers/half.js';
import { fillNormal, PURPOSE } from '../../../src/lib/numbers/random.js';
import { compactVectors, expandVectors } from '../../../src/lib/stream/compact.js';
import { openTensorFile } from '../../../src/lib/stream/file.js';
import { openTensorStream } from '../../../src/lib/stream/reader.js';
import { floatColumn, floatRow } from '../../../src/lib/stream/rows.js';
import { columnsProblem, valueColumns, withScales } from '../../../src/lib/stream/schema.js';
import { atomicFileSink } from '../../../src/lib/stream/sink.js';
import { TensorWriter } from '../../../src/lib/stream/writer.js';
import { temporaryFolder } from '../../support.js';

const [TOKENS, DIM] = [5, 48];
const FEATURE = { name: 'feature', dtype: 'i8', shape: [TOKENS, DIM], dimNames: ['tokens', 'dim'] } as const;

/** Normals of very different lengths. */
function vectors(row: number): Float32Array {
  const values = new Float32Array(TOKENS * DIM);
  fillNormal(values, 3, PURPOSE.noise, row);
  return values.map((value, i) => value * 10 ** ((Math.floor(i / DIM) - 2) * 1.5));
}

test('each component is off by half a scale at most, and a scale is the largest component by 127', () => {
  const floats = vectors(0);
  const compact = compactVectors(floats, DIM);
  const scales = floatFromHalf(compact.scales);
  const back = expandVectors(compact);
  for (let token = 0; token < TOKENS; token++) {
    const largest = Math.max(...floats.subarray(token * DIM, (token + 1) * DIM).map(Math.abs));
    assert.ok(scales[token] >= largest / 127 && scales[token] < (largest / 127) * (1 + 2 ** -9));
    for (let i = token * DIM; i < (token + 1) * DIM; i++) {
      assert.ok(Math.abs(back[i] - floats[i]) <= scales[token] * 0.5001);
    }
  }
});

test('zeros stay zeros, and the smallest numbers do not overflow', () => {
  assert.deepEqual(expandVectors(compactVectors(new Float32Array(4), 2)), new Float32Array(4));
  const tiny = expandVectors(compactVectors(Float32Array.of(1e-9, -1e-9, 3e-6, -7.5e-6), 2));
  assert.deepEqual([...tiny.subarray(0, 2)], [0, 0]);
  assert.ok(Math.abs(tiny[3] + 7.5e-6) < 1e-7);
});

test('i8 columns are read back scaled, in order and by row; their scales are no values', async () => {
  const file = path.join(temporaryFolder(), 'compact');
  const columns = withScales([FEATURE]);
  const writer = new TensorWriter(await atomicFileSink(file), { columns, metadata: {} }, { batchBytes: 1000 });
  for (let row = 0; row < 9; row++) await writer.append(`${row}`, row, { feature: vectors(row) });
  await writer.end();
  const expected = (row: number) => expandVectors(compactVectors(vectors(row), DIM));
  const reader = await openTensorStream(file);
  assert.deepEqual(
    valueColumns(reader.schema.columns).map(({ name }) => name),
    ['feature'],
  );
  for await (const batch of reader) {
    const all = floatColumn(batch, 'feature');
    for (let row = 0; row < batch.rows; row++) {
      assert.deepEqual(floatRow(batch, 'feature', row), expected(batch.start + row));
      assert.deepEqual(all.slice(row * TOKENS * DIM, (row + 1) * TOKENS * DIM), expected(batch.start + row));
    }
  }
  const random = await openTensorFile(file);
  const rows = [7, 0, 3, 3];
  const out = new Float32Array(rows.length * TOKENS * DIM);
  random.read('feature', rows, out);
  rows.forEach((row, i) => {
    assert.deepEqual(out.slice(i * TOKENS * DIM, (i + 1) * TOKENS * DIM), expected(row));
  });
  random.close();
});

test('integers of nothing are refused, and so are values that have no scale', async () => {
  assert.match(columnsProblem([FEATURE])!, /no f16 column 'feature\.scale' \[5\]/);
  assert.match(columnsProblem([FEATURE, { name: 'feature.scale', dtype: 'f32', shape: [TOKENS] }])!, /feature\.scale/);
  const sink = { write: async () => {}, close: async () => {} };
  const writer = new TensorWriter(sink as never, { columns: withScales([FEATURE]), metadata: {} });
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 1e9]) {
    await assert.rejects(writer.append('a', 0, { feature: vectors(0).fill(value, 3, 4) }), DataError);
  }
});
