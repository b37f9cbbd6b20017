import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { DataError, MissingInputError } from '../../../src/lib/errors.js';
import { crc32 } from '../../../src/lib/files/crc32.js';
import { compareCodePoints } from '../../../src/lib/images/code-points.js';
import { centerCrop } from '../../../src/lib/images/crop.js';
import { decodeImage } from '../../../src/lib/images/decode.js';
import { decodeImages, type ImageSource } from '../../../src/lib/images/decode-images.js';
import { listImages } from '../../../src/lib/images/list.js';
import { MOST_PIXELS, PixelBudget } from '../../../src/lib/images/pixel-budget.js';
import { contactSheet, encodePng, writePng } from '../../../src/lib/images/png.js';
import { fixturePath, temporaryFolder } from '../../support.js';

const folder = temporaryFolder();
const expected = JSON.parse(readFileSync(fixturePath('images/expected.json'), 'utf8')) as Record<
  string,
  { width: number; height: number; pixels: string }
>;

for (const [name, { width, height, pixels }] of Object.entries(expected)) {
  test(`${name} is decoded to Pillow's bytes`, async () => {
    const file = fixturePath(`images/${name}`);
    const image = await decodeImage(file, file);
    assert.deepEqual([image.width, image.height], [width, height]);
    assert.deepEqual(Buffer.from(image.data), Buffer.from(pixels, 'base64'));
  });
}

test('truncated, foreign and missing files are refused by name', async () => {
  for (const name of ['rgb.png', 'rgb.jpg', 'progressive.jpg', 'lossless.webp', 'palette.gif']) {
    const bytes = readFileSync(fixturePath(`images/${name}`));
    for (const part of [0, 3, bytes.length / 2, bytes.length - 40]) {
      await assert.rejects(decodeImage(bytes.subarray(0, part), name), (error: Error) => {
        assert.ok(error instanceof DataError, `${name} cut at ${part}: ${error}`);
        return error.message.startsWith(`${name}: cannot be decoded`);
      });
    }
  }
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>');
  await assert.rejects(decodeImage(svg, 'x.png'), /of no picture format that is read here/);
  await assert.rejects(decodeImage(path.join(folder, 'none.png'), 'none.png'), MissingInputError);
});

function touch(root: string, files: string[]): string {
  for (const file of files) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), '');
  }
  return root;
}

test('pictures are listed by code point, with the index of their first folder as label', () => {
  const root = touch(path.join(folder, 'list'), [
    'b/2.PNG',
    'b/10.jpg',
    'a-x/1.png',
    'a/deep/er/1.JPEG',
    'a/1.webp',
    'top.png',
    '\u{1f600}/1.png',
    '\uff5e/1.png',
    'notes.txt',
    '.hidden.png',
    '.cache/1.png',
    'empty-of-images/readme.md',
  ]);
  assert.deepEqual(
    listImages(root).map(({ key, label }) => [key, label]),
    [
      ['a-x/1.png', 1],
      ['a/1.webp', 0],
      ['a/deep/er/1.JPEG', 0],
      ['b/10.jpg', 2],
      ['b/2.PNG', 2],
      ['top.png', -1],
      ['\uff5e/1.png', 3],
      ['\u{1f600}/1.png', 4],
    ],
  );
  assert.equal(listImages(root)[0].path, path.join(root, 'a-x/1.png'));
});

test('linked folders are followed, circles are not, and a dead link is listed', () => {
  const root = touch(path.join(folder, 'links'), ['real/1.png']);
  symlinkSync(path.join(root, 'real'), path.join(root, 'alias'));
  symlinkSync(root, path.join(root, 'real', 'circle'));
  symlinkSync('nowhere', path.join(root, 'dead.png'));
  assert.deepEqual(
    listImages(root).map(({ key }) => key),
    ['alias/1.png', 'dead.png', 'real/1.png'],
  );
});

test('dataset.json overrules the folders', () => {
  const root = touch(path.join(folder, 'json'), ['00000/a.png', '00000/b.png']);
  const write = (value: unknown) => writeFileSync(path.join(root, 'dataset.json'), JSON.stringify(value));
  write({
    labels: [
      ['00000/b.png', 7],
      ['00000/a.png', 3],
      ['gone.png', 1],
    ],
  });
  assert.deepEqual(
    listImages(root).map(({ label }) => label),
    [3, 7],
  );
  write({ labels: null });
  assert.deepEqual(
    listImages(root).map(({ label }) => label),
    [-1, -1],
  );
  write({ labels: [['00000/a.png', 3]] });
  assert.throws(() => listImages(root), /dataset\.json: has no label for '00000\/b\.png'/);
  write({
    labels: [
      ['00000/a.png', 3],
      ['00000/b.png', 1.5],
    ],
  });
  assert.throws(() => listImages(root), /labels\[1\] is not a pair/);
  writeFileSync(path.join(root, 'dataset.json'), '{');
  assert.throws(() => listImages(root), DataError);
});

test('a folder without images, a missing one and a file are told apart', () => {
  assert.throws(
    () => listImages(touch(path.join(folder, 'none'), ['a.txt'])),
    (error: Error) => {
      return error instanceof DataError && error.message.includes('holds no images');
    },
  );
  assert.throws(
    () => listImages(path.join(folder, 'missing')),
    (error: Error) => {
      return error instanceof MissingInputError && error.message.includes('no such folder');
    },
  );
  assert.throws(() => listImages(fixturePath('images/rgb.png')), /not a folder/);
});

test('the order is that of code points', () => {
  const points = (value: string) => [...value].map((char) => char.codePointAt(0)!);
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
      const [x, y] = [points(a), points(b)];
      const at = x.findIndex((point, i) => point !== y[i]);
      const order = at < 0 ? x.length - y.length : (x[at] ?? 0) - (y[at] ?? -1);
      assert.equal(Math.sign(compareCodePoints(a, b)), Math.sign(order));
    }),
  );
});

const good: ImageSource[] = Object.keys(expected).map((key, label) => ({
  key,
  label,
  path: fixturePath(`images/${key}`),
}));

test('pictures come in the order of their sources, from files or from bytes', async () => {
  const sources = good.map(({ key, label, path: file }, i) =>
    i % 2 ? { key, label, path: file } : { key, label, bytes: readFileSync(file!) },
  ) as ImageSource[];
  let i = 0;
  for await (const { key, label, image } of decodeImages(sources, { ahead: 4 })) {
    assert.deepEqual([key, label], [good[i].key, i]);
    assert.deepEqual(Buffer.from(image.data), Buffer.from(expected[key].pixels, 'base64'));
    i++;
  }
  assert.equal(i, good.length);
});

test('pictures are cropped as they are decoded', async () => {
  const rest = good.slice(0, 6);
  let i = 0;
  for await (const { image } of decodeImages(rest, { ahead: 4, crop: 8 })) {
    const whole = await decodeImage(rest[i].path!, rest[i].key);
    assert.deepEqual(
      { ...image, data: [...image.data] },
      { width: 8, height: 8, data: [...centerCrop(whole, 8).data] },
    );
    i++;
  }
  assert.equal(i, rest.length);
});

test('a slow consumer is waited for', async () => {
  let started = 0;
  const sources = function* () {
    for (const source of good) {
      started++;
      yield source;
    }
  };
  let taken = 0;
  for await (const _ of decodeImages(sources(), { ahead: 3 })) {
    taken++;
    await wait(5);
    assert.ok(started <= taken + 3, `${started} started, ${taken} taken`);
  }
  assert.equal(taken, good.length);
});

test('what is no picture of a known format is not given to a decoder', async () => {
  for (const start of [
    '%PDF-1.4',
    '<?xml version="1.0"?><svg/>',
    '\x08\xf2\xa6\xb6',
    'BM',
    'P6 2 2 255',
    '/* XPM */',
    '\0\0\0\x18ftypheic',
  ]) {
    const bytes = Buffer.concat([Buffer.from(start, 'latin1'), Buffer.alloc(100)]);
    await assert.rejects(decodeImage(bytes, 'x.png'), /its first bytes are of no picture format that is read here/);
  }
});

test('pictures that are too large for memory are refused, and large ones are decoded in turn', async () => {
  const png = (width: number, height: number): Buffer => {
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, 0], 8);
    const chunk = (type: string, data: Uint8Array): Buffer => {
      const body = Buffer.concat([Buffer.from(type), data]);
      const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
      length.writeUInt32BE(data.length);
      sum.writeUInt32BE(crc32(body));
      return Buffer.concat([length, body, sum]);
    };
    const magic = Buffer.from('89504e470d0a1a0a', 'hex');
    return Buffer.concat([
      magic,
      chunk('IHDR', header),
      chunk('IDAT', deflateSync(Buffer.alloc(9))),
      chunk('IEND', Buffer.alloc(0)),
    ]);
  };
  await assert.rejects(decodeImage(png(20_000, 20_000), 'x.png'), /20000x20000 pixels, more than|exceeds pixel limit/);
  const budget = new PixelBudget();
  const most = budget.take(2 ** 28);
  assert.equal(most, MOST_PIXELS);
  budget.give(most);
  const half = budget.take(MOST_PIXELS / 2);
  const other = new PixelBudget(budget.shared);
  assert.equal(other.take(MOST_PIXELS / 2), half);
  assert.equal(new Int32Array(budget.shared)[0], 0);
});

test('long and thin pictures are cropped without what the crop leaves out', () => {
  const strip = Uint8Array.from({ length: 30_000 * 3 }, (_, i) => (i * 7) % 256);
  const wide = centerCrop({ width: 30_000, height: 1, data: strip }, 64);
  const tall = centerCrop({ width: 1, height: 30_000, data: strip }, 64);
  assert.deepEqual([wide.width, wide.height, tall.width, tall.height], [64, 64, 64, 64]);
  for (let row = 0; row < 64; row++) {
    for (let column = 0; column < 64; column++) {
      assert.equal(wide.data[(row * 64 + column) * 3], tall.data[(column * 64 + row) * 3]);
    }
  }
});

test('a bad picture ends the run with its name, or is left out when the caller says so', async () => {
  const bad: ImageSource = { key: 'bad.png', label: 0, bytes: Buffer.from('nonsense') };
  const sources = [good[0], bad, good[1]];
  const seen: string[] = [];
  await assert.rejects(async () => {
    for await (const { key } of decodeImages(sources, { ahead: 8 })) seen.push(key);
  }, /^DataError: bad\.png: cannot be decoded/);
  assert.deepEqual(seen, [good[0].key]);

  const missing = { key: 'none.png', label: 0, path: path.join(folder, 'none.png') };
  await assert.rejects(async () => {
    for await (const _ of decodeImages([missing], { ahead: 1 }));
  }, MissingInputError);

  const errors: string[] = [];
  const skip = (error: Error) => errors.push(error.message) > 0;
  const kept: string[] = [];
  for await (const { key } of decodeImages(sources, { ahead: 8, skip })) kept.push(key);
  assert.deepEqual(kept, [good[0].key, good[1].key]);
  assert.match(errors.join(), /^bad\.png: cannot be decoded/);
});

test('a PNG gives its pixels back', async () => {
  const image = { width: 3, height: 2, data: Uint8Array.from({ length: 18 }, (_, i) => i * 14) };
  const back = await decodeImage(await encodePng(image), 'png');
  assert.deepEqual({ ...back, data: Uint8Array.from(back.data) }, image);
  const file = path.join(folder, 'out.png');
  await writePng(file, image);
  assert.deepEqual(Buffer.from((await decodeImage(file, file)).data), Buffer.from(image.data));
});

test('a contact sheet lays pictures out in rows', () => {
  const tile = (value: number) => ({ width: 2, height: 1, data: new Uint8Array(6).fill(value) });
  const { width, height, data } = contactSheet([tile(1), tile(2), tile(3)], 2, 1);
  assert.deepEqual([width, height], [7, 5]);
  const rows = Array.from({ length: 5 }, (_, y) => Array.from({ length: 7 }, (_, x) => data[(y * 7 + x) * 3]).join(''));
  assert.deepEqual(rows, ['0000000', '0110220', '0000000', '0330000', '0000000']);
  assert.throws(() => contactSheet([tile(1), { width: 1, height: 1, data: new Uint8Array(3) }]), /one size/);
});
