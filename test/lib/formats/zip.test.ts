import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { DataError } from '../../../src/lib/errors.js';
import { crc32 } from '../../../src/lib/files/crc32.js';
import { openZip } from '../../../src/lib/formats/zip.js';
import { ZipWriter } from '../../../src/lib/formats/zip-writer.js';
import { temporaryFolder } from '../../support.js';

const folder = temporaryFolder();
const file = path.join(folder, 'a.zip');
const text = (value: string) => new TextEncoder().encode(value);

async function writeZip(members: [string, Uint8Array][]): Promise<void> {
  const fd = openSync(file, 'w');
  const zip = new ZipWriter(fd);
  for (const [name, bytes] of members) await zip.add(name, bytes.length, [bytes]);
  zip.end();
  closeSync(fd);
}

interface Fields {
  method?: number;
  flags?: number;
  crc?: number;
  packedSize?: number;
  size?: number;
  offset?: number;
  extra?: number[];
  name?: string;
}

/** An archive of one member `m`, whose headers say what the test wants: the one before its data, or both. */
function craft(data: Uint8Array, unpacked: Uint8Array, fields: Fields, end64 = false, before: Fields = fields): void {
  const local = Buffer.alloc(31);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(before.flags ?? 0, 6);
  local.writeUInt16LE(before.method ?? 0, 8);
  local.writeUInt32LE(before.crc ?? crc32(unpacked), 14);
  local.writeUInt32LE(before.packedSize ?? data.length, 18);
  local.writeUInt32LE(before.size ?? unpacked.length, 22);
  local.writeUInt16LE(1, 26);
  local.write(before.name ?? 'm', 30);
  const extra = Buffer.from(fields.extra ?? []);
  const central = Buffer.alloc(47 + extra.length);
  central.writeUInt32LE(0x02014b50, 0);
  central.writeUInt16LE(fields.flags ?? 0, 8);
  central.writeUInt16LE(fields.method ?? 0, 10);
  central.writeUInt32LE(fields.crc ?? crc32(unpacked), 16);
  central.writeUInt32LE(fields.packedSize ?? data.length, 20);
  central.writeUInt32LE(fields.size ?? unpacked.length, 24);
  central.writeUInt16LE(1, 28);
  central.writeUInt16LE(extra.length, 30);
  central.writeUInt32LE(fields.offset ?? 0, 42);
  central.write('m', 46);
  extra.copy(central, 47);
  const start = local.length + data.length;
  const wide = Buffer.alloc(end64 ? 76 : 0);
  if (end64) {
    wide.writeUInt32LE(0x06064b50, 0);
    wide.writeBigUInt64LE(1n, 32);
    wide.writeBigUInt64LE(BigInt(central.length), 40);
    wide.writeBigUInt64LE(BigInt(start), 48);
    wide.writeUInt32LE(0x07064b50, 56);
    wide.writeBigUInt64LE(BigInt(start + central.length), 64);
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(end64 ? 0xffff : 1, 8);
  end.writeUInt16LE(end64 ? 0xffff : 1, 10);
  end.writeUInt32LE(end64 ? 0xffffffff : central.length, 12);
  end.writeUInt32LE(end64 ? 0xffffffff : start, 16);
  writeFileSync(file, Buffer.concat([local, data, central, wide, end]));
}

const u64 = (value: number) => [...new Uint8Array(BigUint64Array.of(BigInt(value)).buffer)];

async function collect(name: string): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of openZip(file).chunks(name)) parts.push(chunk);
  return Buffer.concat(parts).toString();
}

test('members come back whole, in part and in pieces', async () => {
  await writeZip([
    ['a', text('hello')],
    ['é/b', text('')],
    ['c', text('world')],
  ]);
  const zip = openZip(file);
  assert.deepEqual([...zip.entries.keys()], ['a', 'é/b', 'c']);
  assert.equal(Buffer.from(zip.read('c')).toString(), 'world');
  assert.equal(Buffer.from(zip.readStored('a', 1, 3)).toString(), 'ell');
  assert.equal(zip.read('é/b').length, 0);
  assert.equal(await collect('a'), 'hello');
  assert.throws(() => zip.readStored('a', 3, 3), /lie outside its 5 bytes/);
  assert.throws(() => zip.readStored('a', -1, 3), /lie outside/);
  assert.throws(() => zip.read('a', 4), /5 bytes where at most 4 make sense/);
  assert.throws(() => zip.read('z'), /no such member/);
  zip.close();
});

test('an empty piece does not disturb the CRC of the others', () => {
  const empty = new Uint8Array(new ArrayBuffer(0));
  assert.equal(crc32(empty, 123), 123);
  assert.equal(crc32(text('ab')), crc32(text('b'), crc32(empty, crc32(text('a')))));
});

test('zip64 fields are understood', async () => {
  const data = text('payload');
  craft(
    data,
    data,
    { size: 0xffffffff, packedSize: 0xffffffff, extra: [9, 9, 1, 0, 7, 1, 0, 16, 0, ...u64(7), ...u64(7)] },
    true,
    {},
  );
  assert.equal(Buffer.from(openZip(file).read('m')).toString(), 'payload');
  craft(data, data, { offset: 0xffffffff, extra: [1, 0, 8, 0, ...u64(0)] });
  assert.equal(await collect('m'), 'payload');
});

test('more members than a plain zip can count are written and read', async () => {
  await writeZip(Array.from({ length: 65_540 }, (_, i) => [`m${i}`, text(i === 65_539 ? 'last' : '')]));
  const zip = openZip(file);
  assert.equal(zip.entries.size, 65_540);
  assert.equal(Buffer.from(zip.read('m65539')).toString(), 'last');
  zip.close();
});

test('a deflate bomb never unpacks beyond what it declares', async () => {
  const bomb = deflateRawSync(new Uint8Array(10_000_000));
  craft(bomb, new Uint8Array(), { method: 8, size: 1000 });
  assert.throws(() => openZip(file).read('m'), DataError);
  await assert.rejects(collect('m'), /unpacks to more than its 1000 bytes/);
  craft(bomb, new Uint8Array(), { method: 8, size: 0xfffffff0 });
  assert.throws(() => openZip(file), /claims 4294967280 bytes/);
  craft(bomb, new Uint8Array(), { method: 8, size: 10_000_001 });
  assert.throws(() => openZip(file).read('m'), /unpacks to 10000000 bytes/);
  await assert.rejects(collect('m'), /unpacks to 10000000 bytes/);
});

test('a damaged member is refused, whole or in pieces', async () => {
  const data = text('payload');
  const cases: [RegExp, Fields, Uint8Array][] = [
    [/CRC does not match/, { crc: 1 }, data],
    [/encrypted/, { flags: 1 }, data],
    [/compression method 93/, { method: 93 }, data],
    [/two sizes differ/, { size: 6 }, data],
    [/runs into the central directory/, { size: 99, packedSize: 99 }, data],
    [/runs into the central directory/, { offset: 1000 }, data],
    [/does not follow the one before it/, { offset: 1, size: 5, packedSize: 5 }, data],
    [/cannot be unpacked/, { method: 8, size: 7 }, Uint8Array.of(0xff, 0xff, 0xff)],
    [/an extra field is damaged/, { extra: [1, 0, 99, 0] }, data],
    [/a size of/, { size: 0xffffffff, extra: [1, 0, 8, 0, 255, 255, 255, 255, 255, 255, 255, 255] }, data],
  ];
  for (const [message, fields, bytes] of cases) {
    craft(bytes, data, fields);
    await assert.rejects(async () => openZip(file).read('m'), message);
    await assert.rejects(collect('m'), (error: Error) => error instanceof DataError);
  }
});

test('a name that comes twice and every truncation are refused', async () => {
  await writeZip([
    ['a', text('1')],
    ['a', text('2')],
  ]);
  assert.throws(() => openZip(file), /two members named 'a'/);
  await writeZip([
    ['a', text('hello')],
    ['b', text('world')],
  ]);
  const good = readFileSync(file);
  for (let size = 0; size < good.length; size++) {
    writeFileSync(file, good.subarray(0, size));
    assert.throws(() => openZip(file), DataError, `cut at ${size}`);
  }
});

test('an archive whose two headers of a member differ is refused, or whose members leave bytes to none', async () => {
  const data = text('payload');
  const cases: [RegExp, Fields][] = [
    [/the name is another before its data/, { name: 'n' }],
    [/the CRC is another before its data/, { crc: 1 }],
    [/the CRC is another before its data/, { crc: 0 }],
    [/the size is another before its data/, { size: 6 }],
    [/the size is another before its data/, { packedSize: 8 }],
    [/the compression method is another before its data/, { method: 8 }],
    [/a flag is another before its data/, { flags: 0x800 }],
  ];
  for (const [message, before] of cases) {
    craft(data, data, {}, false, before);
    assert.throws(() => openZip(file), message);
  }
  await writeZip([
    ['a', text('hello')],
    ['b', text('world')],
  ]);
  const good = readFileSync(file);
  const end = good.length - 22;
  const start = good.readUInt32LE(end + 16);
  const fewer = Buffer.from(good);
  fewer.writeUInt16LE(1, end + 8);
  fewer.writeUInt16LE(1, end + 10);
  writeFileSync(file, fewer);
  assert.throws(() => openZip(file), /holds more than its 1 members/);
  const entry = (end - start) / 2;
  fewer.writeUInt32LE(entry, end + 12);
  writeFileSync(file, Buffer.concat([fewer.subarray(0, start + entry), fewer.subarray(end)]));
  assert.throws(() => openZip(file), /bytes before the central directory belong to no member/);
  fewer.writeUInt32LE(start + entry, end + 16);
  writeFileSync(file, Buffer.concat([fewer.subarray(0, start), fewer.subarray(start + entry)]));
  assert.throws(() => openZip(file), DataError);
});

test('any bit of an archive may flip: it is refused, or gives what it held', async () => {
  await writeZip([
    ['label.npy', text('hello')],
    ['b', text('world')],
  ]);
  const good = readFileSync(file);
  const read = (): string => {
    const zip = openZip(file);
    try {
      return [...zip.entries.keys()].map((name) => `${name}=${Buffer.from(zip.read(name))}`).join();
    } finally {
      zip.close();
    }
  };
  const expected = read();
  for (let bit = 0; bit < 8 * good.length; bit++) {
    const flipped = Buffer.from(good);
    flipped[bit >> 3] ^= 1 << (bit & 7);
    writeFileSync(file, flipped);
    let found = expected;
    try {
      found = read();
    } catch (error) {
      assert.ok(error instanceof DataError, `bit ${bit}: ${error}`);
    }
    assert.equal(found, expected, `bit ${bit}`);
  }
});

test('sizes and CRCs that follow the data count; an archive without CRCs is for those who allow it', async () => {
  const data = text('payload');
  const followed = (crc: number, size = 7, written = crc): void => {
    const descriptor = Buffer.alloc(16);
    descriptor.writeUInt32LE(0x08074b50, 0);
    descriptor.writeUInt32LE(written, 4);
    descriptor.writeUInt32LE(size, 8);
    descriptor.writeUInt32LE(size, 12);
    craft(Buffer.concat([data, descriptor]), data, { flags: 8, crc, packedSize: 7 }, false, {
      flags: 8,
      crc: 0,
      packedSize: 0,
      size: 0,
    });
  };
  followed(crc32(data));
  assert.equal(await collect('m'), 'payload');
  followed(crc32(data), 6);
  assert.throws(() => openZip(file), /another after its data/);
  followed(crc32(data), 7, 1);
  assert.throws(() => openZip(file), /another after its data/);
  followed(0);
  assert.throws(() => openZip(file).read('m'), /the CRC does not match/);
  assert.throws(() => openZip(file).readStored('m', 0, 1), /the CRC does not match/);
  assert.equal(Buffer.from(openZip(file, { withoutCrcs: true }).read('m')).toString(), 'payload');
  assert.equal(Buffer.from(openZip(file, { withoutCrcs: true }).readStored('m', 3, 2)).toString(), 'lo');
});

test('a part of a member is given when the whole has its CRC', () => {
  const data = text('payload');
  craft(data, data, {});
  assert.equal(Buffer.from(openZip(file).readStored('m', 3, 2)).toString(), 'lo');
  craft(text('pAyload'), data, {});
  assert.throws(() => openZip(file).readStored('m', 3, 2), /the CRC does not match/);
});

test('a small member does not unpack to more than is believed', () => {
  const size = 2 ** 28 + 1;
  const packed = deflateRawSync(new Uint8Array(1000));
  craft(Buffer.concat([packed, Buffer.alloc(300_000)]), new Uint8Array(), { method: 8, size });
  assert.throws(() => openZip(file).read('m'), /unpacks to 268435457 bytes from \d+, too many/);
});
