/** Runs that start from weights of others: what fits is taken and computes the same, the rest is named. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import type { HostTensor } from '../../src/lib/formats/host-tensor.js';
import { openSafetensors, writeSafetensors } from '../../src/lib/formats/safetensors.js';
import { writeTorch } from '../../src/lib/formats/torch-writer.js';
import type { TransformerConfig } from '../../src/lib/models/dit-sizes.js';
import { sinCosPositions } from '../../src/lib/nn/embeddings.js';
import { startingNetwork } from '../../src/lib/repa/network.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { readCheckpointRecord } from '../../src/lib/training/checkpoint.js';
import type { WeightsOrigin } from '../../src/lib/training/record.js';
import { networkOf } from '../networks.js';
import { assertClose, largestMagnitude } from '../tensors.js';
import { repa, temporaryFolder } from './binary.js';
import { makeTensors } from './support.js';

const SIZES = { depth: 2, hiddenSize: 16, numHeads: 2, inputSize: 8, numClasses: 2 };
const MODEL = ['--model', 'SiT-S/2', '--depth', '2', '--width', '16', '--heads', '2', '--align-depth', '1'];
const RUN = [...MODEL, '--projector-dim', '16', '--batch-size', '4', '--steps', '1', '--threads', '1'];

type Tensors = [string, HostTensor][];

/** Weights of which every one differs from its start. */
const weights = (sizes: Partial<TransformerConfig> = {}): Tensors =>
  [...startingNetwork(networkOf('SiT-S/2', { ...SIZES, ...sizes }), 0)].map(([name, { shape, data }], n) => {
    const values = name === 'pos_embed' ? data : data.map((value, i) => value + 0.2 * Math.sin(n + 0.7 * i));
    return [name, { shape: [...shape], dtype: 'f32', data: values }];
  });

const CLASSES = (...names: string[]) => ({ 'repa.classes': JSON.stringify(names) });

/** A folder with latents of two classes, larger ones, and features. */
async function prepared(t: TestContext): Promise<string> {
  const cwd = temporaryFolder(t);
  const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
  const scale = { 'repa.latent.scale': '[0.18215]', 'repa.latent.shift': '[0]', 'repa.model': 'sd-vae-ft-ema' };
  const latents = (side: number) => ({ name: 'latent', dtype: 'f32', shape: [4, side, side] }) as const;
  await makeTensors(path.join(cwd, 'latents'), keys, latents(8), { ...scale, ...CLASSES('cat', 'dog') });
  await makeTensors(path.join(cwd, 'large'), keys, latents(16), scale);
  await makeTensors(path.join(cwd, 'feats'), keys, { name: 'feature', dtype: 'f32', shape: [16, 6] });
  return cwd;
}

async function ran(cwd: string, ...args: string[]): Promise<string> {
  const { code, stderr } = await repa(args, { cwd });
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
  return stderr;
}

const originOf = (cwd: string, out: string, step = 1): WeightsOrigin =>
  readCheckpointRecord(path.join(cwd, out, `step-000000${step}`)).origin!;

/** Latents of two classes from the same noise. */
async function sampled(cwd: string, ...args: string[]): Promise<number[]> {
  await ran(
    cwd,
    'sample',
    '--labels',
    '0,1',
    '--num',
    '2',
    '--steps',
    '2',
    '--latents',
    '--threads',
    '1',
    '-o',
    'z',
    ...args,
  );
  const values: number[] = [];
  for await (const batch of await openTensorStream(path.join(cwd, 'z'))) {
    values.push(...(batch.tensors.latent as Float32Array));
  }
  return values;
}

const tensorsOf = (file: string): Map<string, Float32Array> => {
  const opened = openSafetensors(file);
  const tensors = new Map(opened.names.map((name) => [name, opened.read(name).data as Float32Array]));
  opened.close();
  return tensors;
};

test('an untrained run computes what the weights did, whatever file they are from and whatever is added', async (t) => {
  const cwd = await prepared(t);
  const here = (name: string): string => path.join(cwd, name);
  const still = ['--lr', '0', '--label-dropout', '0.1'];
  const cases: { name: string; write(): unknown; from: string[]; init: string[]; more?: string[]; told: RegExp }[] = [
    {
      name: 'flat.safetensors',
      write: () => writeSafetensors(here('flat.safetensors'), weights()),
      from: ['--heads', '2'],
      init: ['--init-heads', '2'],
      more: ['--lambda', '0.5', '--feats', 'feats'],
      told: /starting from flat\.safetensors \(the only set\): 32 tensors as they are\nafresh: projectors\.0 \(6\)/,
    },
    {
      // The original SiT: its time is reversed, and it predicts a variance that nothing uses.
      name: 'sigma.pt',
      write: () =>
        writeTorch(here('sigma.pt'), {
          ema: new Map(weights({ outChannels: 8 })),
          model: new Map(weights({ outChannels: 8 })),
        }),
      from: ['--heads', '2', '--model', 'SiT'],
      init: ['--init-heads', '2', '--init-model', 'SiT'],
      told: /\(ema 0\.9999\): 30 tensors as they are\nin part: final_layer\.linear\.weight \(4 of 4 channels, without the variance\)/,
    },
    {
      name: 'no-null.pt',
      write: () => writeTorch(here('no-null.pt'), new Map(weights({ nullClass: false }))),
      from: ['--heads', '2', '--num-classes', '2'],
      init: ['--init-heads', '2', '--init-num-classes', '2'],
      told: /in part: y_embedder\.embedding_table\.weight \(2 of 2 classes\)/,
    },
  ];
  for (const { name, write, from, init, more = ['--lambda', '0'], told } of cases) {
    await write();
    const stderr = await ran(cwd, 'train', ...RUN, ...still, ...more, '--init', name, ...init, '--out', `from-${name}`);
    assert.match(stderr, told);
    const [before, after] = [await sampled(cwd, '--ckpt', name, ...from), await sampled(cwd, '--ckpt', `from-${name}`)];
    assertClose(after, before, 1e-5 * largestMagnitude(before), name);
    const origin = originOf(cwd, `from-${name}`);
    assert.deepEqual([origin.by, origin.source, origin.at, origin.left], ['init', name, 0, []]);
    assert.match(origin.sha256!, /^[0-9a-f]{64}$/);
  }
  // What predicted something else is not gone on with.
  const unlike = ['--prediction', 'data', '--time-shift', '2', '--init-heads', '2', '--lambda', '0', '--out', 'unlike'];
  assert.match(
    await ran(cwd, 'train', ...RUN, ...unlike, '--init', 'flat.safetensors'),
    /afresh: final_layer \(2\)\nnote: prediction: velocity there, data here\nnote: shift of times: 1 there, 2 here/,
  );
  // The run goes on by the same command, and without --init; time runs as before.
  const again = ['train', ...RUN, '--lambda', '0', ...still, '--out', 'from-sigma.pt'];
  const goes = [...again.map((arg) => (arg === '1' ? '2' : arg)), '--align-depth', '1'];
  assert.match(
    await ran(cwd, ...goes, '--steps', '2', '--init', 'sigma.pt'),
    /continuing from-sigma\.pt\/step-0000001/,
  );
  assert.match(await ran(cwd, ...goes, '--steps', '3'), /continuing from-sigma\.pt\/step-0000002/);
  assert.equal(originOf(cwd, 'from-sigma.pt', 3).source, 'sigma.pt');
});

test('classes of the same name are taken, positions are those of the new grid, and learned ones are resampled', async (t) => {
  const cwd = await prepared(t);
  const train = (...args: string[]) => ran(cwd, 'train', ...RUN, '--lambda', '0', ...args);
  await train('--lr', '1e-2', '--ema', '0.5', '--out', 'first');
  const keys = ['a', 'b', 'c', 'd'];
  const scale = { 'repa.latent.scale': '[0.18215]', 'repa.latent.shift': '[0]' };
  const column = { name: 'latent', dtype: 'f32', shape: [4, 8, 8] } as const;
  await makeTensors(path.join(cwd, 'others'), keys, column, { ...scale, ...CLASSES('bee', 'cat', 'dog') });
  const still = ['--lr', '0', '--seed', '5'];
  const told = await train('--latents', 'others', '--num-classes', '3', '--init', 'first', '--out', 'named', ...still);
  assert.match(told, /starting from first\/step-0000001 \(ema 0\.5, step 1\): 31 tensors as they are/);
  assert.match(told, /in part: y_embedder\.embedding_table\.weight \(2 of 3 classes and the null class\)/);
  const table = (folder: string, part = 'model') =>
    tensorsOf(path.join(cwd, folder, 'step-0000001', `${part}.safetensors`)).get('y_embedder.embedding_table.weight')!;
  const [before, after] = [table('first', 'ema'), table('named')];
  const row = (values: Float32Array, index: number) => values.subarray(index * 16, (index + 1) * 16);
  for (const [own, other] of [
    [1, 0],
    [2, 1],
    [3, 2],
  ])
    assert.deepEqual(row(after, own), row(before, other));
  assert.notDeepEqual(row(after, 0), row(before, 0));
  await train('--init', 'first', '--init-raw', '--out', 'raw', ...still);
  assert.deepEqual([table('raw'), originOf(cwd, 'raw').weights.ema], [table('first'), 'raw']);

  const positions = (folder: string) =>
    tensorsOf(path.join(cwd, folder, 'step-0000001/model.safetensors')).get('pos_embed')!;
  const large = ['--latents', 'large', '--num-classes', '2', ...still];
  assert.match(
    await train(...large, '--init', 'first', '--out', 'large-run'),
    /pos_embed \(computed from 4x4 to 8x8\)/,
  );
  assert.deepEqual(positions('large-run'), sinCosPositions(8, 16));
  const learned = weights().map(([name, tensor]): [string, HostTensor] => {
    const data = name === 'pos_embed' ? Float32Array.from({ length: 16 * 16 }, (_, i) => i % 16) : tensor.data;
    return [name, { ...tensor, data: data as Float32Array }];
  });
  writeSafetensors(path.join(cwd, 'learned.safetensors'), learned);
  const init = ['--init', 'learned.safetensors', '--init-heads', '2'];
  assert.match(await train(...large, ...init, '--out', 'learned'), /pos_embed \(resampled from 4x4 to 8x8\)/);
  // What is the same at all positions stays so.
  assertClose(
    positions('learned'),
    Float32Array.from({ length: 64 * 16 }, (_, i) => i % 16),
    1e-5,
    'positions',
  );
});

test('what does not fit, and what has begun otherwise, is refused', async (t) => {
  const cwd = await prepared(t);
  writeSafetensors(path.join(cwd, 'w.safetensors'), weights());
  const fail = async (args: string[], code: number, message: RegExp) => {
    const outcome = await repa(['train', ...RUN, '--lambda', '0', '--init', 'w.safetensors', ...args], { cwd });
    assert.equal(outcome.code, code, outcome.stderr);
    assert.match(outcome.stderr, message);
  };
  await fail(
    ['--width', '32'],
    65,
    /--init w\.safetensors: no block of it fits: it has 2 blocks of width 16 .* the model 2 .* 32/,
  );
  await fail(['--resume'], 2, /'--init <path>' cannot be used with option '--resume'/);
  await fail(['--init-raw'], 2, /holds one set of weights/);
  await fail(['--init', 'nowhere'], 66, /nowhere/);
  await fail(['--init', 'latents'], 65, /latents: not a weights file/);
  assert.deepEqual(readdirSync(cwd).sort(), ['feats', 'large', 'latents', 'w.safetensors']);
  const plain = await repa(['train', ...RUN, '--lambda', '0'], { cwd });
  assert.equal(plain.code, 0, plain.stderr);
  await fail(
    [],
    2,
    /ckpt holds a run that began with weights of its own: it continues from its newest checkpoint, not from/,
  );
  const noted = await ran(
    cwd,
    'train',
    ...RUN,
    '--lambda',
    '0',
    '--init',
    'w.safetensors',
    '--path',
    'cosine',
    '--out',
    'c',
  );
  assert.match(noted, /note: heads: 1 there, 2 here\nnote: path: linear there, cosine here/);
  const config = JSON.parse(readFileSync(path.join(cwd, 'c/step-0000001/config.json'), 'utf8'));
  assert.equal(config.origin.taken, 32);
});
