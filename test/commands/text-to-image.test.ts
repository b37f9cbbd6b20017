/** An MM-DiT through all verbs: trained on captions, continued, sampled from prompts, exported and imported. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { sizeOf } from '../../src/lib/numbers/typed-array.js';
import { openTensorFile } from '../../src/lib/stream/file.js';
import { fixtureWeightsFile } from '../fixture-weights.js';
import { fixturePath } from '../support.js';
import { largestError } from '../tensors.js';
import { repa } from './binary.js';
import { makeTensors } from './support.js';
import { numbers, parseLog, prepared, RUN } from './training-run.js';

const TEXT = { name: 'text', dtype: 'f32', shape: [5, 12] } as const;
const FROM_TEXT = ['train', ...RUN, '--model', 'MM-DiT/4', '--feats', 'plain', '--text', 'text'];

/** A set whose pictures have two captions each, but the first, which has one; and three prompts. */
async function captioned(t: TestContext): Promise<string> {
  const cwd = await prepared(t);
  const latents = await openTensorFile(path.join(cwd, 'latents'));
  const keys = latents.keys();
  latents.close();
  assert.equal(keys.length, 10);
  const captions = keys.flatMap((key, i) => (i === 0 ? [`${key}#0`] : [`${key}#0`, `${key}#1`]));
  await makeTensors(path.join(cwd, 'text'), [...captions.toReversed(), '#'], TEXT);
  await makeTensors(path.join(cwd, 'prompts'), ['0#0', '1#0', '2#0', '#'], TEXT);
  return cwd;
}

/** The latents of a stream, all in one. */
async function latentsIn(cwd: string, name: string): Promise<Float32Array> {
  const file = await openTensorFile(path.join(cwd, name));
  const { shape } = file.schema.columns.find((column) => column.name === 'latent')!;
  const out = new Float32Array(file.rows * sizeOf(shape));
  file.read(
    'latent',
    Uint32Array.from({ length: file.rows }, (_, row) => row),
    out,
  );
  file.close();
  return out;
}

async function succeed(cwd: string, ...args: string[]) {
  const { code, stdout, stderr } = await repa(args, { cwd });
  assert.equal(code, 0, `${args.join(' ')}\n${stderr}`);
  return stdout;
}

test('a run on captions continues bit for bit, and its samples depend on prompt and number alone', async (t) => {
  const cwd = await captioned(t);
  const whole = await succeed(cwd, ...FROM_TEXT, '--steps', '6', '--out', 'whole');
  for (const steps of ['2', '6']) await succeed(cwd, ...FROM_TEXT, '--steps', steps, '--out', 'parts');
  const parts = readFileSync(path.join(cwd, 'parts/log.ndjson'), 'utf8');
  assert.deepEqual(numbers(parseLog(parts)), numbers(parseLog(whole.toString())));
  for (const name of ['model', 'ema', 'optimizer']) {
    const bytes = (out: string) => readFileSync(path.join(cwd, out, 'step-0000006', `${name}.safetensors`));
    assert.deepEqual(bytes('parts'), bytes('whole'), name);
  }
  const sample = ['sample', '--ckpt', 'whole', '--text', 'prompts', '--latents', '--steps', '3', '--cfg', '2'];
  await succeed(cwd, ...sample, '--num', '5', '--batch-size', '2', '-o', 'two');
  await succeed(cwd, ...sample, '--num', '5', '--batch-size', '5', '-o', 'five');
  const two = await latentsIn(cwd, 'two');
  assert.ok(largestError(await latentsIn(cwd, 'five'), two) < 1e-4);
  const turned = (values: Float32Array, row: number): unknown => row === 1 && values.reverse();
  await makeTensors(path.join(cwd, 'prompts-2'), ['0#0', '1#0', '2#0', '#'], TEXT, {}, turned);
  await succeed(cwd, ...sample, '--text', 'prompts-2', '--num', '5', '-o', 'other');
  const other = await latentsIn(cwd, 'other');
  const size = two.length / 5;
  const error = (image: number): number =>
    largestError(other.subarray(image * size, (image + 1) * size), two.subarray(image * size, (image + 1) * size));
  for (const image of [0, 2, 3]) assert.ok(error(image) < 1e-4, `${image}: ${error(image)}`);
  for (const image of [1, 4]) assert.ok(error(image) > 1e-3, `${image}: ${error(image)}`); // of the prompt that is another

  await succeed(cwd, 'export', 'whole', '-o', 'official.pt');
  await succeed(cwd, 'import', 'official.pt', '--out', 'back', '--model', 'MM-DiT/4', '--heads', '1');
  await succeed(cwd, ...sample, '--ckpt', 'back', '--num', '5', '-o', 'again');
  assert.ok(largestError(await latentsIn(cwd, 'again'), two) < 1e-4);
});

test('what does not fit a network that draws from text is told', async (t) => {
  const cwd = await captioned(t);
  await succeed(cwd, ...FROM_TEXT, '--steps', '1', '--out', 'ckpt');
  await makeTensors(path.join(cwd, 'few'), ['class0/000.png#0', '#'], TEXT);
  await makeTensors(path.join(cwd, 'wide'), ['0#0', '#'], { ...TEXT, shape: [5, 8] });
  await makeTensors(path.join(cwd, 'endless'), ['0#0'], TEXT);
  for (const [args, exit, message] of [
    [['train', ...RUN, '--text', 'text'], 2, /--text does nothing without --model MM-DiT\/2/],
    [
      ['train', ...RUN, '--model', 'MM-DiT/4', '--feats', 'plain'],
      2,
      /draws from text, and there are no captions[\s\S]*--text/,
    ],
    [[...FROM_TEXT, '--text', 'few'], 65, /9 of the 10 images in latents have no caption/],
    [[...FROM_TEXT, '--text', 'plain'], 65, /plain: has no captions, but feature/],
    [[...FROM_TEXT, '--rotary'], 2, /--rotary is for SiT and DiT, not for MM-DiT\/4/],
    [[...FROM_TEXT, '--internal', '0.5'], 2, /is for SiT, not for MM-DiT\/4/],
    [[...FROM_TEXT, '--eval-every', '1', '--eval-grid', '1'], 2, /draws from text[\s\S]*--eval-text/],
    [['sample', '--num', '1', '--latents'], 2, /draws from text[\s\S]*repa encode-text/],
    [['sample', '--num', '1', '--latents', '--text', 'wide'], 65, /\[5, 8\], but .* was trained with others/],
    [['sample', '--num', '1', '--latents', '--text', 'endless'], 65, /lacks the empty caption/],
    [['extract-hidden', '--latents', 'latents'], 2, /draws from text[\s\S]*--text/],
    [['extract-hidden', '--latents', 'latents', '--text', 'few'], 65, /9 of the 10 images in latents have no caption/],
  ] as const) {
    const outcome = await repa([...args, '--out', args[0] === 'train' ? 'new' : 'out'], { cwd });
    assert.equal(outcome.code, exit, `${args.join(' ')}\n${outcome.stderr}`);
    assert.match(outcome.stderr, message);
  }
});

test('a run on captions is measured on the way, and its blocks are looked into', async (t) => {
  const cwd = await captioned(t);
  const latents = await openTensorFile(path.join(cwd, 'latents'));
  const { columns, metadata } = latents.schema;
  latents.close();
  const keys = Array.from({ length: 20 }, (_, i) => `val/${i}`);
  await makeTensors(path.join(cwd, 'val'), keys, columns, metadata);
  await makeTensors(path.join(cwd, 'val-text'), [...keys.map((key) => `${key}#0`), '#'], TEXT);
  const measured = [
    '--eval-every',
    '2',
    '--eval-grid',
    '1',
    '--eval-steps',
    '2',
    '--eval-cfg',
    '2',
    '--eval-text',
    'prompts',
  ];
  const heldOut = ['--val-latents', 'val', '--val-text', 'val-text', '--eval-batch-size', '5'];
  const log = await succeed(cwd, ...FROM_TEXT, '--steps', '2', ...measured, ...heldOut);
  const [entry] = parseLog(log.toString()).filter(({ val_loss }) => val_loss !== undefined);
  assert.ok(Number.isFinite(entry.val_loss));
  assert.ok(existsSync(path.join(cwd, 'ckpt/samples/step-00000002.png')));
  await succeed(cwd, 'extract-hidden', '--latents', 'val', '--text', 'val-text', '-o', 'with');
  await succeed(cwd, 'extract-hidden', '--latents', 'val', '--text', 'val-text', '--null-label', '-o', 'without');
  const [given, none] = await Promise.all(['with', 'without'].map((name) => openTensorFile(path.join(cwd, name))));
  assert.deepEqual([given.rows, none.rows], [20, 20]);
  for (const file of [given, none]) file.close();
});

test('a prompt in words draws what its encoded vectors draw', async (t) => {
  const cwd = await prepared(t);
  const latents = await openTensorFile(path.join(cwd, 'latents'));
  const captions = latents.keys().map((key): [string, string] => [key, `picture ${key}`]);
  latents.close();
  writeFileSync(path.join(cwd, 'captions.json'), JSON.stringify(Object.fromEntries(captions)));
  writeFileSync(path.join(cwd, 'prompts.txt'), 'a red bus, on a bridge\n');
  const tower = ['--weights', fixtureWeightsFile('text'), '--tokenizer', fixturePath('text')];
  await succeed(cwd, 'encode-text', 'captions.json', ...tower, '-o', 'text');
  await succeed(cwd, 'encode-text', 'prompts.txt', ...tower, '-o', 'prompts', '--dtype', 'f32');
  await succeed(cwd, ...FROM_TEXT, '--steps', '1');
  const sample = ['sample', '--num', '2', '--latents', '--steps', '2', '--cfg', '2'];
  await succeed(cwd, ...sample, '--text', 'prompts', '-o', 'encoded');
  const here = ['--prompt', 'a red bus, on a bridge', '--text-weights', fixtureWeightsFile('text')];
  await succeed(cwd, ...sample, ...here, '--tokenizer', fixturePath('text'), '-o', 'words');
  assert.ok(largestError(await latentsIn(cwd, 'words'), await latentsIn(cwd, 'encoded')) < 1e-4);
  const words = await openTensorFile(path.join(cwd, 'words'));
  assert.equal(JSON.parse(words.schema.metadata['repa.sampler']).prompt, 'a red bus, on a bridge');
  words.close();
});
