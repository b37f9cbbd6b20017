/** NumPy's files as rows: nothing that their checksums or sizes contradict becomes a row. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { DataError } from '../../../src/lib/errors.js';
import { readNpyRows, readNpzRows } from '../../../src/lib/exchange/arrays.js';
import type { RowSource } from '../../../src/lib/exchange/rows.js';
import { encodeNpy, encodeNpyHeader } from '../../../src/lib/formats/npy.js';
import { writeNpz } from '../../../src/lib/formats/npz.js';
import { temporaryFolder } from '../../support.js';

const folder = temporaryFolder();
const file = path.join(folder, 'x.npz');
const ROWS = 130; // more than are read at a time, and not a multiple of them

const write = (): Promise<void> =>
  writeNpz(file, [
    ['x', { dtype: 'u8', shape: [ROWS, 3], data: Uint8Array.from({ length: 3 * ROWS }, (_, i) => i % 251) }],
    ['y', { dtype: 'f32', shape: [ROWS, 1], data: Float32Array.from({ length: ROWS }, (_, i) => i) }],
    ['label', { dtype: 'i64', shape: [ROWS], data: BigInt64Array.from({ length: ROWS }, (_, i) => BigInt(i % 7)) }],
  ]);

async function collect({ rows }: RowSource): Promise<string> {
  const words: string[] = [];
  for await (const { key, label, tensors } of rows) words.push(`${key} ${label} ${tensors.x} ${tensors.y}`);
  return words.join('\n');
}

const openFiles = (): number => readdirSync('/proc/self/fd').length;

test('any bit of an .npz may flip: it is refused, or gives the rows that it held; no file stays open', async () => {
  await write();
  const good = readFileSync(file);
  const expected = await collect(readNpzRows(file));
  assert.equal(expected.split('\n').length, ROWS);
  const before = openFiles();
  let refused = 0;
  for (let at = 0; at < good.length; at += 3) {
    const flipped = Buffer.from(good);
    flipped[at] ^= 1 << (at % 8);
    writeFileSync(file, flipped);
    const found = await (async () => collect(readNpzRows(file)))().catch((error: unknown) => {
      assert.ok(error instanceof DataError, `byte ${at}: ${(error as Error).stack}`);
      refused++;
      return expected;
    });
    assert.equal(found, expected, `byte ${at}`);
  }
  assert.ok(refused > 0.9 * (good.length / 3), `${refused} refused`);
  assert.equal(openFiles(), before);
});

test('rows without bytes, and rows too large to hold, are refused before memory is taken', () => {
  const npy = path.join(folder, 'x.npy');
  const before = openFiles();
  writeFileSync(npy, encodeNpyHeader({ shape: [1e9, 0], dtype: 'f32' }));
  assert.throws(() => readNpyRows(npy), /x\.npy: rows \[0\] of 0 bytes/);
  writeFileSync(npy, encodeNpy({ shape: [2], dtype: 'f32', data: new Float32Array(2) }));
  assert.throws(() => readNpyRows(npy), /not one tensor a row/);
  writeZeros(2, 2 ** 28 + 1);
  assert.throws(() => readNpzRows(file), /of 268435457 bytes; they have 1 to 268435456/);
  assert.equal(openFiles(), before);
});

/** An .npz of one deflated array of zeros, `u8 [rows, size]`. */
function writeZeros(rows: number, size: number): void {
  const header = encodeNpyHeader({ shape: [rows, size], dtype: 'u8' });
  const packed = Buffer.concat([deflateRawSync(header), Buffer.alloc(2 ** 20)]);
  const name = Buffer.from('x.npy');
  const local = Buffer.alloc(30);
  const central = Buffer.alloc(46);
  const common = Buffer.alloc(22);
  common.writeUInt16LE(8, 4);
  common.writeUInt32LE(packed.length, 14);
  common.writeUInt32LE(header.length + rows * size, 18);
  local.writeUInt32LE(0x04034b50);
  central.writeUInt32LE(0x02014b50);
  common.copy(local, 4);
  common.copy(central, 6);
  local.writeUInt16LE(name.length, 26);
  central.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  const start = local.length + name.length + packed.length;
  end.writeUInt32LE(0x06054b50);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length + name.length, 12);
  end.writeUInt32LE(start, 16);
  writeFileSync(file, Buffer.concat([local, name, packed, central, name, end]));
}
