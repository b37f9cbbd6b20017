/** Where training loops of others keep weights and their moving averages, and what is told of them. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { DataError, UsageError } from '../../../src/lib/errors.js';
import { describeOfficial } from '../../../src/lib/exchange/official-run.js';
import { type HostTensor, toFloat32 } from '../../../src/lib/formats/host-tensor.js';
import { writeSafetensors } from '../../../src/lib/formats/safetensors.js';
import { type Savable, writeTorch } from '../../../src/lib/formats/torch-writer.js';
import { openOfficialCheckpoint } from '../../../src/lib/pretrained/official-checkpoint.js';
import { startingNetwork } from '../../../src/lib/repa/network.js';
import { networkOf } from '../../networks.js';
import { temporaryFolder } from '../../support.js';

const NETWORK = networkOf('SiT-S/2', { depth: 2, hiddenSize: 8, numHeads: 2, inputSize: 4, numClasses: 3 });
const NAMES = [...startingNetwork(NETWORK, 0)].map(([name]) => name);
const folder = temporaryFolder();

/** Weights of the network, the first element of each raised by `added`. */
const tensors = (added: number): [string, HostTensor][] =>
  [...startingNetwork(NETWORK, 0)].map(([name, { shape, data }]) => {
    const values = data.slice();
    values[0] += added;
    return [name, { shape: [...shape], dtype: 'f32', data: values }];
  });

type Rename = (name: string) => string;
const stateDict = (added: number, rename: Rename = (name) => name): Map<string, Savable> =>
  new Map(tensors(added).map(([name, tensor]) => [rename(name), tensor]));

const [RAW, EMA] = [1, 2];
const raw = stateDict(RAW);
const ema = stateDict(EMA);
const scalar = (value: number): HostTensor => ({ shape: [], dtype: 'f32', data: Float32Array.of(value) });
const without =
  (name: string): Rename =>
  (each) =>
    name + each.replaceAll('.', '');
/** As sharded training wraps the network and each block. */
const sharded: Rename = (name) =>
  `_fsdp_wrapped_module.${name.replace(/^(blocks\.\d+)\./, '$1._fsdp_wrapped_module.')}`;

interface Layout {
  root: Savable;
  /** What is told of the weights to use. */
  told: string;
  /** By how much these, and those of --raw, are raised. */
  used?: number;
  plain?: number;
}

const LAYOUTS: Record<string, Layout> = {
  'the official code': { root: { model: raw, ema, opt: {}, steps: 5 }, told: 'ema 0.9999' },
  model_ema: { root: { model_ema: ema, model: raw }, told: 'ema' },
  ema_model: { root: { ema_model: ema, model: raw }, told: 'ema' },
  ema_state_dict: { root: { ema_state_dict: ema, state_dict: raw }, told: 'ema' },
  camel: { root: { net: raw, netEma: ema, ema_decay: 0.998 }, told: 'ema 0.998' },
  'decay in the name': { root: { model: raw, 'ema_0.9995': ema }, told: 'ema 0.9995' },
  'decay among the arguments': { root: { model: raw, ema_params: ema, args: { ema_decay: 0.99 } }, told: 'ema 0.99' },
  shadow: { root: { ema: { decay: 0.999, shadow: ema }, model: raw }, told: 'ema 0.999' },
  'list of shadows': {
    root: { model: raw, ema: { decay: 0.99, num_updates: 7, shadow_params: [...ema.values()] } },
    told: 'ema 0.99',
  },
  'list of shadows of what is trained': {
    root: { model: raw, ema: { shadow_params: NAMES.filter((n) => n !== 'pos_embed').map((n) => ema.get(n)!) } },
    told: 'ema',
  },
  Lightning: {
    root: {
      state_dict: new Map([...stateDict(RAW, (n) => `model.${n}`), ...stateDict(EMA, (n) => `ema_model.${n}`)]),
    },
    told: 'ema',
  },
  'latent diffusion': {
    root: {
      state_dict: new Map<string, Savable>([
        ...stateDict(RAW, (n) => `model.diffusion_model.${n}`),
        ...stateDict(EMA, without('model_ema.diffusion_model')),
        ['model_ema.decay', scalar(0.9999)],
        ['model_ema.num_updates', scalar(12)],
      ]),
    },
    told: 'ema 0.9999',
  },
  "PyTorch's averaged model": {
    root: { model: raw, swag: new Map([['n_averaged', scalar(3)], ...stateDict(EMA, (n) => `module.${n}`)]) },
    told: 'ema',
  },
  'compiled and parallel': {
    root: { model: stateDict(RAW, (n) => `module._orig_mod.${n}`), ema: stateDict(EMA, (n) => `_orig_mod.${n}`) },
    told: 'ema 0.9999',
  },
  sharded: { root: { model: stateDict(RAW, sharded), ema: stateDict(EMA, sharded) }, told: 'ema 0.9999' },
  'weights without an average': { root: { model: raw }, told: "the only set, 'model'", used: RAW },
  'weights under a name of their own': { root: { net: { deep: raw } }, told: "the only set, 'net.deep'", used: RAW },
  'an average alone': { root: { ema }, told: 'ema', plain: EMA },
  'one state dict': { root: raw, told: 'the only set', used: RAW },
};

/** By how much the weights of a set are raised; each tensor must be. */
function added(set: ReadonlyMap<string, { read(): HostTensor }>): number {
  assert.deepEqual([...set.keys()].sort(), [...NAMES].sort());
  const start = new Map([...startingNetwork(NETWORK, 0)].map(([name, { data }]) => [name, data]));
  const by = [...set]
    .filter(([n]) => n !== 'pos_embed')
    .map(([name, t]) => toFloat32(t.read())[0] - start.get(name)![0]);
  for (const each of by) assert.ok(Math.abs(each - by[0]) < 1e-6, `${each} and ${by[0]}`);
  return Math.round(by[0]);
}

for (const [name, { root, told, used = EMA, plain = RAW }] of Object.entries(LAYOUTS)) {
  test(`the average and the weights are found, and what they are is told: ${name}`, async () => {
    const file = path.join(folder, `${name.replace(/\W/g, '-')}.pt`);
    await writeTorch(file, root);
    const checkpoint = openOfficialCheckpoint(file);
    assert.deepEqual([added(checkpoint.ema), added(checkpoint.model)], [used, plain]);
    const { record, weights } = describeOfficial(checkpoint, { heads: 2 });
    assert.equal(weights.ema, told);
    assert.equal(weights.model, used === EMA && plain === RAW ? 'raw' : told);
    assert.deepEqual(record.training.emaDecays, [Number(/\d.*/.exec(told.match(/^ema/) ? told : '')?.[0] ?? 0.9999)]);
    checkpoint.close();
  });
}

test('the same in flat files: Lightning converted to safetensors', () => {
  const file = path.join(folder, 'lightning.safetensors');
  const renamed = (by: number, prefix: string) => tensors(by).map(([n, t]) => [`${prefix}.${n}`, t] as const);
  writeSafetensors(file, [...renamed(RAW, 'model'), ...renamed(EMA, 'model_ema')]);
  const checkpoint = openOfficialCheckpoint(file);
  assert.deepEqual([added(checkpoint.ema), added(checkpoint.model)], [EMA, RAW]);
  checkpoint.close();
});

test('of several sets of a kind one has to be named, and what is named has to be there', async () => {
  const file = path.join(folder, 'several.pt');
  await writeTorch(file, { net: raw, teacher: stateDict(3), ema1: ema, ema2: stateDict(4) });
  assert.throws(
    () => openOfficialCheckpoint(file),
    (error: Error) =>
      error instanceof UsageError &&
      /several sets of weights, at 'net', 'teacher', 'ema1', 'ema2'/.test(error.message) &&
      /--key net/.test(error.hint ?? ''),
  );
  const teacher = openOfficialCheckpoint(file, 'teacher');
  assert.deepEqual([added(teacher.model), added(teacher.ema)], [3, 3]);
  const average = openOfficialCheckpoint(file, 'ema2');
  assert.deepEqual([added(average.ema), average.holds], [4, 'average']);
  assert.throws(() => openOfficialCheckpoint(file, 'student'), /no weights there, but at 'net'/);
  const none = path.join(folder, 'none.pt');
  await writeTorch(none, { model: { 'conv.weight': scalar(1) } });
  assert.throws(() => openOfficialCheckpoint(none), DataError);
});

/** Moments as an optimiser keeps them, of value `by`. */
const moments = (by: number, others: Record<string, Savable> = {}): Savable[] =>
  tensors(0).map(([name, { shape, data }]) => {
    const filled: HostTensor = {
      shape,
      dtype: 'f32',
      data: new Float32Array(data.length).fill(NAMES.indexOf(name) + by),
    };
    return { step: scalar(9), exp_avg: filled, exp_avg_sq: filled, ...others };
  });
const numbered = (list: Savable[]) => new Map(list.map((each, i) => [i, each] as const));
const TRAINED = NAMES.map((_, i) => i).filter((i) => NAMES[i] !== 'pos_embed');
const group = (count: number, others: object = {}): Savable => ({
  params: Array.from({ length: count }, (_, i) => i),
  ...others,
});
const all = moments(0);
const trained = TRAINED.map((i) => all[i]);
/** Decayed parameters first, as many loops group them. */
const order = [
  ...TRAINED.filter((i) => tensors(0)[i][1].shape.length > 1),
  ...TRAINED.filter((i) => tensors(0)[i][1].shape.length < 2),
];

const OPTIMISERS: Record<string, { opt: Savable; problem?: RegExp }> = {
  'of all parameters': { opt: { state: numbered(all), param_groups: [group(all.length)] } },
  'of those that are trained': { opt: { state: numbered(trained), param_groups: [group(trained.length)] } },
  'by name, as sharded training gathers it': {
    opt: { state: new Map(TRAINED.map((i) => [sharded(NAMES[i]), all[i]])), param_groups: [] },
  },
  'in groups that name their parameters': {
    opt: {
      state: numbered(order.map((i) => all[i])),
      param_groups: [group(order.length, { param_names: order.map((i) => `module.${NAMES[i]}`) })],
    },
  },
  'in groups without names': {
    opt: {
      state: numbered(order.map((i) => all[i])),
      param_groups: [group(3), { params: order.map((_, i) => i).slice(3) }],
    },
    problem: /groups do not tell/,
  },
  'of SGD': {
    opt: {
      state: numbered(trained.map(() => ({ momentum_buffer: scalar(1) }))),
      param_groups: [group(trained.length)],
    },
    problem: /momentum_buffer/,
  },
  'of Adam in 8 bits': {
    opt: {
      state: numbered(trained.map(() => ({ step: 3, state1: scalar(1), state2: scalar(1), qmap1: scalar(1) }))),
      param_groups: [group(trained.length)],
    },
    problem: /state1/,
  },
  'of another number of parameters': {
    opt: { state: numbered(all.slice(0, 4)), param_groups: [group(4)] },
    problem: /groups do not tell/,
  },
};

for (const [name, { opt, problem }] of Object.entries(OPTIMISERS)) {
  test(`the state of an optimiser ${name} is ${problem ? 'left out, and why is said' : 'taken'}`, async () => {
    const file = path.join(folder, 'optimiser.pt');
    await writeTorch(file, { model: raw, ema, opt });
    const checkpoint = openOfficialCheckpoint(file);
    const { optimiser } = checkpoint;
    if (problem) {
      assert.equal(optimiser?.moments, undefined);
      assert.match(optimiser?.problem ?? '', problem);
    } else {
      assert.equal(optimiser?.moments?.size, 2 * TRAINED.length);
      for (const i of TRAINED) {
        for (const moment of ['exp_avg', 'exp_avg_sq']) {
          assert.equal(optimiser!.moments!.get(`${moment}.${NAMES[i]}`)!.read().data[0], i, NAMES[i]);
        }
      }
      assert.equal(checkpoint.step, 9);
    }
    checkpoint.close();
  });
}
