/** Models without a null class, and sets without labels: what is trained, drawn and refused. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import type { HostTensor } from '../../src/lib/formats/host-tensor.js';
import { type Savable, writeTorch } from '../../src/lib/formats/torch-writer.js';
import { startingNetwork } from '../../src/lib/repa/network.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { readCheckpointRecord } from '../../src/lib/training/checkpoint.js';
import { networkOf } from '../networks.js';
import { repa, temporaryFolder } from './binary.js';
import { makeTensors } from './support.js';
import { RUN } from './training-run.js';

/** Weights whose every parameter is drawn, the label table of so many rows. */
function weights(rows: number): Map<string, Savable> {
  const sizes = { depth: 1, hiddenSize: 8, numHeads: 2, inputSize: 4, numClasses: rows - 1 };
  const tensors = [...startingNetwork(networkOf('SiT-S/2', sizes), 0)].map(([name, { shape, data }], n) => {
    const values = data.map((value, i) => value + 0.3 * Math.sin(n + 0.7 * i));
    return [name, { shape: [...shape], dtype: 'f32', data: values } satisfies HostTensor] as const;
  });
  return new Map(tensors);
}

async function sampled(cwd: string, ...args: string[]) {
  const fixed = ['--steps', '2', '--latents', '--threads', '1', '-o', 'z'];
  const { code, stderr } = await repa(['sample', ...fixed, ...args], { cwd });
  assert.equal(code, 0, stderr);
  const reader = await openTensorStream(path.join(cwd, 'z'));
  const [labels, values]: number[][] = [[], []];
  for await (const batch of reader) {
    labels.push(...batch.labels);
    values.push(...(batch.tensors.latent as Float32Array));
  }
  return { labels, values, stderr, told: JSON.parse(reader.schema.metadata['repa.sampler']).labels };
}

async function refused(t: { cwd: string; code: number }, args: string[], message: RegExp): Promise<void> {
  const { code, stderr } = await repa(args, { cwd: t.cwd });
  assert.equal(code, t.code, `${args.join(' ')}: ${stderr}`);
  assert.match(stderr, message);
}

async function withCheckpoints(t: TestContext): Promise<string> {
  const cwd = temporaryFolder(t);
  const args = { num_classes: 4, cfg_prob: 0 };
  await writeTorch(path.join(cwd, 'four.pt'), { model: weights(4), ema: weights(4), args });
  await writeTorch(path.join(cwd, 'table.pt'), weights(4));
  await writeTorch(path.join(cwd, 'one.pt'), { model: weights(1), args: { num_classes: 1 } });
  return cwd;
}

test('a table of as many rows as classes has no null class: all classes are drawn, and nothing is guided', async (t) => {
  const cwd = await withCheckpoints(t);
  assert.equal((await repa(['import', 'four.pt', '--heads', '2', '-o', 'four'], { cwd })).code, 0);
  const { model, training } = readCheckpointRecord(path.join(cwd, 'four/step-0000000'));
  assert.deepEqual([model.numClasses, model.nullClass, training.labelDropout], [4, false, 0]);
  const drawn = await sampled(cwd, '--ckpt', 'four', '--labels', 'balanced', '--num', '4');
  assert.deepEqual(drawn.labels, [0, 1, 2, 3]);
  const last = await sampled(cwd, '--ckpt', 'four', '--labels', '3', '--num', '1');
  assert.deepEqual(last.labels, [3]);
  // The same weights by their table alone: the last row is a class where that is said, and else the null class.
  const named = await sampled(
    cwd,
    '--ckpt',
    'table.pt',
    '--heads',
    '2',
    '--num-classes',
    '4',
    '--labels',
    '3',
    '--num',
    '1',
  );
  assert.deepEqual(named.values, last.values);
  const guess = await sampled(cwd, '--ckpt', 'table.pt', '--heads', '2', '--labels', 'none', '--num', '1');
  assert.deepEqual([guess.values, guess.labels], [last.values, [-1]]);

  const usage = { cwd, code: 2 };
  await refused(
    usage,
    ['sample', '--ckpt', 'four', '--cfg', '2', '--num', '1', '-o', 'z'],
    /four\/step-0000000 has no null class, which --cfg guides away from/,
  );
  await refused(
    usage,
    ['sample', '--ckpt', 'four', '--labels', '4', '--num', '1', '-o', 'z'],
    /0 to 3 and no null class/,
  );
  await refused(usage, ['sample', '--ckpt', 'four', '--labels', 'none', '--num', '1', '-o', 'z'], /no null class/);
  for (const labels of ['1,,2', '0x1']) {
    const unread = ['sample', '--ckpt', 'four', '--labels', labels, '--num', '1', '-o', 'z'];
    await refused(usage, unread, /it takes random, balanced, none, or class numbers/);
  }
  const wrong = ['sample', '--ckpt', 'table.pt', '--heads', '2', '--num-classes', '7', '--num', '1', '-o', 'z'];
  await refused({ cwd, code: 65 }, wrong, /the label table has 4 rows, which is neither 7 classes nor one more/);
});

test('one class alone is drawn by every plan', async (t) => {
  const cwd = await withCheckpoints(t);
  for (const labels of [[], ['--labels', 'balanced'], ['--labels', '0']]) {
    const { labels: drawn } = await sampled(cwd, '--ckpt', 'one.pt', '--heads', '2', '--num', '2', ...labels);
    assert.deepEqual(drawn, [0, 0]);
  }
});

test('of images without labels the null class is trained and drawn, and both is said', async (t) => {
  const cwd = temporaryFolder(t);
  const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
  const column = { name: 'latent', dtype: 'f32', shape: [4, 8, 8] } as const;
  const scale = { 'repa.latent.scale': '[1]', 'repa.latent.shift': '[0]' };
  await makeTensors(
    path.join(cwd, 'latents'),
    keys,
    column,
    scale,
    () => {},
    () => -1,
  );
  await makeTensors(
    path.join(cwd, 'some'),
    keys,
    column,
    scale,
    () => {},
    (row) => (row < 4 ? row % 2 : -1),
  );
  const run = ['train', ...RUN, '--lambda', '0', '--steps', '1'];
  const trained = await repa(run, { cwd });
  assert.equal(trained.code, 0, trained.stderr);
  assert.match(trained.stderr, /6 of 6 images have no label: they are trained as the null class/);
  assert.equal(readCheckpointRecord(path.join(cwd, 'ckpt/step-0000001')).data.labelled, 0);
  const byDefault = await sampled(cwd, '--num', '3');
  assert.match(byDefault.stderr, /note: .* was trained on images without labels: images of no class are drawn/);
  assert.deepEqual([byDefault.labels, byDefault.told], [[-1, -1, -1], 'none']);
  const asked = await sampled(cwd, '--num', '3', '--labels', 'none');
  assert.deepEqual(asked.values, byDefault.values);
  assert.deepEqual((await sampled(cwd, '--num', '3', '--labels', 'random')).labels, [0, 0, 0]);
  await refused(
    { cwd, code: 2 },
    ['sample', '--cfg', '2', '--num', '1', '--latents', '-o', 'z'],
    /without labels: --cfg/,
  );

  const partly = await repa([...run, '--latents', 'some', '--out', 'partly'], { cwd });
  assert.match(partly.stderr, /2 of 6 images have no label/);
  const { told } = await sampled(cwd, '--ckpt', 'partly', '--num', '1');
  assert.equal(told, 'random');
});
