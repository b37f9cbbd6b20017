import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { HostTensor } from '../../src/lib/formats/host-tensor.js';
import { isDict, type PickleDict } from '../../src/lib/formats/pickle.js';
import { openSafetensors, writeSafetensors } from '../../src/lib/formats/safetensors.js';
import { openTorch } from '../../src/lib/formats/torch.js';
import { TorchTensor } from '../../src/lib/formats/torch-tensor.js';
import { type Savable, writeTorch } from '../../src/lib/formats/torch-writer.js';
import { networkParameters } from '../../src/lib/repa/network.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { readCheckpointRecord } from '../../src/lib/training/checkpoint.js';
import { fixturePath } from '../support.js';
import { assertClose } from '../tensors.js';
import { repa, shell, temporaryFolder } from './binary.js';
import { numbers, parseLog, prepared, RUN } from './training-run.js';

const TRAINING = fixturePath('official/training.pt');

/** One file of a checkpoint folder: its tensors by name. */
function part(folder: string, name: string): Map<string, Float32Array> {
  const file = openSafetensors(path.join(folder, `${name}.safetensors`));
  const tensors = new Map(file.names.map((each) => [each, file.read(each).data as Float32Array]));
  file.close();
  return tensors;
}

test('what the official code saved is imported whole: weights, average, moments, step and arguments', async (t) => {
  const cwd = temporaryFolder(t);
  const { code, stderr } = await repa(['import', TRAINING, '--heads', '2', '-o', 'ckpt'], { cwd });
  assert.equal(code, 0, stderr);
  const folder = path.join(cwd, 'ckpt/step-0000001');
  const record = readCheckpointRecord(folder);
  assert.equal(record.step, 1);
  const { depth, hiddenSize, numHeads, numClasses, alignDepth, inputSize } = record.model;
  assert.deepEqual(
    { depth, hiddenSize, numHeads, numClasses, alignDepth, inputSize },
    { depth: 2, hiddenSize: 16, numHeads: 2, numClasses: 3, alignDepth: 1, inputSize: 4 },
  );
  assert.deepEqual(record.methods, {
    repa: { lambda: 0.25, projectionLoss: 'cosine', dims: [6], projectorDim: 8 },
  });
  const { path: interpolant, time, batchSize, learningRate, seed } = record.training;
  assert.deepEqual(
    { interpolant, time, batchSize, learningRate, seed },
    { interpolant: 'cosine', time: 'lognormal', batchSize: 12, learningRate: 2e-4, seed: 5 },
  );
  assert.deepEqual(record.latent, { shape: [4, 4, 4], scale: [0.18215], shift: [0] });

  const [model, ema, moments] = ['model', 'ema', 'optimizer'].map((name) => part(folder, name));
  const names = [...networkParameters(record).keys()];
  assert.deepEqual([...model.keys()].sort(), [...names].sort());
  for (const [number, name] of names.entries()) {
    assertClose(
      ema.get(name)!,
      model.get(name)!.map((value) => value + 1),
      1e-6,
      `ema of ${name}`,
    );
    if (name === 'pos_embed') continue;
    // The script that made the file gave parameter number i the gradient i + 1.
    const gradient = number + 1;
    assertClose(
      moments.get(`exp_avg.${name}`)!,
      model.get(name)!.map(() => 0.1 * gradient),
      1e-5,
      name,
    );
    assertClose(
      moments.get(`exp_avg_sq.${name}`)!,
      model.get(name)!.map(() => 1e-3 * gradient ** 2),
      1e-5,
      name,
    );
  }
  assert.equal(moments.size, 2 * (names.length - 1));
});

test('a run that went through a .pt goes on bit for bit', async (t) => {
  const cwd = await prepared(t);
  const train = (out: string, steps: string) => repa(['train', ...RUN, '--steps', steps, '--out', out], { cwd });
  assert.equal((await train('whole', '6')).code, 0);
  assert.equal((await train('half', '3')).code, 0);
  const moved = await shell('repa export half -o 3.pt && repa import 3.pt -o resumed', { cwd });
  assert.equal(moved.code, 0, moved.stderr);
  const second = await train('resumed', '6');
  assert.equal(second.code, 0, second.stderr);
  const logOf = (out: string) => numbers(parseLog(readFileSync(path.join(cwd, out, 'log.ndjson'), 'utf8')));
  assert.deepEqual(logOf('resumed'), logOf('whole').slice(3));
  for (const name of ['model', 'ema', 'optimizer']) {
    const bytes = (out: string) => readFileSync(path.join(cwd, out, 'step-0000006', `${name}.safetensors`));
    assert.ok(bytes('resumed').equals(bytes('whole')), name);
  }
});

test('exported weights are sampled as the folder is, with nothing to be said about them', async (t) => {
  const cwd = await prepared(t);
  assert.equal((await repa(['train', ...RUN, '--steps', '2'], { cwd })).code, 0);
  const exported = await shell(
    'repa export -o all.pt ckpt && repa export ckpt -o m.safetensors && repa export ckpt --raw -o r.safetensors',
    { cwd },
  );
  assert.equal(exported.code, 0, exported.stderr);
  const pixels = async (...args: string[]) => {
    const fixed = ['--num', '2', '--steps', '3', '--threads', '1', '-o', 'images'];
    const { code, stderr } = await repa(['sample', ...fixed, ...args], { cwd });
    assert.equal(code, 0, stderr);
    const hash = createHash('sha256');
    for await (const batch of await openTensorStream(path.join(cwd, 'images'))) hash.update(batch.tensors.image);
    return hash.digest('hex');
  };
  const [ema, raw] = [await pixels('--ckpt', 'ckpt'), await pixels('--ckpt', 'ckpt', '--raw')];
  assert.notEqual(ema, raw);
  assert.equal(await pixels('--ckpt', 'all.pt'), ema);
  assert.equal(await pixels('--ckpt', 'all.pt', '--raw'), raw);
  assert.equal(await pixels('--ckpt', 'm.safetensors'), ema);
  assert.equal(await pixels('--ckpt', 'r.safetensors'), raw);
});

test('steps that were taken elsewhere are counted, and what a file tells of itself is not overruled', async (t) => {
  const cwd = temporaryFolder(t);
  const run = (...args: string[]) => repa(args, { cwd });
  assert.equal((await run('import', TRAINING, '--heads', '2', '-o', 'ckpt')).code, 0);
  assert.equal((await run('export', 'ckpt', '-o', 'a.pt')).code, 0);
  // A script that went on for five steps and kept the arguments, our record among them.
  const file = openTorch(path.join(cwd, 'a.pt'));
  const root = file.root as Record<string, PickleDict>;
  const read = (value: unknown): Savable => {
    if (value instanceof TorchTensor) return value.read();
    if (Array.isArray(value)) return value.map(read);
    return isDict(value) ? new Map(Object.entries(value).map(([k, v]) => [k, read(v)])) : (value as Savable);
  };
  const state = new Map(Object.entries(root.opt.state as PickleDict).map(([n, each]) => [Number(n), read(each)]));
  const groups = read(root.opt.param_groups);
  const saved = { model: read(root.model), ema: read(root.ema), args: read(root.args), steps: 6 };
  await writeTorch(path.join(cwd, 'b.pt'), { ...saved, opt: { state, param_groups: groups } });
  file.close();
  const again = await run('import', 'b.pt', '-o', 'b');
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /b\/step-0000006: a SiT at step 6, with its optimiser/);
  const { training, ...record } = readCheckpointRecord(path.join(cwd, 'b/step-0000006'));
  assert.deepEqual([record.step, training.path], [6, 'cosine']);

  const contradictions: [string[], RegExp][] = [
    [['--path', 'linear'], /--path linear: b\.pt tells that it was trained on the cosine one/],
    [['--latent-scale', '0.5'], /--latent-scale 0\.5: b\.pt tells that its latents are of 0\.18215/],
    [['--vae', 'sdxl-vae'], /--vae sdxl-vae: b\.pt tells that its latents are of sd-vae-ft-ema/],
  ];
  for (const [args, message] of contradictions) {
    const { code, stderr } = await run('import', 'b.pt', ...args, '-o', 'c');
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }
  assert.equal((await run('import', 'b.pt', '--path', 'cosine', '--latent-scale', '0.18215', '-o', 'c')).code, 0);
  // Of a file that tells nothing, what is said is kept.
  const told = ['--latent-scale', '0.5', '--path', 'linear', '--vae', 'other'];
  assert.equal((await run('import', TRAINING, '--heads', '2', ...told, '-o', 'd')).code, 0);
  const said = readCheckpointRecord(path.join(cwd, 'd/step-0000001'));
  assert.deepEqual([said.training.path, said.latent.scale], ['linear', [0.5]]);
  assert.equal(said.data.latents.metadata['repa.model'], 'other');
});

test('which weights were read is told by whatever is made of them', async (t) => {
  const cwd = await prepared(t);
  const ran = async (...args: string[]) => {
    const outcome = await repa(args, { cwd });
    assert.equal(outcome.code, 0, outcome.stderr);
    return outcome.stderr;
  };
  await ran('train', ...RUN, '--ema', '0.5,0.9', '--steps', '2');
  const weightsOf = async (...args: string[]): Promise<string> => {
    await ran('sample', '--num', '1', '--steps', '1', '--latents', '-o', 'z', ...args);
    return JSON.parse((await openTensorStream(path.join(cwd, 'z'))).schema.metadata['repa.sampler']).weights;
  };
  const choices: [string[], string][] = [
    [[], 'ema 0.5'],
    [['--ema', '0.9'], 'ema 0.9'],
    [['--raw'], 'raw'],
  ];
  for (const [choice, told] of choices) {
    assert.equal(await weightsOf('--ckpt', 'ckpt', ...choice), told);
    await ran('export', 'ckpt', ...choice, '-o', 'w.safetensors');
    assert.equal(await weightsOf('--ckpt', 'w.safetensors'), told);
    assert.equal(await weightsOf('--ckpt', 'w.safetensors', ...choice), told);
    await ran('import', 'w.safetensors', '-o', told);
    const { training } = readCheckpointRecord(path.join(cwd, told, 'step-0000000'));
    assert.deepEqual(training.emaDecays, [told === 'ema 0.9' ? 0.9 : 0.5]);
  }
  await ran('export', 'ckpt', '-o', 'all.pt');
  assert.equal(await weightsOf('--ckpt', 'all.pt'), 'ema 0.5');
  const wrong = await repa(['sample', '--ckpt', 'w.safetensors', '--ema', '0.9', '--num', '1', '-o', 'z'], { cwd });
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--ema 0\.9: w\.safetensors does not tell of such an average, but of raw/);
});

test('weights that are not finite are imported, sampled and exported by nobody', async (t) => {
  const cwd = temporaryFolder(t);
  assert.equal((await repa(['import', TRAINING, '--heads', '2'], { cwd })).code, 0);
  const folder = path.join(cwd, 'ckpt/step-0000001');
  const broken = (from: string, to: string) => {
    const file = openSafetensors(from);
    const tensors = file.names.map((name): [string, HostTensor] => [name, file.read(name)]);
    tensors.find(([name]) => name === 'blocks.1.mlp.fc1.bias')![1].data[2] = Number.NaN;
    file.close();
    writeSafetensors(to, tensors);
  };
  broken(path.join(folder, 'ema.safetensors'), path.join(cwd, 'flat.safetensors'));
  renameSync(path.join(folder, 'SHA256SUMS'), path.join(cwd, 'sums')); // as of before there were checksums
  broken(path.join(folder, 'ema.safetensors'), path.join(folder, 'ema.safetensors'));
  for (const args of [
    ['import', 'flat.safetensors', '--heads', '2', '-o', 'a'],
    ['sample', '--ckpt', 'flat.safetensors', '--heads', '2', '--num', '1', '--latents', '-o', 'z'],
    ['sample', '--num', '1', '--latents', '-o', 'z'],
    ['export', 'ckpt', '-o', 'w.safetensors'],
    ['export', 'ckpt', '-o', 'w.pt'],
  ]) {
    const { code, stderr } = await repa(args, { cwd });
    assert.equal(code, 65, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, /element 2 of blocks\.1\.mlp\.fc1\.bias is NaN/);
  }
  assert.deepEqual(readdirSync(cwd).sort(), ['ckpt', 'flat.safetensors', 'sums']);
});

test('weights alone become the start of a run', async (t) => {
  const cwd = await prepared(t);
  const lines = [
    `repa train ${RUN.join(' ')} --steps 2 > log`,
    'repa export ckpt -o weights.safetensors',
    'repa import weights.safetensors -o start',
    `repa train ${RUN.join(' ')} --steps 1 --out start > log2`,
  ];
  for (const line of lines) {
    const { code, stderr } = await shell(line, { cwd });
    assert.equal(code, 0, `${line}\n${stderr}`);
  }
  const [exported, start] = [part(path.join(cwd, 'ckpt/step-0000002'), 'ema'), path.join(cwd, 'start')];
  assert.deepEqual(readdirSync(start).sort(), ['log.ndjson', 'step-0000000', 'step-0000001']);
  const origin = path.join(start, 'step-0000000');
  assert.deepEqual(readdirSync(origin).sort(), ['SHA256SUMS', 'config.json', 'ema.safetensors', 'model.safetensors']);
  for (const name of ['model', 'ema']) {
    const imported = part(origin, name);
    for (const [key, values] of exported) assert.deepEqual(imported.get(key), values, `${name} ${key}`);
  }
});

test('DiT goes out and comes back as DiT', async (t) => {
  const cwd = await prepared(t);
  const run = ['--model', 'DiT-S/4', ...RUN.slice(2)].join(' ');
  const { code, stderr } = await shell(
    `repa train ${run} --steps 2 > log && repa export ckpt -o dit.pt && repa import dit.pt -o back`,
    { cwd },
  );
  assert.equal(code, 0, stderr);
  const [before, after] = ['ckpt', 'back'].map((out) => path.join(cwd, out, 'step-0000002'));
  const { origin, ...imported } = readCheckpointRecord(after);
  assert.deepEqual({ ...imported, origin: null }, readCheckpointRecord(before));
  assert.deepEqual(
    [origin?.by, origin?.source, origin?.weights, origin?.step],
    ['import', 'dit.pt', { model: 'raw', ema: 'ema 0.9' }, 2],
  );
  for (const name of ['model', 'ema', 'optimizer']) assert.deepEqual(part(after, name), part(before, name));
});

test('what cannot be imported or exported is named, and leaves nothing behind', async (t) => {
  const cwd = temporaryFolder(t);
  const fail = async (args: string[], code: number, message: RegExp) => {
    const outcome = await repa(args, { cwd });
    assert.equal(outcome.code, code, outcome.stderr);
    assert.match(outcome.stderr, message);
  };
  assert.equal((await repa(['import', TRAINING, '--heads', '2'], { cwd })).code, 0);
  // Killed at its end, it is run again.
  assert.equal((await repa(['import', TRAINING, '--heads', '2'], { cwd })).code, 0);
  await fail(['import', TRAINING, '--heads', '4'], 2, /ckpt holds checkpoints already/);
  await fail(['import', 'absent.pt', '-o', 'a'], 66, /absent\.pt/);
  await fail(['import', fixturePath('ckpt/evil-system.pt'), '-o', 'a'], 65, /not allowed/);
  await fail(
    ['import', fixturePath('ckpt/state_dict_zip_t213.pt'), '--heads', '3', '--model', 'SiT-XL/2', '-o', 'a'],
    65,
    /28 blocks/,
  );
  const cut = path.join(cwd, 'cut.pt');
  writeFileSync(cut, readFileSync(TRAINING));
  truncateSync(cut, 200_000);
  await fail(['import', cut, '-o', 'a'], 65, /cut\.pt/);
  await fail(['export', 'ckpt', '-o', 'weights.onnx'], 2, /\.safetensors or \.pt/);
  await fail(['export', 'ckpt', '-o', 'all.pt', '--raw'], 2, /--raw/);
  await fail(['export', 'nowhere', '-o', 'all.pt'], 66, /nowhere/);
  rmSync(cut);
  renameSync(path.join(cwd, 'ckpt/step-0000001/ema.safetensors'), path.join(cwd, 'ema'));
  await fail(['export', 'ckpt', '-o', 'all.pt'], 66, /ema\.safetensors/);
  assert.deepEqual(readdirSync(cwd).sort(), ['ckpt', 'ema']);
});
