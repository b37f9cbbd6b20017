import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Table } from '../../../src/lib/stream/flatbuffer.js';
import { FormatProblem } from '../../../src/lib/stream/format-problem.js';

/** A table whose one slot is a vector of tables, all the same one, whose one slot is a text. */
function shared(count: number, text: string): Uint8Array {
  const bytes = new Uint8Array(64 + 4 * count + text.length);
  const view = new DataView(bytes.buffer);
  const vector = 20;
  const table = vector + 4 + 4 * count;
  view.setUint32(0, 12, true); // root
  view.setUint16(4, 6, true); // a vtable of one slot, which lies 4 bytes into its table
  view.setUint16(6, 8, true);
  view.setUint16(8, 4, true);
  view.setInt32(12, 12 - 4, true);
  view.setUint32(16, vector - 16, true);
  view.setUint32(vector, count, true);
  for (let i = 0; i < count; i++) view.setUint32(vector + 4 + 4 * i, table - (vector + 4 + 4 * i), true);
  view.setInt32(table, table - 4, true);
  view.setUint32(table + 4, 4, true);
  view.setUint32(table + 8, text.length, true);
  bytes.set(Buffer.from(text), table + 12);
  return bytes;
}

test('tables that share their bytes are read a few times over, and no more', () => {
  const read = (count: number, text: string): string[] =>
    Table.root(shared(count, text))
      .tables(0, 1000)
      .map((table) => table.string(0));
  assert.deepEqual(read(3, 'text'), ['text', 'text', 'text']);
  assert.throws(
    () => read(1000, 'x'.repeat(100_000)),
    (error: Error) => error instanceof FormatProblem && /share their bytes/.test(error.message),
  );
});
