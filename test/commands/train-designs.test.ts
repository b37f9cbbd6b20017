/** Networks of other designs than SiT's: trained, continued, sampled, exported and taken back. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type Outcome, repa, shell, temporaryFolder } from './binary.js';
import { makeImages, makeTensors } from './support.js';
import { type Entry, numbers, parseLog } from './training-run.js';

const SMALL = [
  '--depth',
  '3',
  '--width',
  '32',
  '--heads',
  '2',
  '--batch-size',
  '4',
  '--threads',
  '1',
  '--num-classes',
  '2',
];

/** Trains two steps, then two more, samples, exports, and samples what was exported. */
async function walk(
  cwd: string,
  args: readonly string[],
  sampling: readonly string[],
): Promise<Record<'model' | 'training' | 'methods', Record<string, unknown>>> {
  const told = async (...line: string[]): Promise<Outcome> => {
    const done = await repa(line, { cwd });
    assert.equal(done.code, 0, `${line.join(' ')}: ${done.stderr}`);
    return done;
  };
  await told('train', ...args, ...SMALL, '--steps', '2', '--save-every', '2');
  await told('train', ...args, ...SMALL, '--steps', '4', '--save-every', '2');
  await told('export', 'ckpt', '-o', 'weights.safetensors');
  const sample = ['sample', '--num', '2', '--steps', '2', '--latents', '--threads', '1', ...sampling];
  const own = await told(...sample);
  const exported = await told(...sample, '--ckpt', 'weights.safetensors');
  const values = (outcome: Outcome): string => outcome.stdout.subarray(-1024).toString('hex');
  assert.equal(values(exported), values(own));
  return JSON.parse(readFileSync(path.join(cwd, 'ckpt/step-0000004/config.json'), 'utf8'));
}

test('JiT: pixels, of which the network predicts the clean ones', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 8);
  assert.equal((await shell('repa encode-vae imgs --vae pixels --size 16 > latents', { cwd })).code, 0);
  const args = ['--preset', 'jit', '--patch-size', '4', '--bottleneck', '8', '--context-tokens', '3'];
  const { model, training } = await walk(cwd, args, ['--solver', 'heun', '--cfg', '1.5']);
  const { prediction, bottleneck, context, qkNorm, norm, rotary } = model;
  assert.deepEqual(
    { prediction, bottleneck, context, qkNorm, norm, rotary },
    { prediction: 'data', bottleneck: 8, context: { tokens: 3, block: 2 }, qkNorm: true, norm: 'rms', rotary: true },
  );
  assert.deepEqual([training.timeMean, training.timeDeviation], [0.8, 0.8]);

  const refused: [string[], RegExp][] = [
    [['--path', 'cosine'], /--prediction data is for --path linear/],
    [['--route', '0.5', '--middle-blocks', '2,2'], /--context-tokens .* --route would let skip blocks/],
    [['--context-block', '4'], /no block 4 for class tokens/],
    [['--prediction', 'velocity', '--steps', '6'], /model.prediction \("data", now undefined\)/],
    [['--time-shift', '2', '--steps', '6'], /training.timeShift \(1, now 2\)/],
  ];
  for (const [more, message] of refused) {
    const { code, stderr } = await repa(['train', ...args, ...SMALL, ...more], { cwd });
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }
});

test('PixelREPA: pictures as they lie, and features of them', async (t) => {
  const cwd = temporaryFolder(t);
  const keys = await makeImages(path.join(cwd, 'imgs'), 8);
  await makeTensors(path.join(cwd, 'feats'), keys, { name: 'feature', dtype: 'f32', shape: [16, 8] });
  const small = ['--patch-size', '4', '--bottleneck', '8', '--context-tokens', '3'];
  const args = ['--preset', 'pixel-repa', '--latents', 'imgs', '--pixels', '16', ...small];
  const { methods } = await walk(cwd, args, []);
  assert.deepEqual(methods, { 'pixel-repa': { weight: 0.1, masked: 0.2, tokens: 3, block: 1, dim: 8 } });
  const plain = ['--latents', 'imgs', '--pixels', '16', '--model', 'SiT-S/4', '--lambda', '0', '--pixel-repa', '0.1'];
  const { code, stderr } = await repa(['train', ...plain, ...SMALL, '--out', 'none'], { cwd });
  assert.equal(code, 2);
  assert.match(stderr, /it is for networks with --context-tokens/);
});

test('a wide head behind the blocks, on tokens of a patch each, in shifted times', async (t) => {
  const cwd = temporaryFolder(t);
  const keys = Array.from({ length: 8 }, (_, i) => String(i));
  const column = { name: 'latent', dtype: 'f32', shape: [8, 4, 4] } as const;
  await makeTensors(path.join(cwd, 'latents'), keys, column, { 'repa.latent.scale': '[1]' });
  const args = ['--preset', 'rae', '--wide-head', '1x48x3'];
  const { model, training } = await walk(cwd, args, []);
  assert.deepEqual(
    [model.head, model.timeEmbedding, model.patchSize],
    [{ depth: 1, hiddenSize: 48, numHeads: 3 }, 'fourier', 1],
  );
  assert.equal(training.timeShift, Math.sqrt(128 / 4096));
});

test('pictures as they lie give the numbers of their cached pixels, whatever holds them', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 8, { side: 20 });
  const made = await shell(
    'repa encode-vae imgs --vae pixels --size 16 --dtype f32 > latents && tar cf imgs.tar --sort=name -C imgs class0 class1 && repa import imgs -o imgs.arrows',
    { cwd },
  );
  assert.equal(made.code, 0, made.stderr);
  const run = ['train', '--lambda', '0', '--model', 'SiT-S/4', ...SMALL, '--log-every', '1', '--steps', '2'];
  const trained = async (out: string, ...args: string[]): Promise<Entry[]> => {
    const { code, stdout, stderr } = await repa([...run, '--out', out, ...args], { cwd });
    assert.equal(code, 0, stderr);
    return numbers(parseLog(stdout.toString()));
  };
  const cached = await trained('cached', '--latents', 'latents');
  for (const pictures of ['imgs', 'imgs.tar', 'imgs.arrows']) {
    assert.deepEqual(await trained(`of-${pictures}`, '--latents', pictures, '--pixels', '16'), cached, pictures);
  }
  const held = ['--eval-every', '1', '--eval-grid', '2', '--val-latents', 'imgs', '--val-num', '20'];
  const cases: [string[], number, RegExp][] = [
    [['--latents', 'imgs'], 2, /imgs: holds pictures, not latents\n.*--pixels SIDE/],
    [['--latents', 'latents', '--pixels', '16'], 2, /latents holds latents, not pictures/],
    [['--latents', 'imgs', '--pixels', '18'], 2, /patches of 4 do not tile/],
    [['--latents', 'imgs', '--pixels', '16', ...held], 2, /--val-latents hold 8 images/],
  ];
  for (const [args, expected, message] of cases) {
    const { code, stderr } = await repa([...run, '--out', 'none', ...args], { cwd });
    assert.equal(code, expected, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, message);
  }
  const sampled = await repa(['sample', '--ckpt', 'of-imgs', '--num', '2', '--steps', '2', '--grid', 'g.png'], { cwd });
  assert.equal(sampled.code, 0, sampled.stderr);
});
