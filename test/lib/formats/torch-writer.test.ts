import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { DataError } from '../../../src/lib/errors.js';
import type { HostDType, HostTensor } from '../../../src/lib/formats/host-tensor.js';
import { Tuple } from '../../../src/lib/formats/pickle-writer.js';
import { openTorch } from '../../../src/lib/formats/torch.js';
import { TorchTensor } from '../../../src/lib/formats/torch-tensor.js';
import { type Savable, writeTorch } from '../../../src/lib/formats/torch-writer.js';
import { openZip } from '../../../src/lib/formats/zip.js';
import { temporaryFolder } from '../../support.js';

const folder = temporaryFolder();
const file = path.join(folder, 'saved.pt');

/** What the reader makes of a file, with tensors read and dictionaries as plain objects. */
function readBack(): unknown {
  const opened = openTorch(file);
  const plain = (value: unknown): unknown => {
    if (value instanceof TorchTensor) return value.read();
    if (Array.isArray(value)) return value.map(plain);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  };
  try {
    return plain(opened.root);
  } finally {
    opened.close();
  }
}

test('tensors of every element type and of odd shapes come back as they were', async () => {
  const arrays: Record<HostDType, HostTensor['data']> = {
    f16: Uint16Array.of(0x3c00, 0xfc00),
    f32: Float32Array.of(1.5, -0),
    f64: Float64Array.of(Math.PI, Number.MAX_VALUE),
    bf16: Uint16Array.of(0x3f80, 0x7f80),
    u8: Uint8Array.of(0, 255),
    i8: Int8Array.of(-128, 127),
    i16: Int16Array.of(-32768, 7),
    i32: Int32Array.of(-(2 ** 31), 9),
    i64: BigInt64Array.of(-(2n ** 63n), 11n),
    bool: Uint8Array.of(0, 1),
  };
  const typed = Object.entries(arrays).map(([dtype, data]) => [dtype, { shape: [2, 1], dtype, data } as HostTensor]);
  const shapes: [string, HostTensor][] = [
    ['scalar', { shape: [], dtype: 'f32', data: Float32Array.of(3) }],
    ['empty', { shape: [0, 4], dtype: 'f32', data: new Float32Array() }],
  ];
  const tensors = Object.fromEntries([...typed, ...shapes]);
  await writeTorch(file, tensors);
  assert.deepEqual(readBack(), tensors);
});

test('nested dictionaries and lists of plain values come back as they were', async () => {
  const plain = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.maxSafeInteger(),
      fc.integer({ min: -300, max: 300 }),
      fc.double({ noNaN: true }).filter((number) => !Object.is(number, -0)),
      fc.string({ unit: 'binary' }),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.string(), tie('value'), { maxKeys: 4, noNullPrototype: true }),
    ),
  })).value;
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string(), plain, { noNullPrototype: true }), async (saved) => {
      await writeTorch(file, saved as Savable);
      assert.deepEqual(readBack(), saved);
    }),
    { numRuns: 60 },
  );
});

test('Maps with numbers for keys are dictionaries, tuples come back as lists', async () => {
  await writeTorch(file, { state: new Map([[7, { betas: new Tuple([0.9, 0.999]) }]]) });
  assert.deepEqual(readBack(), { state: { 7: { betas: [0.9, 0.999] } } });
});

test('a tensor is loaded when its turn comes, and let go', async () => {
  const loaded: number[] = [];
  const lazy = (number: number) => ({
    shape: [1],
    dtype: 'f32' as const,
    load: () => {
      loaded.push(number);
      return Float32Array.of(number);
    },
  });
  await writeTorch(file, [lazy(1), lazy(2)]);
  assert.deepEqual(loaded, [1, 2]);
});

test("the archive's root is named after the file, and says its version and byte order", async () => {
  await writeTorch(file, {});
  const zip = openZip(file);
  assert.deepEqual([...zip.entries.keys()], ['saved/data.pkl', 'saved/byteorder', 'saved/version']);
  zip.close();
});

test('a tensor that does not match its shape leaves no file', async () => {
  const elsewhere = temporaryFolder();
  const broken: HostTensor = { shape: [3], dtype: 'f32', data: Float32Array.of(1) };
  await assert.rejects(writeTorch(path.join(elsewhere, 'x.pt'), { broken }), DataError);
  assert.deepEqual(readdirSync(elsewhere), []);
});
