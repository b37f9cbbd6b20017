import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { DataError } from '../../../src/lib/errors.js';
import { readTar } from '../../../src/lib/formats/tar.js';
import { TarWriter } from '../../../src/lib/formats/tar-writer.js';
import { fixturePath } from '../../support.js';

/** The bytes in pieces of a size that has nothing to do with tar's blocks. */
async function* pieces(bytes: Uint8Array, size = 777): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function list(bytes: Uint8Array, pieceSize?: number): Promise<[string, string][]> {
  const files: [string, string][] = [];
  for await (const entry of readTar(pieces(bytes, pieceSize), 'x.tar')) {
    files.push([entry.name, Buffer.from(await entry.read()).toString('latin1')]);
  }
  return files;
}

async function pack(files: [string, Uint8Array][]): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const writer = new TarWriter({ write: async (more) => void chunks.push(...more) });
  for (const [name, body] of files) await writer.append(name, body);
  await writer.end();
  return Buffer.concat(chunks);
}

const read = (name: string) => readFileSync(fixturePath(`formats/${name}`));
const bytes256 = String.fromCharCode(...Array.from({ length: 1024 }, (_, i) => i % 256));
const plain: [string, string][] = [
  ['a/one.txt', 'one'],
  [`${'d'.repeat(90)}/${'f'.repeat(90)}.bin`, bytes256],
];
const long: [string, string] = [`${'é'.repeat(200)}.txt`, 'long'];

test('ustar, pax and gzipped GNU archives of Python are read; folders and links are passed over', async () => {
  assert.deepEqual(await list(read('ustar.tar')), [...plain, ['empty', '']]);
  assert.deepEqual(await list(read('pax.tar')), [...plain, long, ['empty', '']]);
  assert.deepEqual(await list(read('gnu.tar.gz')), [...plain, long, ['empty', '']]);
  assert.deepEqual(await list(read('pax.tar'), 1), [...plain, long, ['empty', '']]);
});

test('archives back to back are one; unread bodies are skipped; a body is read once', async () => {
  const both = Buffer.concat([read('ustar.tar'), read('pax.tar')]);
  const names: string[] = [];
  for await (const entry of readTar(pieces(both), 'x.tar')) names.push(entry.name);
  assert.equal(names.length, 7);
  for await (const entry of readTar(pieces(both), 'x.tar')) {
    await entry.read();
    if (entry.size > 0) await assert.rejects(entry.read(), /read once/);
    break;
  }
});

test('anything written is read back', async () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 300 })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: names do not hold them
    .map((value) => `k${value.replaceAll(/[\x00-\x1f\x7f]/g, '')}`)
    .filter((value) => !value.endsWith('/'));
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(name, fc.uint8Array({ maxLength: 2000 }))), async (files) => {
      const back = await list(await pack(files));
      assert.deepEqual(
        back,
        files.map(([key, body]) => [key, Buffer.from(body).toString('latin1')]),
      );
    }),
    { numRuns: 50 },
  );
});

test('every truncation is refused, plain or gzipped', async () => {
  const tar = await pack([
    ['a', new Uint8Array(600).fill(7)],
    ['b'.repeat(150), Uint8Array.of(1)],
  ]);
  const lastBlocks = tar.length - 1024;
  for (let size = 0; size <= lastBlocks; size += 64) {
    await assert.rejects(list(tar.subarray(0, size)), DataError, `cut at ${size}`);
  }
  const zipped = gzipSync(tar);
  for (let size = 2; size < zipped.length - 8; size += 7) {
    await assert.rejects(list(zipped.subarray(0, size)), DataError, `cut at ${size}`);
  }
});

test('damage is refused with its byte', async () => {
  const tar = await pack([['a', Uint8Array.of(1)]]);
  const edited = (at: number, value: number[], fixChecksum = true): Uint8Array => {
    const copy = Uint8Array.from(tar);
    copy.set(value, at);
    if (!fixChecksum) return copy;
    copy.set(Buffer.from(' '.repeat(8)), 148);
    const sum = copy.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    copy.set(Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `), 148);
    return copy;
  };
  await assert.rejects(list(edited(3, [9], false)), /checksum does not match at byte 0/);
  await assert.rejects(list(edited(124, [0x39])), /a size that is not a number at byte 0/);
  await assert.rejects(
    list(edited(124, [0x80, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255])),
    /a size that is not/,
  );
  await assert.rejects(list(edited(124, [0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0])), /1099511627776 bytes, more than/);
  await assert.rejects(list(edited(124, [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0])), /truncated at byte/);
  await assert.rejects(list(edited(156, [0x53])), /sparse file/);
  await assert.rejects(list(edited(156, [0x78])), /damaged pax header at byte 512/);
  await assert.rejects(list(read('stored.npz')), /checksum does not match/);
  await assert.rejects(list(new Uint8Array()), /without an end marker/);
});

test('names that no file has, and layers of compression, are refused', async () => {
  for (const name of ['a\nb', 'a\u001b[2Jb', `${'a/'.repeat(100_000)}\n`, 'a'.repeat(4097)]) {
    await assert.rejects(list(await pack([[name, Uint8Array.of(1)]])), /a name that no file has, at byte \d+/);
  }
  const tar = await pack([['a', Uint8Array.of(1)]]);
  assert.equal((await list(gzipSync(tar))).length, 1);
  await assert.rejects(list(gzipSync(gzipSync(tar))), /is compressed twice/);
});
