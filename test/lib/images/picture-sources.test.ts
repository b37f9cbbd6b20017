/** The same pictures give the same keys, labels and pixels however they come, to every verb that reads pictures. */
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import sharp from 'sharp';
import { DataError } from '../../../src/lib/errors.js';
import { openRows } from '../../../src/lib/exchange/import-tensors.js';
import { encodeNpy } from '../../../src/lib/formats/npy.js';
import { writeNpz } from '../../../src/lib/formats/npz.js';
import { TarWriter } from '../../../src/lib/formats/tar-writer.js';
import { ZipWriter } from '../../../src/lib/formats/zip-writer.js';
import { expandBraces } from '../../../src/lib/images/brace-pattern.js';
import { ImageReader, openImageStore } from '../../../src/lib/images/image-store.js';
import { readLabelFile } from '../../../src/lib/images/label-file.js';
import { openImages } from '../../../src/lib/images/open-images.js';
import { fixturePath, temporaryFolder } from '../../support.js';
import { encode } from '../stream/support.js';

type File = readonly [name: string, content: string | Uint8Array];
/** `key label pixel`, in the order of the keys. */
type Rows = string[];

const root = temporaryFolder();
const png = (shade: number): Promise<Buffer> =>
  sharp({ create: { width: 2, height: 2, channels: 3, background: { r: shade, g: 1, b: 2 } } })
    .png()
    .toBuffer();
const SHADES = await Promise.all(Array.from({ length: 8 }, (_, i) => png(10 * i)));

const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === 'string' ? new TextEncoder().encode(content) : content;

function folderOf(files: readonly File[]): string {
  const folder = mkdtempSync(path.join(root, 'set-'));
  for (const [name, content] of files) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), content);
  }
  return folder;
}

async function tarOf(files: readonly File[], links: readonly (readonly [string, string])[] = []): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const tar = new TarWriter({ write: async (more) => void chunks.push(...more) });
  for (const [name, content] of files) await tar.append(name, bytesOf(content));
  for (const [name, target] of links) chunks.push(...(await linkMember(name, target)));
  await tar.end();
  return Buffer.concat(chunks);
}

/** A hard link, as tar writes files that it has seen before under another name. */
async function linkMember(name: string, target: string): Promise<Uint8Array[]> {
  const header = Buffer.from((await tarOf([[name, '']])).subarray(0, 512));
  header.write('1', 156);
  header.write(target, 157);
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return [header];
}

async function zipOf(files: readonly File[]): Promise<Buffer> {
  const file = path.join(mkdtempSync(path.join(root, 'zip-')), 'x.zip');
  const fd = openSync(file, 'w');
  const zip = new ZipWriter(fd);
  for (const [name, content] of files) await zip.add(name, bytesOf(content).length, [bytesOf(content)]);
  zip.end();
  closeSync(fd);
  return readFileSync(file);
}

function write(name: string, bytes: Uint8Array): string {
  const file = path.join(mkdtempSync(path.join(root, 'set-')), name);
  writeFileSync(file, bytes);
  return file;
}

/** What encode-vae, extract-dino and fid read. */
async function seenByNetworks(input: string): Promise<Rows> {
  const rows: Rows = [];
  for await (const { key, label, image } of (await openImages(input)).images)
    rows.push(`${key} ${label} ${image.data[0]}`);
  return rows.sort();
}

/** What import reads. */
async function seenByImport(input: string): Promise<Rows> {
  const rows: Rows = [];
  const source = await openRows(input, {});
  for await (const { key, label, tensors } of source.rows) rows.push(`${key} ${label} ${tensors.image[0]}`);
  return rows.sort();
}

/** What train reads by the keys of its latents. */
async function seenByTrain(input: string, rows: Rows): Promise<Rows> {
  const store = await openImageStore(input);
  const reader = new ImageReader();
  const found: Rows = [];
  for (const row of rows) {
    const [key, label] = row.split(/ (?=-?\d+ \d+$)/);
    const { data } = await reader.read(store.place(key));
    found.push(`${key} ${label.split(' ')[0]} ${data[0]}`);
  }
  reader.close();
  return found;
}

/** The rows, or what is wrong with them without the name of the set. */
const outcome = async (rows: Promise<Rows>, input: string): Promise<Rows | string> => {
  try {
    return await rows;
  } catch (error) {
    assert.ok(error instanceof DataError, String((error as Error).stack));
    return error.message.replaceAll(`${input}/`, '').replaceAll(`${input}: `, '').split(';')[0];
  }
};

/** Asserts that all verbs see the same in a folder of these files and in archives of them, in any order. */
async function everywhere(files: readonly File[], order: readonly File[] = files): Promise<Rows | string> {
  const folder = folderOf(files);
  const tar = await tarOf(order);
  const halves = await Promise.all(
    [order.slice(0, order.length / 2), order.slice(order.length / 2)].map((half) => tarOf(half)),
  );
  const pair = mkdtempSync(path.join(root, 'set-'));
  for (const [i, half] of halves.entries()) writeFileSync(path.join(pair, `part-0${i}.tar`), half);
  const archives = [write('x.tar', tar), path.join(pair, 'part-{00..01}.tar'), write('x.tar.gz', gzipSync(tar))];
  const inputs = [folder, ...archives, write('x.zip', await zipOf(order))];
  const expected = await outcome(seenByNetworks(folder), folder);
  for (const input of inputs) {
    // Which of several faults is found first depends on the order.
    const same = (found: Rows | string) =>
      typeof expected === 'string' ? assert.equal(typeof found, 'string') : assert.deepEqual(found, expected, input);
    same(await outcome(seenByNetworks(input), input));
    same(await outcome(seenByImport(input), input));
    if (typeof expected !== 'string' && !/\.(gz|zip)$/.test(input)) same(await seenByTrain(input, expected));
  }
  return expected;
}

const stem = fc.constantFrom('a', 'b', '00001', 'cfg_1.5', 'left.right', 'é', '.hidden', '._a');
const folder = fc.constantFrom('', '', 'cat/', 'dog/', 'dog/deep/', '10/', '.git/', '__MACOSX/');
const ending = fc.constantFrom('.png', '.png', '.PNG', '.img.png', '.jpg', '.bmp', '.txt');
const companion = fc.constantFrom('.cls', '.CLS', '.json');
const content = fc.constantFrom('0', '3\n', '-1', '', 'cat', '1.5', '{"key":"named"}', '{"key":"a","caption":"x"}');
const file: fc.Arbitrary<File> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc
      .tuple(folder, stem, ending, fc.nat(7))
      .map(([at, name, end, i]): File => [at + name + end, SHADES[i]]),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(folder, stem, companion, content).map(([at, name, end, text]): File => [at + name + end, text]),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<File>(['dataset.json', '{"labels":null}'], ['dataset.json', '{"labels":[["a.png",7]]}']),
  },
);

test('any set of files is the same as a folder and as an archive in any order, for every verb', async () => {
  const sets = fc.uniqueArray(file, { minLength: 1, maxLength: 7, selector: ([name]) => name });
  await fc.assert(
    fc.asyncProperty(
      sets.chain((files) => fc.tuple(fc.constant(files), fc.shuffledSubarray(files, { minLength: files.length }))),
      async ([files, order]) => void (await everywhere(files, order)),
    ),
    { numRuns: 40 },
  );
});

const numbered = (ending: string, label: (i: number) => string): File[] =>
  [0, 1, 2].flatMap((i): File[] => [
    [`0000${i}${ending}`, SHADES[i]],
    [`0000${i}.cls`, label(i)],
  ]);

test('several archives are named by a pattern, and each holds files of its own', async () => {
  assert.deepEqual(expandBraces('x-{008..011}.tar'), ['x-008.tar', 'x-009.tar', 'x-010.tar', 'x-011.tar']);
  assert.deepEqual(expandBraces('{a,b}-{1..0}'), ['a-1', 'a-0', 'b-1', 'b-0']);
  assert.deepEqual(expandBraces('x-{1}.tar'), ['x-{1}.tar']);
  assert.throws(() => expandBraces('x-{0..999999999}.tar'), /100000 files/);
  assert.throws(() => expandBraces('{0..999}{0..999}.tar'), /100000 files/);
  const at = mkdtempSync(path.join(root, 'set-'));
  writeFileSync(path.join(at, 'x-0.tar'), await tarOf([['a.png', SHADES[0]]]));
  await assert.rejects(openImages(path.join(at, 'x-{0..1}.tar')), /x-1\.tar: no such file/);
  writeFileSync(path.join(at, 'x-1.tar'), await tarOf([['a.png', SHADES[1]]]));
  await assert.rejects(openImages(path.join(at, 'x-{0..1}.tar')), /x-0\.tar and .*x-1\.tar both hold a file 'a\.png'/);
  writeFileSync(path.join(at, 'x-{0..1}.tar'), await tarOf([['b.png', SHADES[2]]]));
  assert.deepEqual(await seenByNetworks(path.join(at, 'x-{0..1}.tar')), ['b.png -1 20'], 'a file of that very name');
});

test("ImageNet's lists of labels tell the classes of a flat folder", async () => {
  const names = [1, 2, 3].map((i) => `ILSVRC2012_val_0000000${i}.JPEG`);
  const set = folderOf(names.map((name, i): File => [name, SHADES[i]]));
  const classesBy = async (text: string): Promise<[string[], unknown]> => {
    const labels = readLabelFile(write('labels', Buffer.from(text)));
    const { images, metadata } = await openImages(set, { labels });
    const rows: string[] = [];
    for await (const { key, label } of images) rows.push(`${key} ${label}`);
    return [rows, metadata['repa.classes']];
  };
  const expected = [65, 970, 230].map((label, i) => `${names[i]} ${label}`);
  assert.deepEqual(await classesBy(names.map((name, i) => `${name} ${[65, 970, 230][i]}\n`).join('')), [
    expected,
    undefined,
  ]);
  const kaggle =
    'ImageId,PredictionString\nILSVRC2012_val_00000003,n02 85 1 9 2 n01 1 1 2 2 \nILSVRC2012_val_00000001,n03 1 2 3 4\nILSVRC2012_val_00000002,n01 1 2 3 4\n';
  assert.deepEqual(await classesBy(kaggle), [
    [2, 0, 1].map((label, i) => `${names[i]} ${label}`),
    '["n01","n02","n03"]',
  ]);
  assert.deepEqual(await classesBy(`\ufeff${names.map((name) => `${name}\t3`).join('\r\n')}`), [
    names.map((name) => `${name} 3`),
    undefined,
  ]);
  const twins = folderOf(['a/x.png', 'b/x.png'].map((name, i): File => [name, SHADES[i]]));
  const ambiguous = openImages(twins, { labels: readLabelFile(write('labels', Buffer.from('x.png 1\n'))) });
  await assert.rejects(ambiguous, /'x' may be a\/x\.png or b\/x\.png/);
  await assert.rejects(classesBy('490\n361\n171\n'), /line 1 is not a picture's name and its class/);
  await assert.rejects(classesBy(`${names[0]} 1\n${names[1]} 2\n`), /has no label for 'ILSVRC2012_val_00000003.JPEG'/);
  await assert.rejects(classesBy(`${names[0]} 1\n${names[0]} 2\n`), /line 2 names ILSVRC2012_val_00000001.JPEG again/);
});

test('classes are read beside pictures, before or behind them, whatever dots and capitals their names have', async () => {
  const rows = (ending: string) => [0, 1, 2].map((i) => `0000${i}${ending} ${i} ${10 * i}`);
  for (const ending of ['.png', '.image.png', '.PNG']) {
    const files = numbered(ending, String);
    assert.deepEqual(await everywhere(files), rows(ending));
    assert.deepEqual(await everywhere(files, files.toReversed()), rows(ending));
  }
  assert.deepEqual(
    await everywhere([
      ['0_a.5.png', SHADES[1]],
      ['0_a.5.cls', '5'],
      ['0_a.6.png', SHADES[2]],
    ]),
    ['0_a.5.png 5 10', '0_a.6.png -1 20'],
  );
  for (const [text, shown] of [
    ['', "''"],
    ['tench', "'tench'"],
    ['1.5', "'1.5'"],
    ['0x1', "'0x1'"],
    ['99999999999', "'99999999999'"],
  ]) {
    assert.equal(await everywhere(numbered('.png', () => text)), `00000.cls: ${shown} is no class number`);
  }
});

test('labels of metadata.jsonl and metadata.csv count, as numbers and as names', async () => {
  const pictures: File[] = [
    ['a.png', SHADES[0]],
    ['b/c.png', SHADES[1]],
  ];
  const lines = (a: unknown, b: unknown): string =>
    `${JSON.stringify({ file_name: 'a.png', label: a })}\n${JSON.stringify({ file_name: 'b/c.png', label: b })}\n`;
  assert.deepEqual(await everywhere([...pictures, ['metadata.jsonl', lines(5, 3)]]), ['a.png 5 0', 'b/c.png 3 10']);
  assert.deepEqual(await everywhere([...pictures, ['metadata.jsonl', lines('owl', 'cat')]]), [
    'a.png 1 0',
    'b/c.png 0 10',
  ]);
  const csv = 'file_name,text,label\r\na.png,"a ""big"", red\nowl",2\nb/c.png,,1\n';
  assert.deepEqual(await everywhere([...pictures, ['metadata.csv', csv]]), ['a.png 2 0', 'b/c.png 1 10']);
  const captions = '{"file_name":"a.png","text":"an owl"}\n{"file_name":"b/c.png","text":"a cat"}\n';
  assert.deepEqual(await everywhere([...pictures, ['metadata.jsonl', captions]]), ['a.png -1 0', 'b/c.png 0 10']);
  for (const [name, content, message] of [
    ['metadata.jsonl', '{"file_name":"a.png","label":1}\n', "metadata.jsonl: has no label for 'b/c.png'"],
    ['metadata.jsonl', '{"label":1}', 'metadata.jsonl: entry 1 has no file_name'],
    ['metadata.jsonl', '[', 'metadata.jsonl: line 1 is no JSON object'],
    ['metadata.csv', 'file_name,label\na.png\n', 'metadata.csv: row 2 has 1 cells, not 2'],
    ['metadata.csv', 'file_name,label\nx"a.png,1\n', 'metadata.csv: row 2 has a quote that is not of a whole cell'],
    ['metadata.csv', 'file_name,label,label\na.png,1,2\n', "metadata.csv: has two columns 'label'"],
    ['metadata.jsonl', lines(1, 2.5), 'metadata.jsonl: entry 2 has the label 2.5, which is no class number'],
    ['metadata.jsonl', lines(1, 2 ** 31), 'metadata.jsonl: entry 2 has the label 2147483648, which is no class number'],
    ['metadata.jsonl', lines('1', '0x2'), "metadata.jsonl: '0x2' is no class number"],
    ['metadata.jsonl', lines(1, ' '), "metadata.jsonl: has no label for 'b/c.png'"],
    ['metadata.jsonl', `${lines(1, 2)}${lines(1, 3)}`, "metadata.jsonl: 'b/c.png' is of class 2 and of class 3"],
    [
      'dataset.json',
      '{"labels":[["a.png",1],["b/c.png",0],["a.png",2]]}',
      "dataset.json: 'a.png' is of class 1 and of class 2",
    ],
  ] as const) {
    assert.equal(await everywhere([...pictures, [name, content]]), message);
  }
});

test('folders of classes and dataset.json count in archives too', async () => {
  const files: File[] = [
    ['dog/0.png', SHADES[0]],
    ['cat/0.png', SHADES[1]],
    ['top.png', SHADES[2]],
  ];
  assert.deepEqual(await everywhere(files), ['cat/0.png 0 10', 'dog/0.png 1 0', 'top.png -1 20']);
  const list = (labels: [string, unknown][]): File => ['dataset.json', JSON.stringify({ labels })];
  const all = list([
    ['dog/0.png', 5],
    ['cat/0.png', 6],
    ['top.png', 7],
  ]);
  assert.deepEqual(await everywhere([...files, all]), ['cat/0.png 6 10', 'dog/0.png 5 0', 'top.png 7 20']);
  assert.match((await everywhere([...files, list([['dog/0.png', 5]])])) as string, /dataset\.json: has no label for/);
  assert.match((await everywhere([...files, list([['a', 6_000_000_000]])])) as string, /labels\[0\] is not a pair/);
});

test('names with dots are pictures of their own, and img2dataset calls keys what the files are called', async () => {
  const files = ['cfg_1.0.png', 'cfg_1.5.png', '0.left.png', '0.right.png'].map((name, i): File => [name, SHADES[i]]);
  assert.equal((await everywhere(files)).length, 4);
  const web: File[] = [
    ['000.jpg', SHADES[1]],
    ['000.json', '{"key":"000","caption":"x"}'],
    ['000.txt', 'x'],
  ];
  assert.deepEqual(await everywhere(web), ['000.jpg -1 10']);
  assert.deepEqual(
    await everywhere([
      ['a_5.png', SHADES[1]],
      ['a_5.json', '{"key":"a.5"}'],
    ]),
    ['a.5 -1 10'],
  );
  const twins: File[] = [
    ['a.png', SHADES[1]],
    ['a.json', '{"key":"b.png"}'],
    ['b.png', SHADES[2]],
  ];
  assert.match((await everywhere(twins)) as string, /have the same key 'b\.png'/);
});

test('links in an archive are the pictures that they stand for, and of members of one name the last counts', async () => {
  const files: File[] = [
    ['a.png', SHADES[1]],
    ['z.png', SHADES[2]],
  ];
  const linked = write(
    'x.tar',
    await tarOf(files, [
      ['b.png', 'a.png'],
      ['c.png', './b.png'],
      ['d.png', 'absent.png'],
    ]),
  );
  const rows = ['a.png -1 10', 'b.png -1 10', 'c.png -1 10', 'z.png -1 20'];
  assert.deepEqual(await seenByNetworks(linked), rows);
  assert.deepEqual(await seenByImport(linked), rows);
  assert.deepEqual(await seenByTrain(linked, rows), rows);
  assert.match((await openImages(linked)).notes.join(), /1 links to what is not in the archive/);
  const twice = write('x.tar', await tarOf([...files, ['a.png', SHADES[3]]]));
  assert.deepEqual(await seenByNetworks(twice), ['a.png -1 30', 'z.png -1 20']);
  assert.match((await openImages(twice)).notes.join(), /1 members come again under the same name/);
});

test('the parts of a set are the set, each picture once', async () => {
  const files = SHADES.map((bytes, i): File => [`${i}.png`, bytes]);
  for (const input of [
    folderOf(files),
    write('x.tar', await tarOf(files)),
    write('x.tgz', gzipSync(await tarOf(files))),
  ]) {
    const keys: string[] = [];
    for (const index of [0, 1, 2]) {
      const part = await openImages(input, { shard: { index, count: 3 } });
      const before = keys.length;
      for await (const { key } of part.images) keys.push(key);
      assert.equal(part.total, keys.length - before);
    }
    assert.deepEqual(
      keys,
      files.map(([name]) => name),
    );
  }
});

test('what is left out is counted, and so is what may surprise', async () => {
  const notes = async (...files: File[]) => {
    const [folder, tar] = [folderOf(files), write('x.tar', await tarOf(files))];
    const told = (await openImages(folder)).notes.map((note) => note.replaceAll(`${folder}/`, ''));
    assert.deepEqual(
      (await openImages(tar)).notes.map((note) => note.replaceAll(`${tar}: `, '')),
      told,
    );
    assert.deepEqual((await openRows(folder, {})).notes, (await openImages(folder)).notes);
    return told.join('; ');
  };
  const a: File = ['a.png', SHADES[1]];
  assert.equal(await notes(a), '');
  assert.equal(
    await notes(a, ['x.bmp', ''], ['y.BMP', ''], ['z.ppm', '']),
    'left out: 2 .bmp, 1 .ppm: formats that are not read (convert them to .png)',
  );
  assert.equal(await notes(a, ['._a.png', '']), 'left out: 1 hidden file, such as ._a.png');
  assert.match(await notes(a, ['b.cls', '1']), /1 \.cls file beside no picture, such as b\.cls/);
  assert.match(await notes(a, ['a.cls', '1'], ['b.png', SHADES[0]]), /1 of 2 pictures have no \.cls.*such as b\.png/);
  assert.match(await notes(['x/a.png', SHADES[0]]), /of one: they lie in 'x'/);
  assert.match(await notes(['2/a.png', SHADES[0]], ['10/a.png', SHADES[0]]), /'10' is class 0/);
  assert.match(
    await notes(a, ['dataset.json', '{"labels":[["a.png",1],["b.png",1]]}']),
    /1 of files that are not there/,
  );
});

test('every set that is not a pipe is known by its keys and labels, however it comes', async () => {
  const files = ['a/0.png', 'b/1.png'].map((name, i): File => [name, SHADES[i]]);
  const image = { name: 'image', dtype: 'u8', shape: [2, 2, 3] } as const;
  const rows = files.map(([key], label) => ({ key, label, tensors: { image: new Uint8Array(12) } }));
  const stream = write('x', await encode({ columns: [image], metadata: {} }, rows));
  const sets = [folderOf(files), write('x.zip', await zipOf(files.toReversed())), stream];
  const names = await Promise.all(sets.map(async (input) => (await openImages(input)).names));
  assert.match(names[0]!, /^[0-9a-f]{64}$/);
  assert.deepEqual(names, [names[0], names[0], names[0]]);
  const ofArrays = async (second: number): Promise<string | undefined> => {
    const file = path.join(root, `named-${second}.npz`);
    await writeNpz(file, [
      ['arr_0', { shape: [2, 2, 2, 3], dtype: 'u8', data: new Uint8Array(24) }],
      ['arr_1', { shape: [2], dtype: 'i32', data: Int32Array.of(0, second) }],
    ]);
    return (await openImages(file)).names;
  };
  assert.notEqual(await ofArrays(1), await ofArrays(2));
  assert.match((await openImages(fixturePath('parquet/snappy.parquet'))).names!, /^[0-9a-f]{64}$/);
});

test('the names of classes go into the header', async () => {
  const files: File[] = [
    ['dog/0.png', SHADES[0]],
    ['cat/0.png', SHADES[1]],
  ];
  for (const input of [folderOf(files), write('x.tar', await tarOf(files))]) {
    assert.deepEqual((await openImages(input)).metadata, { 'repa.classes': '["cat","dog"]' });
    assert.deepEqual((await openRows(input, {})).metadata, { 'repa.classes': '["cat","dog"]' });
  }
});

test('samples of arrays and pictures are named and classed by the same rules, in any order of members', async () => {
  const npy = encodeNpy({ shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) });
  const files: File[] = [
    ['s1.cls', '4'],
    ['s1.png', SHADES[1]],
    ['s1.feat.npy', npy],
    ['._s1.png', ''],
    ['s2.feat.npy', npy],
    ['s2.png', SHADES[2]],
  ];
  const read = async (order: File[]) => {
    const rows: string[] = [];
    for await (const { key, label, tensors } of (await openRows(write('x.tar', await tarOf(order)), {})).rows) {
      rows.push(`${key} ${label} ${tensors.image[0]} ${tensors.feat}`);
    }
    return rows.sort();
  };
  assert.deepEqual(await read(files), ['s1.png 4 10 1,2', 's2.png -1 20 1,2']);
});

test("an .npz's classes are read by every verb, and refused where they are none", async () => {
  const images = { shape: [4, 2, 2, 3], dtype: 'u8' as const, data: Uint8Array.from({ length: 48 }, (_, i) => i) };
  const file = async (name: string, labels: Float64Array | BigInt64Array | Int32Array, count = 4) => {
    const dtype = labels instanceof Float64Array ? 'f64' : labels instanceof Int32Array ? 'i32' : 'i64';
    const out = path.join(mkdtempSync(path.join(root, 'set-')), 'x.npz');
    await writeNpz(out, [
      ['arr_0', images],
      [name, { shape: [count], dtype, data: labels }],
    ]);
    return out;
  };
  const rows = [0, 1, 2, 3].map((i) => `00000${i} ${i % 3} ${12 * i}`);
  for (const name of ['arr_1', 'label', 'labels']) {
    const input = await file(name, BigInt64Array.of(0n, 1n, 2n, 0n));
    assert.deepEqual(await seenByNetworks(input), rows);
    assert.deepEqual(await seenByImport(input), rows);
  }
  const bad: [Float64Array | BigInt64Array | Int32Array, RegExp][] = [
    [Float64Array.of(0, 1.7, 2, 3), /arr_1\[1\] is 1\.7, no class number/],
    [Float64Array.of(0, 1, Number.NaN, 3), /arr_1\[2\] is NaN/],
    [BigInt64Array.of(4294967301n, 0n, 0n, 0n), /arr_1\[0\] is 4294967301/],
    [BigInt64Array.of(0n, -2n, 0n, 0n), /arr_1\[1\] is -2/],
    [Int32Array.of(0, 1, 2), /3 labels for 4 rows/],
  ];
  for (const [labels, message] of bad) {
    const input = await file('arr_1', labels, labels.length);
    await assert.rejects(
      seenByNetworks(input),
      (error: Error) => error instanceof DataError && message.test(error.message),
    );
    await assert.rejects(
      seenByImport(input),
      (error: Error) => error instanceof DataError && message.test(error.message),
    );
  }
  const other = await file('classes', Int32Array.of(0, 1, 2, 0));
  assert.match((await openImages(other)).notes.join(), /left out: classes \[4\]/);
  assert.match((await openRows(other, {})).notes!.join(), /left out: classes \[4\]/);
});

test('bytes that are no images are not taken for something else', async () => {
  const npz = async (shape: number[], name = 'arr_0') => {
    const out = path.join(mkdtempSync(path.join(root, 'set-')), 'x.npz');
    const size = shape.reduce((a, b) => a * b);
    await writeNpz(out, [[name, { shape, dtype: 'u8', data: new Uint8Array(size) }]]);
    return out;
  };
  for (const shape of [
    [2, 3, 4, 4],
    [2, 4, 4],
    [2, 4, 4, 4],
    [2, 5],
  ]) {
    await assert.rejects(openRows(await npz(shape), {}), /images are \[H, W, 3\]/);
    await assert.rejects(openImages(await npz(shape)), /not images: u8 \[N, H, W, 3\]/);
    await assert.rejects(openRows(await npz(shape, 'image'), {}), /images are u8 \[H, W, 3\]/);
  }
  assert.equal((await openRows(await npz([2, 3, 4, 4]), { column: 'latent' })).columns[0].name, 'latent');
  for (const name of ['my feats', '0', 'key', 'dir/x']) {
    await assert.rejects(openRows(await npz([2, 5], name), {}), /is no name of a column/);
  }
});

test('names that are not UTF-8 are refused, or left out as unreadable pictures are', async () => {
  const folder = folderOf([
    ['plain.png', SHADES[0]],
    ['\ufffd.png', SHADES[1]],
  ]);
  writeFileSync(Buffer.concat([Buffer.from(`${folder}/caf`), Buffer.of(0xe9), Buffer.from('.png')]), SHADES[2]);
  const latin = await tarOf([
    ['plain.png', SHADES[0]],
    ['caf_.png', SHADES[2]],
  ]);
  latin[1024 + 3] = 0xe9;
  latin.write(
    `${latin
      .subarray(1024, 1536)
      .reduce((sum, byte, i) => sum + (i >= 148 && i < 156 ? 32 : byte), 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    1024 + 148,
  );
  for (const [input, count] of [
    [folder, 2],
    [write('x.tar', latin), 1],
  ] as const) {
    await assert.rejects(seenByNetworks(input), /its name is not UTF-8/);
    let taken = 0;
    for await (const _ of (await openImages(input, { skip: () => true })).images) taken++;
    assert.equal(taken, count);
  }
});
