import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { encodeNpy, readNpy } from '../../src/lib/formats/npy.js';
import { openNpz, writeNpz } from '../../src/lib/formats/npz.js';
import { TarWriter } from '../../src/lib/formats/tar-writer.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { rawRow } from '../../src/lib/stream/rows.js';
import { atomicFileSink } from '../../src/lib/stream/sink.js';
import { writeNpy } from '../support.js';
import { repa, shell, temporaryFolder } from './binary.js';
import { makeImages, makeTensors } from './support.js';

interface Rows {
  schema: Awaited<ReturnType<typeof openTensorStream>>['schema'];
  rows: { key: string; label: number; tensors: Record<string, number[]> }[];
}

async function readStream(file: string): Promise<Rows> {
  const reader = await openTensorStream(file);
  const rows: Rows['rows'] = [];
  for await (const batch of reader) {
    for (let row = 0; row < batch.rows; row++) {
      const tensors = Object.keys(batch.tensors).map((name) => [name, [...rawRow(batch, name, row)]]);
      rows.push({ key: batch.keys[row], label: batch.labels[row], tensors: Object.fromEntries(tensors) });
    }
  }
  return { schema: reader.schema, rows };
}

/** Runs lines of shell that all have to succeed. */
async function lines(cwd: string, ...script: string[]): Promise<void> {
  for (const line of script) {
    const { code, stderr } = await shell(line, { cwd });
    assert.equal(code, 0, `${line}\n${stderr}`);
  }
}

/** A folder with images/ of two classes, and a stream of the same. */
async function withImages(t: TestContext, count = 5): Promise<{ cwd: string; images: Rows }> {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), count, { side: 6 });
  await lines(cwd, 'repa import imgs > images');
  return { cwd, images: await readStream(path.join(cwd, 'images')) };
}

test('a folder of images becomes a stream, with its keys and classes', async (t) => {
  const { cwd, images } = await withImages(t);
  assert.equal(images.schema.metadata['repa.kind'], 'images');
  assert.deepEqual(
    images.schema.columns.map(({ name, shape }) => [name, [...shape]]),
    [['image', [6, 6, 3]]],
  );
  assert.deepEqual(
    images.rows.map(({ key, label }) => `${key} ${label}`),
    ['class0/000.png 0', 'class0/002.png 0', 'class0/004.png 0', 'class1/001.png 1', 'class1/003.png 1'],
  );
  for (const { key, tensors } of images.rows) {
    const expected = await sharp(path.join(cwd, 'imgs', key))
      .raw()
      .toBuffer();
    assert.deepEqual(tensors.image, [...expected], key);
  }
});

test('images go through a folder, an archive and an .npz unchanged', async (t) => {
  const { cwd, images } = await withImages(t);
  await lines(
    cwd,
    'repa export images -o folder/ && repa import folder > from-folder',
    'cat images | repa export -o images.tar && repa import images.tar > from-tar',
    'cat images | repa export -o images.npz && repa import images.npz > from-npz',
    'repa import images.npz --like images > like',
  );
  for (const name of ['from-folder', 'from-tar', 'like']) {
    assert.deepEqual((await readStream(path.join(cwd, name))).rows, images.rows, name);
  }
  const numbered = images.rows.map((row, i) => ({ ...row, key: String(i).padStart(6, '0') }));
  assert.deepEqual((await readStream(path.join(cwd, 'from-npz'))).rows, numbered);
  const npz = openNpz(path.join(cwd, 'images.npz'));
  assert.deepEqual([...npz.names], ['arr_0', 'arr_1']);
  assert.deepEqual(npz.info('arr_0'), { shape: [5, 6, 6, 3], dtype: 'u8' });
  npz.close();
  const { labels } = JSON.parse(readFileSync(path.join(cwd, 'folder/dataset.json'), 'utf8'));
  assert.deepEqual(
    labels,
    images.rows.map(({ key, label }) => [key, label]),
  );
  assert.deepEqual(
    readdirSync(cwd).filter((name) => name.includes('.arrows')),
    [],
  ); // what stdin was kept in
});

test('latents and features go through .npy, .npz and an archive unchanged, whatever their type', async (t) => {
  const cwd = temporaryFolder(t);
  const keys = ['a/1.png', 'a/2.png', 'b.v2/3.tar.gz'];
  for (const dtype of ['f16', 'f32'] as const) {
    await makeTensors(path.join(cwd, 'feats'), keys, {
      name: 'feature',
      dtype,
      shape: [4, 3],
      dimNames: ['tokens', 'dim'],
    });
    const { rows, schema } = await readStream(path.join(cwd, 'feats'));
    await lines(
      cwd,
      'repa export feats -o f.npy && repa import f.npy --like feats > from-npy',
      'repa export feats -o f.npz && repa import f.npz --like feats > from-npz',
      'repa export feats -o f.tar && repa import f.tar > from-tar',
    );
    for (const name of ['from-npy', 'from-npz', 'from-tar']) {
      const found = await readStream(path.join(cwd, name));
      assert.deepEqual(found.rows, rows, name);
      assert.deepEqual(found.schema.columns, schema.columns, name);
    }
    assert.deepEqual(readNpy(path.join(cwd, 'f.npy')).shape, [3, 4, 3]);
  }
});

test("the official preprocessing's folder is read and written", async (t) => {
  const cwd = temporaryFolder(t);
  const folder = path.join(cwd, 'vae-sd/00000');
  mkdirSync(folder, { recursive: true });
  const labels: [string, number][] = [];
  for (const i of [0, 1, 2]) {
    const name = `img-mean-std-0000000${i}.npy`;
    writeNpy(path.join(folder, name), {
      shape: [8, 2, 2],
      dtype: 'f32',
      data: Float32Array.from({ length: 32 }, (_, j) => i + j / 32),
    });
    labels.push([`00000/${name}`, 7 - i]);
  }
  writeFileSync(path.join(cwd, 'vae-sd/dataset.json'), JSON.stringify({ labels }));
  await lines(cwd, 'repa import vae-sd > latents', 'repa export latents -o again/');
  const { schema, rows } = await readStream(path.join(cwd, 'latents'));
  assert.deepEqual(
    schema.columns.map(({ name, shape }) => [name, [...shape]]),
    [['moments', [8, 2, 2]]],
  );
  assert.deepEqual(
    rows.map(({ key, label }) => [key, label]),
    [
      ['00000/img00000000.png', 7],
      ['00000/img00000001.png', 6],
      ['00000/img00000002.png', 5],
    ],
  );
  assert.equal(schema.metadata['repa.latent.scale'], '[0.18215]');
  assert.deepEqual(JSON.parse(schema.metadata['repa.preprocess']), { crop: 'adm', size: 16 });
  for (const file of ['dataset.json', ...labels.map(([name]) => name)]) {
    const [before, after] = ['vae-sd', 'again'].map((each) => readFileSync(path.join(cwd, each, file)));
    if (file.endsWith('.json')) assert.deepEqual(JSON.parse(after.toString()), JSON.parse(before.toString()));
    else assert.deepEqual(after, before, file);
  }
});

test('a run trains on imported latents and features', async (t) => {
  const cwd = temporaryFolder(t);
  await makeTensors(path.join(cwd, 'z'), ['1', '2', '3', '4'], { name: 'latent', dtype: 'f32', shape: [4, 8, 8] });
  await makeTensors(path.join(cwd, 'h'), ['1', '2', '3', '4'], { name: 'feature', dtype: 'f32', shape: [4, 5] });
  const sizes = '--model SiT-S/4 --depth 2 --width 32 --projector-dim 8 --align-depth 1 --batch-size 2 --steps 1';
  await lines(
    cwd,
    'repa export z -o z.npy && repa import z.npy > latents',
    'repa export h -o h.npy && repa import h.npy > feats',
    `repa train ${sizes} > log`,
  );
  assert.ok(existsSync(path.join(cwd, 'ckpt/step-0000001')));
});

test('codecs of latents, names of columns: as they are told', async (t) => {
  const cwd = temporaryFolder(t);
  const values = {
    shape: [2, 16, 2, 2],
    dtype: 'f64',
    data: Float64Array.from({ length: 128 }, (_, i) => Math.sqrt(i)),
  } as const;
  writeNpy(path.join(cwd, 'z.npy'), { ...values, shape: [...values.shape] });
  const unknown = await repa(['import', 'z.npy', '-o', 'latents'], { cwd });
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /16 channels[\s\S]*--latent-scale/);
  await lines(
    cwd,
    'repa import z.npy --vae f8 --latent-scale 0.5 --latent-shift 0.1 > latents',
    'repa import z.npy --column hidden > hidden',
    'repa import z.npy --column moments --vae f8 --latent-scale 0.5 > moments',
  );
  const { metadata } = (await readStream(path.join(cwd, 'latents'))).schema;
  assert.deepEqual(
    [metadata['repa.model'], metadata['repa.latent.scale'], metadata['repa.latent.shift']],
    ['f8', '[0.5]', '[0.1]'],
  );
  const hidden = await readStream(path.join(cwd, 'hidden'));
  assert.equal(hidden.schema.metadata['repa.kind'], 'hidden');
  assert.deepEqual(hidden.rows[1].tensors.hidden, [...Float32Array.from(values.data.subarray(64))]);
});

test('several columns: all of them in .npz and archives, one in .npy', async (t) => {
  const cwd = temporaryFolder(t);
  await writeNpz(path.join(cwd, 'two.npz'), [
    ['feature', { shape: [2, 4, 3], dtype: 'f32', data: Float32Array.from({ length: 24 }, (_, i) => i) }],
    ['cls', { shape: [2, 3], dtype: 'f16', data: Uint16Array.from({ length: 6 }, (_, i) => 0x3c00 + i) }],
    ['label', { shape: [2], dtype: 'i64', data: BigInt64Array.of(3n, 9n) }],
  ]);
  await lines(
    cwd,
    'repa import two.npz > two',
    'repa export two -o again.npz',
    'repa export two -o two.tar',
    'repa import two.tar > tar',
  );
  const stream = await readStream(path.join(cwd, 'two'));
  assert.deepEqual(
    stream.rows.map(({ label }) => label),
    [3, 9],
  );
  assert.deepEqual((await readStream(path.join(cwd, 'tar'))).rows, stream.rows);
  const [before, after] = ['two.npz', 'again.npz'].map((name) => openNpz(path.join(cwd, name)));
  for (const name of before.names) assert.deepEqual(after.read(name), before.read(name), name);
  const ambiguous = await repa(['export', 'two', '-o', 'x.npy'], { cwd });
  assert.equal(ambiguous.code, 2);
  assert.match(ambiguous.stderr, /2 columns: feature[\s\S]*--column/);
  await lines(cwd, 'repa export two --column cls -o cls.npy');
  assert.deepEqual(readNpy(path.join(cwd, 'cls.npy')), {
    shape: [2, 3],
    dtype: 'f16',
    data: Uint16Array.from({ length: 6 }, (_, i) => 0x3c00 + i),
  });
});

test("other people's archives: names up to the first dot, samples without anything of ours", async (t) => {
  const cwd = temporaryFolder(t);
  const sink = atomicFileSink(path.join(cwd, 'web.tar'));
  const tar = new TarWriter(sink);
  const png = await sharp({ create: { width: 2, height: 2, channels: 3, background: '#102030' } })
    .png()
    .toBuffer();
  await tar.append('s1.txt', Buffer.from('a caption alone'));
  await tar.append('s2.jpg.txt', Buffer.from('a caption'));
  await tar.append('s2.PNG', png);
  await tar.append('s2.feat.npy', encodeNpy({ shape: [3], dtype: 'f32', data: Float32Array.of(1, 2, 3) }));
  await tar.append('s2.cls', Buffer.from('5\n'));
  await tar.end();
  await sink.close();
  await lines(cwd, 'repa import web.tar > out');
  const { rows } = await readStream(path.join(cwd, 'out'));
  assert.deepEqual(rows, [
    { key: 's2.PNG', label: 5, tensors: { image: Array(4).fill([0x10, 0x20, 0x30]).flat(), feat: [1, 2, 3] } },
  ]);
});

test('what does not fit is named, and leaves no output', async (t) => {
  const { cwd } = await withImages(t);
  const fail = async (args: string[], code: number, message: RegExp) => {
    const outcome = await repa([...args, '-o', args[0] === 'export' ? 'out.npy' : 'out'], { cwd });
    assert.equal(outcome.code, code, outcome.stderr);
    assert.match(outcome.stderr, message);
  };
  const npy = (name: string, shape: number[], values: Int32Array | Float32Array) =>
    writeNpy(path.join(cwd, name), { shape, dtype: values instanceof Int32Array ? 'i32' : 'f32', data: values });
  npy('vector.npy', [4], new Float32Array(4));
  npy('integers.npy', [2, 2], new Int32Array(4));
  npy('three.npy', [3, 2], new Float32Array(6));
  npy('cut.npy', [3, 2], new Float32Array(6));
  truncateSync(path.join(cwd, 'cut.npy'), 140);
  await writeNpz(path.join(cwd, 'odd.npz'), [
    ['mu', { shape: [2, 2], dtype: 'f32', data: new Float32Array(4) }],
    ['sigma', { shape: [3, 2], dtype: 'f32', data: new Float32Array(6) }],
  ]);
  await fail(['import', 'vector.npy'], 65, /\[4\], not one tensor a row/);
  await fail(['import', 'integers.npy'], 65, /holds i32/);
  await fail(['import', 'cut.npy'], 65, /cut\.npy/);
  await fail(['import', 'odd.npz'], 65, /mu \[2, 2\], sigma \[3, 2\]/);
  await fail(['import', 'three.npy', '--like', 'images'], 65, /three\.npy has 3 rows, images has 5/);
  await fail(['import', 'absent.npy'], 66, /absent/);
  await sharp({ create: { width: 9, height: 6, channels: 3, background: 'red' } })
    .png()
    .toFile(path.join(cwd, 'imgs/odd.png'));
  await fail(['import', 'imgs'], 65, /'odd\.png' is 9x6, those before are 6x6[\s\S]*--size/);
  await lines(cwd, 'repa import imgs --size 4 > cropped');
  assert.deepEqual((await readStream(path.join(cwd, 'cropped'))).schema.columns[0].shape, [4, 4, 3]);
  await fail(['export', 'absent'], 66, /absent/);
  for (const out of ['out.csv', 'out']) {
    const { code, stderr } = await repa(['export', 'images', '-o', out], { cwd });
    assert.equal(code, 2);
    assert.match(stderr, /\.npy, \.npz, \.tar/);
  }
  await makeTensors(path.join(cwd, 'twins'), ['x.png', 'x.jpg'], { name: 'hidden', dtype: 'f32', shape: [2] });
  assert.match((await repa(['export', 'twins', '-o', 'out/'], { cwd })).stderr, /images or moments, not of 'hidden'/);
  assert.deepEqual(
    readdirSync(cwd).filter((name) => name.startsWith('out')),
    [],
  );
});

test('a key that leads out of the folder is refused', async (t) => {
  const cwd = temporaryFolder(t);
  const outside = path.join(cwd, 'escaped.png');
  for (const key of ['../escaped', outside, 'a/../../escaped']) {
    const sink = atomicFileSink(path.join(cwd, 'images'));
    const { TensorWriter } = await import('../../src/lib/stream/writer.js');
    const writer = new TensorWriter(sink, {
      columns: [{ name: 'image', dtype: 'u8', shape: [2, 2, 3] }],
      metadata: {},
    });
    await writer.append(key, 0, { image: new Uint8Array(12) });
    await writer.end();
    const { code, stderr } = await repa(['export', 'images', '-o', 'out/'], { cwd });
    assert.equal(code, 65, stderr);
    assert.match(stderr, /is no name of a file in a folder/);
    assert.equal(existsSync(outside), false);
  }
});
