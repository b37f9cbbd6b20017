import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { DataError } from '../../../src/lib/errors.js';
import { bytesPerElement, type HostDType, type HostTensor, storageOf } from '../../../src/lib/formats/host-tensor.js';
import { encodeNpy, readNpy } from '../../../src/lib/formats/npy.js';
import { openNpz, writeNpz } from '../../../src/lib/formats/npz.js';
import { gatherStrided, isContiguous, rowMajorStrides } from '../../../src/lib/formats/strided.js';
import { openZip } from '../../../src/lib/formats/zip.js';
import { bytesOf, sizeOf, type TypedArray } from '../../../src/lib/numbers/typed-array.js';
import { fixturePath, temporaryFolder, writeNpy } from '../../support.js';

const folder = temporaryFolder();
const fixture = (name: string) => fixturePath(`formats/${name}`);
const count = (length: number) => Array.from({ length }, (_, i) => i);

/** What make.py put into the archives. */
const NUMPY: Record<string, HostTensor> = {
  f32: { dtype: 'f32', shape: [2, 3, 4], data: Float32Array.from(count(24), (i) => i / 7) },
  f16: { dtype: 'f16', shape: [3], data: Uint16Array.of(0x3e00, 0xc000, 0x7c00) },
  f64: { dtype: 'f64', shape: [], data: Float64Array.of(0.1) },
  fortran: { dtype: 'i32', shape: [2, 3, 4], data: Int32Array.from(count(24)) },
  i64: { dtype: 'i64', shape: [2], data: BigInt64Array.of(-3n, 2n ** 40n) },
  bool: { dtype: 'bool', shape: [2], data: Uint8Array.of(1, 0) },
  empty: { dtype: 'u8', shape: [0, 3], data: new Uint8Array() },
  images: { dtype: 'u8', shape: [5, 4, 4, 3], data: Uint8Array.from(count(240), (i) => i % 251) },
};

for (const archive of ['stored.npz', 'deflated.npz']) {
  test(`${archive}, written by NumPy, is read with values, shapes and types`, () => {
    const npz = openNpz(fixture(archive));
    assert.deepEqual(npz.names, Object.keys(NUMPY));
    for (const [name, expected] of Object.entries(NUMPY)) {
      assert.deepEqual(npz.info(name), { shape: expected.shape, dtype: expected.dtype });
      assert.deepEqual(npz.read(name), expected, name);
    }
    assert.throws(() => npz.read('none'), /has no array 'none'/);
    npz.close();
  });

  test(`${archive} is read in batches of rows, the last one short`, async () => {
    const npz = openNpz(fixture(archive));
    const batches: TypedArray[] = [];
    for await (const batch of npz.batches('images', 2)) batches.push(batch);
    assert.deepEqual(
      batches.map((batch) => batch.length),
      [96, 96, 48],
    );
    assert.deepEqual(
      batches.flatMap((batch) => [...batch]),
      [...NUMPY.images!.data],
    );
    await assert.rejects(async () => {
      for await (const _ of npz.batches('fortran', 2));
    }, /column-major/);
    npz.close();
  });
}

test('a column-major .npy is transposed; big-endian and object arrays are refused by name', () => {
  assert.deepEqual(readNpy(fixture('fortran.npy')), NUMPY.fortran);
  assert.throws(() => readNpy(fixture('big-endian.npy')), /big-endian elements \(>f4\)/);
  assert.throws(() => readNpy(fixture('object.npy')), /'\|O' are not supported/);
});

test('a .npy is laid out byte for byte as NumPy writes it', () => {
  const zip = openZip(fixture('stored.npz'));
  for (const [name, tensor] of Object.entries(NUMPY)) {
    if (name !== 'fortran') assert.deepEqual(encodeNpy(tensor), zip.read(`${name}.npy`), name);
  }
  zip.close();
  const file = path.join(folder, 'a.npy');
  writeNpy(file, NUMPY.f32!);
  assert.deepEqual(Uint8Array.from(readFileSync(file)), encodeNpy(NUMPY.f32!));
});

test('any array survives .npy and .npz', async () => {
  const dtypes: HostDType[] = ['f16', 'f32', 'f64', 'u8', 'i8', 'i16', 'i32', 'i64', 'bool'];
  const tensor = fc
    .record({ dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.nat(4), { maxLength: 4 }) })
    .chain(({ dtype, shape }) => {
      const length = sizeOf(shape) * bytesPerElement(dtype);
      return fc
        .uint8Array({ minLength: length, maxLength: length })
        .map((bytes): HostTensor => ({ dtype, shape, data: storageOf(dtype, bytes.slice()) }));
    });
  const file = path.join(folder, 'any.npz');
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.stringMatching(/^[a-z_0-9é]+$/), tensor), async (arrays) => {
      await writeNpz(file, Object.entries(arrays));
      const npz = openNpz(file);
      for (const [name, { dtype, shape, data }] of Object.entries(arrays)) {
        for (const back of [npz.read(name), readNpy(encodeNpy({ dtype, shape, data }))]) {
          assert.deepEqual([back.dtype, back.shape, bytesOf(back.data)], [dtype, shape, bytesOf(data)]);
        }
      }
      npz.close();
    }),
    { numRuns: 50 },
  );
});

test('an array is written from pieces, and a wrong count of them leaves no file', async () => {
  const file = path.join(folder, 'pieces.npz');
  const pieces = async function* () {
    yield Float32Array.of(1, 2);
    yield Float32Array.of(3, 4);
  };
  await writeNpz(file, [['x', { dtype: 'f32', shape: [2, 2], chunks: pieces() }]]);
  assert.deepEqual(openNpz(file).read('x').data, Float32Array.of(1, 2, 3, 4));
  const bad = path.join(folder, 'bad.npz');
  await assert.rejects(
    writeNpz(bad, [['x', { dtype: 'f32', shape: [3, 2], chunks: pieces() }]]),
    /'x.npy' has \d+ bytes/,
  );
  assert.throws(() => openNpz(bad), /no such file/);
  assert.throws(() => encodeNpy({ dtype: 'bf16', shape: [0], data: new Uint16Array() }), /no element type for bf16/);
});

test('every truncation and every foreign header of a .npy is refused', () => {
  const good = encodeNpy(NUMPY.f32!);
  for (let size = 0; size < good.length; size++) {
    assert.throws(() => readNpy(good.slice(0, size)), DataError, `cut at ${size}`);
  }
  const edited = (from: string, to: string) =>
    Uint8Array.from(Buffer.from(Buffer.from(good).toString('latin1').replace(from, to), 'latin1'));
  assert.throws(() => readNpy(edited('(2, 3, 4)', '(2, 3, 5)')), /takes 248 bytes/);
  assert.throws(() => readNpy(edited('(2, 3, 4)', '(9e9,3, )')), /cannot understand the header/);
  assert.throws(() => readNpy(edited('(2, 3, 4)', '(2,-3,-4)')), /cannot understand the header/);
  assert.throws(() => readNpy(edited("'<f4'", "'<c8'")), /'<c8' are not supported/);
  assert.throws(() => readNpy(edited('NUMPY\x01', 'NUMPY\x09')), /version 9/);
  const huge = Uint8Array.from([0x93, ...Buffer.from('NUMPY'), 2, 0, 0xff, 0xff, 0xff, 0xff]);
  assert.throws(() => readNpy(huge), /over the limit/);
});

test('flipped bytes of an .npz are noticed wherever they change an array', () => {
  const good = readFileSync(fixture('deflated.npz'));
  const file = path.join(folder, 'flip.npz');
  let refused = 0;
  for (let at = 0; at < good.length; at++) {
    const bytes = Buffer.from(good);
    bytes[at] ^= 0x55;
    writeFileSync(file, bytes);
    try {
      const npz = openNpz(file);
      try {
        for (const name of npz.names) if (name in NUMPY) assert.deepEqual(npz.read(name), NUMPY[name]);
      } finally {
        npz.close();
      }
    } catch (error) {
      assert.ok(error instanceof DataError, `byte ${at}: ${error}`);
      refused++;
    }
  }
  assert.ok(refused > good.length / 2, `${refused} of ${good.length}`);
});

test('strides walk views, broadcasts and transposes', () => {
  assert.deepEqual(rowMajorStrides([2, 3, 4]), [12, 4, 1]);
  assert.deepEqual(gatherStrided(Int32Array.of(0, 1, 2, 3, 4, 5), [3, 2], [1, 3]), Int32Array.of(0, 3, 1, 4, 2, 5));
  assert.deepEqual(gatherStrided(Int32Array.of(7, 8), [2, 2], [0, 1]), Int32Array.of(7, 8, 7, 8));
  assert.deepEqual(gatherStrided(Int32Array.of(7), [], []), Int32Array.of(7));
  assert.deepEqual(gatherStrided(Int32Array.of(7), [0, 3], [3, 1]), new Int32Array());
  assert.equal(isContiguous([2, 1, 4], [4, 99, 1]), true);
  assert.equal(isContiguous([2, 2], [1, 2]), false);
});
