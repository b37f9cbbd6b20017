import assert from 'node:assert/strict';
import { lstatSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { DataError, MissingInputError } from '../../../src/lib/errors.js';
import { writeFileAtomic, writeFully } from '../../../src/lib/files/atomic-file.js';
import {
  bytesPerElement,
  type HostDType,
  type HostTensor,
  storageOf,
  toFloat32,
} from '../../../src/lib/formats/host-tensor.js';
import { openSafetensors, writeSafetensors } from '../../../src/lib/formats/safetensors.js';
import { bytesOf, sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { temporaryFolder } from '../../support.js';

const DTYPES: HostDType[] = ['f16', 'f32', 'f64', 'bf16', 'u8', 'i8', 'i16', 'i32', 'i64', 'bool'];

const tensor = fc
  .record({ dtype: fc.constantFrom(...DTYPES), shape: fc.array(fc.nat(4), { maxLength: 4 }) })
  .chain(({ dtype, shape }) => {
    const length = sizeOf(shape) * bytesPerElement(dtype);
    return fc
      .uint8Array({ minLength: length, maxLength: length })
      .map((bytes): HostTensor => ({ dtype, shape, data: storageOf(dtype, bytes.slice()) }));
  });

/** A file with this header text and this many data bytes. */
function rawFile(name: string, header: string, dataBytes: number, declared?: bigint): string {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, declared ?? BigInt(json.length), true);
  bytes.set(json, 8);
  const file = path.join(folder, name);
  writeFileSync(file, bytes);
  return file;
}

const folder = temporaryFolder();

test('any tensors come back bit for bit, with names, shapes, types and metadata', () => {
  const file = path.join(folder, 'round.safetensors');
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string({ unit: 'binary' }).filter((name) => name !== '__metadata__'),
        tensor,
      ),
      fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })),
      (tensors, metadata) => {
        writeSafetensors(file, Object.entries(tensors), metadata);
        const read = openSafetensors(file);
        try {
          assert.deepEqual([...read.names].sort(), Object.keys(tensors).sort());
          assert.deepEqual({ ...read.metadata }, { ...metadata });
          for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
            const back = read.read(name);
            assert.deepEqual([back.dtype, back.shape], [dtype, shape]);
            assert.deepEqual(bytesOf(back.data), bytesOf(data));
          }
        } finally {
          read.close();
        }
      },
    ),
  );
});

test('a lazy tensor is loaded in its turn, and a wrong length leaves the old file in place', () => {
  const file = path.join(folder, 'lazy.safetensors');
  const small = { dtype: 'f32', shape: [2], data: Float32Array.of(1, 2) } as const;
  writeSafetensors(file, [['a', { dtype: 'f32', shape: [2], load: () => Float32Array.of(3, 4) }]]);
  assert.deepEqual(openSafetensors(file).read('a').data, Float32Array.of(3, 4));
  const before = readFileSync(file);
  assert.throws(() => writeSafetensors(file, [['a', { ...small, shape: [3] }]]), DataError);
  assert.throws(
    () =>
      writeSafetensors(file, [
        ['a', { ...small, shape: [2] }],
        ['a', { ...small, shape: [2] }],
      ]),
    DataError,
  );
  assert.deepEqual(readFileSync(file), before);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith('.tmp')),
    [],
  );
});

test('f16, bf16 and integers become f32 exactly', () => {
  const f32 = (dtype: HostDType, data: HostTensor['data']) => [...toFloat32({ dtype, shape: [data.length], data })];
  assert.deepEqual(f32('f16', Uint16Array.of(0x3c00, 0xc000, 0x7c00, 0x0001)), [1, -2, Infinity, 2 ** -24]);
  assert.deepEqual(f32('bf16', Uint16Array.of(0x3f80, 0xc000, 0x4049, 0x7f80)), [1, -2, 3.140625, Infinity]);
  assert.deepEqual(f32('i64', BigInt64Array.of(-3n, 2n ** 40n)), [-3, 2 ** 40]);
  assert.deepEqual(f32('f64', Float64Array.of(0.1)), [Math.fround(0.1)]);
  assert.deepEqual(f32('bool', Uint8Array.of(1, 0)), [1, 0]);
});

test('a broken header is refused, and the message says which rule it breaks', () => {
  const f32 = (shape: unknown, range: unknown, dtype = 'F32') => ({ dtype, shape, data_offsets: range });
  const cases: [RegExp, string, number][] = [
    [/header: .*JSON/, '{"a":', 0],
    [/does not start with \{/, '[]', 0],
    [/__metadata__ is not a map of strings/, '{"__metadata__":{"a":1}}', 0],
    [
      /comes twice/,
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
      0,
    ],
    [/nested more than 64 deep/, `{"a":{"dtype":${'['.repeat(1e6)}`, 0],
    [/nested more than 64 deep/, `{"a":${'{"b":'.repeat(5000)}1${'}'.repeat(5001)}`, 0],
    [/comes twice/, '{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0],
    [/"F8_E5M2" is not supported/, JSON.stringify({ a: f32([1], [0, 1], 'F8_E5M2') }), 1],
    [/"constructor" is not supported/, JSON.stringify({ a: f32([1], [0, 1], 'constructor') }), 1],
    [/element type undefined/, '{"a":null}', 0],
    [/shape \[-1\] is not valid/, JSON.stringify({ a: f32([-1], [0, 4]) }), 4],
    [/shape \[1.5\] is not valid/, JSON.stringify({ a: f32([1.5], [0, 6]) }), 6],
    [/offsets 4 to 0 do not fit/, JSON.stringify({ a: f32([1], [4, 0]) }), 4],
    [/data_offsets \[0\] are not valid/, JSON.stringify({ a: f32([1], [0]) }), 4],
    [/data_offsets \[-4,0\] are not valid/, JSON.stringify({ a: f32([1], [-4, 0]) }), 4],
    [/which takes 4 bytes/, JSON.stringify({ a: f32([1], [0, 8]) }), 8],
    [/do not fit/, JSON.stringify({ a: f32([2 ** 40, 2 ** 40], [0, 0]) }), 0],
    [/leaving a hole after byte/, JSON.stringify({ a: f32([1], [4, 8]) }), 8],
    [/overlapping byte/, JSON.stringify({ a: f32([2], [0, 8]), b: f32([1], [4, 8]) }), 8],
    [/truncated: the tensors end at byte/, JSON.stringify({ a: f32([2], [0, 8]) }), 7],
    [/1 bytes after the last tensor/, JSON.stringify({ a: f32([2], [0, 8]) }), 9],
  ];
  for (const [message, header, bytes] of cases) {
    const file = rawFile('bad.safetensors', header, bytes);
    assert.throws(
      () => openSafetensors(file),
      (error: Error) => {
        assert.ok(error instanceof DataError, `${header}: ${error}`);
        assert.match(error.message, message);
        assert.ok(error.message.includes(file));
        return true;
      },
    );
  }
});

test('an absurd header length is refused before any memory is taken', () => {
  assert.throws(() => openSafetensors(rawFile('huge', '{}', 0, 2n ** 63n)), /over the limit/);
  assert.throws(() => openSafetensors(rawFile('long', '{}', 0, 3n)), /runs past the end/);
});

test('every truncation is refused', () => {
  const file = path.join(folder, 'cut.safetensors');
  writeSafetensors(file, [['w', { dtype: 'f32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]], { kind: 'test' });
  for (let size = statSync(file).size - 1; size >= 0; size--) {
    truncateSync(file, size);
    assert.throws(() => openSafetensors(file), DataError, `cut at ${size}`);
  }
});

test('a missing file, a folder and a missing tensor are told apart', () => {
  assert.throws(() => openSafetensors(path.join(folder, 'none')), MissingInputError);
  assert.throws(() => openSafetensors(folder), /a folder, not a file/);
  const file = path.join(folder, 'one.safetensors');
  writeSafetensors(file, []);
  assert.throws(() => openSafetensors(file).read('w'), /has no tensor 'w'/);
});

test('an atomic file keeps the old bytes on an error, follows a link, and passes a device by', () => {
  const file = path.join(folder, 'atomic');
  const text = new TextEncoder();
  writeFileAtomic(file, (fd) => writeFully(fd, text.encode('old')));
  assert.throws(() =>
    writeFileAtomic(file, (fd) => {
      writeFully(fd, text.encode('new'));
      throw new Error('stop');
    }),
  );
  assert.equal(readFileSync(file, 'utf8'), 'old');
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith('.tmp')),
    [],
  );
  const link = path.join(folder, 'link');
  symlinkSync(file, link);
  writeFileAtomic(link, (fd) => writeFully(fd, text.encode('through')));
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.equal(readFileSync(file, 'utf8'), 'through');
  writeFileAtomic('/dev/null', (fd) => writeFully(fd, text.encode('gone')));
  assert.ok(statSync('/dev/null').isCharacterDevice());
  assert.throws(() => writeFileAtomic(path.join(folder, 'no', 'file'), () => {}), MissingInputError);
});
