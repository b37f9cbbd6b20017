/** repa info: whatever is given is told by its content, in few lines. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { factLines, foldNumbers } from '../../../src/lib/contents/facts.js';
import { describe } from '../../../src/lib/contents/index.js';
import { DataError } from '../../../src/lib/errors.js';
import { exportEvents } from '../../../src/lib/exchange/export-log.js';
import { exportTensors } from '../../../src/lib/exchange/export-tensors.js';
import { temporaryFolder } from '../../commands/binary.js';
import { makeImages, makeTensors } from '../../commands/support.js';
import { writeNpy } from '../../support.js';

const at = (name: string): string => fileURLToPath(new URL(`../../../../${name}`, import.meta.url));

test('names that differ in one number are told in one line', () => {
  assert.deepEqual(
    foldNumbers([
      'x.w: f32 [2]',
      'blocks.0.w: f32 [3]',
      'blocks.0.b: f32 [3]',
      'blocks.1.w: f32 [3]',
      'blocks.1.b: f32 [4]',
    ]),
    ['x.w: f32 [2]', 'blocks.{0..1}.w: f32 [3]', 'blocks.0.b: f32 [3]', 'blocks.1.b: f32 [4]'],
  );
  assert.deepEqual(foldNumbers(['a.0.w: x', 'a.2.w: x', 'note: 1 of 2. It ends']), [
    'a.0.w: x',
    'a.2.w: x',
    'note: 1 of 2. It ends',
  ]);
  assert.deepEqual(factLines({ sets: [{ rows: 3 }, { rows: 4 }] }), ['sets', '  0', '    rows 3', '  1', '    rows 4']);
  const lines = factLines({
    deep: { a: 1, b: { c: [1, 2], d: 'x' } },
    many: Array.from({ length: 99 }, (_, i) => `n${i}: f32`),
  });
  assert.deepEqual(lines.slice(0, 5), ['deep', '  a  1', '  b', '    c [1,2], d x', 'many']);
  assert.equal(lines.at(-1), '  and 69 more: --json has all');
});

test('files and folders of every kind are told', async (t) => {
  const cwd = temporaryFolder(t);
  const file = (name: string): string => path.join(cwd, name);
  await makeImages(file('pictures'), 6, { classes: 2, side: 16 });
  await makeTensors(
    file('latents'),
    ['a/0.png', 'b/1.png'],
    { name: 'latent', dtype: 'f32', shape: [3, 4, 4] },
    { 'repa.model': 'tiny' },
  );
  await exportTensors(file('latents'), file('latents.npz'), {});
  await exportTensors(file('latents'), file('latents.tar'), {});
  await exportTensors(file('latents'), file('latents.parquet'), {});
  writeNpy(file('array.npy'), { shape: [2, 3], dtype: 'f32', data: new Float32Array(6) });
  copyFileSync(at('src/assets/emoji-cnn.onnx'), file('network.onnx'));
  mkdirSync(file('run'));
  const line = { step: 2, loss: 0.5, velocity_loss: 0.25, seconds: 0.5, images_per_second: 8 };
  writeFileSync(
    file('run/log.ndjson'),
    `${JSON.stringify({ ...line, step: 1 })}\n${JSON.stringify(line)}\n${JSON.stringify({ step: 2, evaluation: 'samples', FID: 12 })}\n`,
  );
  exportEvents(file('run'), file('events'));
  writeFileSync(file('scores.ndjson'), '{"FID":1}\n{"FID":2}\n');

  const told = async (name: string) => {
    const { path: _, ...facts } = await describe(path.resolve(cwd, name));
    return facts;
  };
  const pictures = {
    pictures: 6,
    files: { '.png': 6 },
    classes: 2,
    names: 'class0 class1',
    size: '16x16, of 6 looked at',
  };
  assert.deepEqual(await told('pictures'), { holds: 'folder of pictures', ...pictures });
  assert.deepEqual(await told('pictures/class0/000.png'), { holds: 'picture', format: 'png', size: '16x16' });
  const latents = await told('latents');
  assert.deepEqual([latents.rows, latents.columns, latents['repa.model']], [2, ['latent: f32 [3, 4, 4]'], 'tiny']);
  assert.deepEqual(await told('latents.npz'), {
    holds: 'NumPy arrays',
    arrays: ['latent: f32 [2, 3, 4, 4]', 'label: i64 [2]'],
  });
  assert.deepEqual(await told('latents.tar'), {
    holds: 'tar archive',
    pictures: 0,
    arrays: 2,
    files: { '.cls': 2, '.json': 2, '.npy': 2 },
    classes: 2,
  });
  assert.deepEqual((await told('latents.parquet')).columns, [
    'key: UTF8',
    'label: INT64',
    'latent: list of list of list of FLOAT',
  ]);
  assert.deepEqual(await told('array.npy'), { holds: 'NumPy array', dtype: 'f32', shape: [2, 3] });
  const network = await told('network.onnx');
  assert.deepEqual(
    [network.inputs, network.outputs, network.parameters],
    [['image: f32 [?, 3, 64, 64]'], ['map: f32 [?, 192, 4, 4]'], 866304],
  );
  const log = {
    step: 2,
    loss: 0.5,
    velocity_loss: 0.25,
    seconds: 1,
    images_per_second: 8,
    measured: { samples: 'step 2, FID 12' },
  };
  assert.deepEqual(await told('run/log.ndjson'), { holds: 'log of a run', ...log });
  const { from: _from, to: _to, ...events } = await told('events');
  assert.deepEqual(events, {
    holds: 'TensorBoard events',
    records: 4,
    step: 2,
    tags: [
      'loss: 2, last 0.5',
      'velocity_loss: 2, last 0.25',
      'seconds: 2, last 0.5',
      'images_per_second: 2, last 8',
      'FID: 1, last 12',
    ],
  });
  assert.deepEqual(await told('scores.ndjson'), { holds: 'lines of JSON', lines: 2, fields: 'FID' });
  const [model, ema, opt, args, steps] = (await told(at('test/fixtures/official/training.pt'))).entries as string[];
  assert.deepEqual([model, ema], ['model: 38 tensors of 15558 numbers', 'ema: 38 tensors of 15558 numbers']);
  assert.deepEqual([opt, steps], ['opt: 111 tensors of 31025 numbers', 'steps: 1']);
  assert.match(args, /^args: model "SiT-XL\/2", .* more$/);
  assert.equal((await told(at('src/assets/emoji-vae.safetensors'))).parameters, 985275);
  assert.equal((await told(at('test/fixtures/checkpoint-2/repa'))).holds, 'checkpoint');
});

test('what is cut or of no kind is refused', async (t) => {
  const cwd = temporaryFolder(t);
  const model = readFileSync(at('src/assets/emoji-cnn.onnx'));
  for (const length of [0, 1, 20, 1000, model.length - 1]) {
    const file = path.join(cwd, 'cut.onnx');
    writeFileSync(file, model.subarray(0, length));
    await assert.rejects(describe(file), DataError, `cut at ${length}`);
  }
  const folder = path.join(cwd, 'run');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'log.ndjson'), '{"step":1,"loss":1}\n{"step":2,"loss":1}\n');
  const events = exportEvents(folder, path.join(cwd, 'events'));
  const whole = readFileSync(events);
  truncateSync(events, whole.length - 3); // its writer is at it
  assert.equal((await describe(events)).records, 2);
  whole[whole.length - 8] ^= 1;
  writeFileSync(events, whole);
  await assert.rejects(describe(events), /CRC/);
  mkdirSync(path.join(cwd, 'lmdb'));
  writeFileSync(path.join(cwd, 'lmdb/data.mdb'), '');
  await assert.rejects(describe(path.join(cwd, 'lmdb')), /LMDB/);
});
