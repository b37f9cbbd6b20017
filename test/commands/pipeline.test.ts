import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { repa, shell, temporaryFolder } from './binary.js';
import { makeImages } from './support.js';

/** The settings of a project small enough for a test, as its repa.toml. */
const SETTINGS = `
batch-size = 8
threads = 1
[encode-vae]
vae = "pixels"
size = 32
[extract-dino]
encoder = "emoji-vit"
[train]
model = "SiT-S/4"
depth = 8
width = 32
projector-dim = 16
steps = 4
log-every = 2
[sample]
num = 6
steps = 3
[fid]
net = "emoji-vit"
`;

async function project(t: TestContext, count = 12): Promise<string> {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), count, { side: 40 });
  writeFileSync(path.join(cwd, 'repa.toml'), SETTINGS);
  return cwd;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('the lines of the README run as they are written', async (t) => {
  const cwd = await project(t);
  const lines = [
    'repa encode-vae imgs/ > latents',
    'repa extract-dino imgs/ > feats',
    'repa train --lambda 0.5 --align-depth 8 > log',
    'repa sample --cfg 1.8 | repa fid --json > result',
  ];
  for (const line of lines) {
    const { code, stderr } = await shell(line, { cwd });
    assert.equal(code, 0, `${line}\n${stderr}`);
  }
  const result = JSON.parse(readFileSync(path.join(cwd, 'result'), 'utf8'));
  assert.equal(result.metric, 'FD(emoji-vit)');
  assert.equal(result.count, 6);
  assert.equal(result.reference_count, 12);
  assert.equal(result.image_size, 32);
  assert.equal(result.sampler.cfg, 1.8);
  assert.ok(result.value > 0);
});

test('a set compared with itself is at distance 0, and less far from its like than from others', async (t) => {
  const cwd = await project(t);
  const value = async (a: string, b: string): Promise<number> => {
    const { code, stdout, stderr } = await repa(['fid', a, b, '--json'], { cwd });
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout.toString()).value;
  };
  const latents = await shell('repa encode-vae imgs/ -o latents && repa decode-vae latents -o images', { cwd });
  assert.equal(latents.code, 0, latents.stderr);
  assert.ok((await value('images', 'images')) < 1e-6);
  await makeImages(path.join(cwd, 'others'), 12, { side: 32, classes: 7 });
  assert.ok((await value('images', 'imgs')) < (await value('images', 'others')));
});

test('statistics that were kept give the number of the images they were made of', async (t) => {
  const cwd = await project(t);
  const made = await shell('repa encode-vae imgs/ | repa decode-vae > images && repa fid images --save-stats ref.npz', {
    cwd,
  });
  assert.equal(made.code, 0, made.stderr);
  await makeImages(path.join(cwd, 'others'), 12, { side: 32, classes: 7 });
  const numbers = await Promise.all(
    ['images', 'ref.npz'].map(async (reference) => {
      const { stdout } = await repa(['fid', 'others', '--ref', reference, '--json'], { cwd });
      return JSON.parse(stdout.toString()).value;
    }),
  );
  assert.ok(Math.abs(numbers[0] - numbers[1]) <= 1e-9 * numbers[0]);
});

test('image number i is the same for any batch size and shard', async (t) => {
  const cwd = await project(t);
  const made = await shell('repa encode-vae imgs/ > latents && repa train --lambda 0 --steps 2 > log', { cwd });
  assert.equal(made.code, 0, made.stderr);
  const sample = ['sample', '--num', '7', '--mode', 'sde', '--cfg', '2'];
  const whole = path.join(cwd, 'whole.arrows');
  assert.equal((await repa([...sample, '-o', whole, '--batch-size', '7'], { cwd })).code, 0);
  for (const index of [0, 1, 2]) {
    assert.equal(
      (await repa([...sample, '--shard', `${index}/3`, '-o', 'parts/', '--batch-size', '2'], { cwd })).code,
      0,
    );
  }
  const images = async (input: string) => {
    const rows = new Map<string, Uint8Array>();
    for await (const batch of await openTensorStream(input)) {
      const size = batch.tensors.image.length / batch.rows;
      batch.keys.forEach((key, row) => {
        rows.set(key, (batch.tensors.image as Uint8Array).slice(row * size, (row + 1) * size));
      });
    }
    return rows;
  };
  const [expected, found] = [await images(whole), await images(path.join(cwd, 'parts'))];
  assert.deepEqual([...found.keys()], [...expected.keys()]);
  for (const [key, image] of expected) {
    // Matrix products of another height may round differently: by one level of 256 at the most.
    const furthest = found.get(key)!.reduce((max, value, i) => Math.max(max, Math.abs(value - image[i])), 0);
    assert.ok(furthest <= 1, `${key} differs by ${furthest}`);
  }
});

test('sampling twice gives the same bytes; another seed gives others', async (t) => {
  const cwd = await project(t);
  assert.equal(
    (await shell('repa encode-vae imgs/ > latents && repa train --lambda 0 --steps 2 > log', { cwd })).code,
    0,
  );
  const bodies = await Promise.all(
    ['0', '0', '1'].map(async (seed) => {
      const { stdout } = await repa(['sample', '--latents', '--seed', seed, '--threads', '1'], { cwd });
      return sha256(stdout.subarray(stdout.indexOf('000000'))); // past the header, which holds the command
    }),
  );
  assert.equal(bodies[0], bodies[1]);
  assert.notEqual(bodies[0], bodies[2]);
});

test('a sheet, a folder of pictures, and latents that decode to the same pictures', async (t) => {
  const cwd = await project(t);
  const lines =
    'repa encode-vae imgs/ > latents && repa train --lambda 0 --steps 2 > log && ' +
    'repa sample --grid grid.png --png pictures && repa sample --latents > z && repa decode-vae z > decoded && repa sample > images';
  const { code, stdout, stderr } = await shell(lines, { cwd });
  assert.equal(code, 0, stderr);
  assert.equal(stdout.length, 0);
  const { width, height } = await sharp(path.join(cwd, 'grid.png')).metadata();
  assert.deepEqual([width, height], [3 * 34 + 2, 2 * 34 + 2]);
  assert.equal(readdirSync(path.join(cwd, 'pictures')).length, 6);
  const pixels = async (file: string) => {
    const values: number[] = [];
    for await (const batch of await openTensorStream(path.join(cwd, file))) values.push(...batch.tensors.image);
    return values;
  };
  assert.deepEqual(await pixels('decoded'), await pixels('images'));
});

test('broken images are named; --skip-bad leaves them out and counts them', async (t) => {
  const cwd = await project(t);
  truncateSync(path.join(cwd, 'imgs/class0/004.png'), 40);
  const strict = await repa(['encode-vae', 'imgs/', '-o', 'latents'], { cwd });
  assert.equal(strict.code, 65);
  assert.match(strict.stderr, /class0\/004\.png/);
  assert.deepEqual(readdirSync(cwd).sort(), ['imgs', 'repa.toml']); // nothing half-written
  const lenient = await repa(['encode-vae', 'imgs/', '-o', 'latents', '--skip-bad'], { cwd });
  assert.equal(lenient.code, 0);
  assert.match(lenient.stderr, /skipped: .*004\.png[\s\S]*1 images? could not be read/);
});

test('missing and empty inputs, and inputs of another kind', async (t) => {
  const cwd = await project(t);
  mkdirSync(path.join(cwd, 'empty'));
  for (const name of ['noise', 'photo.png']) writeFileSync(path.join(cwd, name), Buffer.alloc(1000, 7));
  await shell('repa encode-vae imgs/ > latents', { cwd });
  const cases: [string[], number, RegExp][] = [
    [['encode-vae', 'nowhere/'], 66, /nowhere/],
    [['encode-vae', 'empty/'], 65, /empty.*holds no images/],
    [['encode-vae', 'noise'], 65, /noise/],
    [['show', 'photo.png'], 65, /photo\.png: is one picture, not a set/],
    [['tail', '-3', 'latents'], 2, /Is -3 a number of rows\? That is -n 3 here/],
    [['extract-dino', 'latents'], 65, /no column 'image'/],
    [['decode-vae', 'noise'], 65, /noise/],
    [['fid', 'latents', 'imgs'], 65, /no column 'image'/],
    [['sample'], 66, /no checkpoint in ckpt[\s\S]*repa train/],
    [['encode-vae', 'imgs/', '--vae', 'sd-vae-ft-mse'], 69, /sd-vae-ft-mse/],
    [['extract-dino', 'imgs/', '--encoder', 'dinov2-vit-l'], 69, /dinov2-vit-l/],
  ];
  for (const [args, expected, message] of cases) {
    const { code, stderr, stdout } = await repa(args, { cwd, env: { REPA_HOME: cwd } });
    assert.equal(code, expected, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, message);
    assert.equal(stdout.length, 0, args.join(' '));
  }
});

test('a closed pipe ends the producer silently, and a killed producer is noticed by the consumer', async (t) => {
  const cwd = await project(t, 40);
  const head = await shell('repa encode-vae imgs/ | head -c 100 > start', { cwd });
  assert.equal(head.code, 0); // of the whole pipe
  assert.doesNotMatch(head.stderr, /EPIPE|bug/);
  const cut = await shell('repa encode-vae imgs/ | head -c 20000 | repa verify -', { cwd });
  assert.equal(cut.code, 1);
  assert.match(cut.stdout.toString(), /FAILED: .*truncated/);
});

test('a full disk behind stdout is said, and that what it holds is not whole', async (t) => {
  const cwd = await project(t);
  const { code, stderr } = await shell('repa encode-vae imgs/ > /dev/full', { cwd });
  assert.equal(code, 69);
  assert.match(stderr, /no space left on the device: stdout\n +What was written there is not whole/);
});

test('a checkpoint that does not fit its configuration is refused', async (t) => {
  const cwd = await project(t);
  assert.equal(
    (await shell('repa encode-vae imgs/ > latents && repa train --lambda 0 --steps 2 > log', { cwd })).code,
    0,
  );
  const file = path.join(cwd, 'ckpt/step-0000002/config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify(config));
  const changed = await repa(['sample', '--num', '1'], { cwd });
  assert.equal(changed.code, 65);
  assert.match(changed.stderr, /config\.json: is damaged[\s\S]*SHA256SUMS/);
  rmSync(path.join(path.dirname(file), 'SHA256SUMS')); // as somebody who means the change is told to
  const cases: [string, string, RegExp][] = [
    [
      'another depth',
      JSON.stringify({ ...config, model: { ...config.model, depth: 9 } }),
      /10 missing[\s\S]*blocks\.8/,
    ],
    ['another width', JSON.stringify({ ...config, model: { ...config.model, hiddenSize: 64 } }), /of another shape/],
    ['another architecture', JSON.stringify({ ...config, architecture: 'U-Net' }), /U-Net/],
    ['another format', JSON.stringify({ ...config, format: 7 }), /format/],
    ['half of it', JSON.stringify(config).slice(0, 90), /config\.json/],
  ];
  for (const [what, text, message] of cases) {
    writeFileSync(file, text);
    const { code, stderr } = await repa(['sample', '--num', '1'], { cwd });
    assert.equal(code, 65, `${what}: ${stderr}`);
    assert.match(stderr, message, what);
  }
});
