import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { settle } from '../../../src/lib/diffusion/samplers/index.js';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { toParameters } from '../../../src/lib/models/parameters.js';
import { spatialNorm } from '../../../src/lib/repa/irepa.js';
import { forward } from '../../../src/lib/repa/network.js';
import type { LossInputs } from '../../../src/lib/repa/pass.js';
import { weakerPrediction } from '../../../src/lib/repa/weaker.js';
import type { Anchor } from '../../../src/lib/sampling/anchor.js';
import { compiledNetwork, type DiffusionModel, forward as modelForward } from '../../../src/lib/sampling/model.js';
import { assertClose, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

import { Fixture, type Inputs, noisy, TOLERANCE } from './published-fixture.js';

describe('Internal Guidance', () => {
  const fixture = new Fixture('internal-guidance', { methods: { 'internal-guidance': { weight: 0.5, block: 2 } } });

  test('both heads predict what the published network does', () => {
    const [velocity, middle] = fixture.outputs(['x', 'noise', 't', 'y'], (p, { x, noise, t, y }) => {
      const pass = forward(p, fixture.network, { x: noisy(x, noise, t), t, y });
      return [pass.output, weakerPrediction(p, fixture.network, pass)];
    });
    for (const [name, values] of Object.entries({ velocity, middle })) {
      const wanted = fixture.expected(`outputs.${name}`);
      assertClose(values, wanted, TOLERANCE * largestMagnitude(wanted), name);
    }
  });

  test('losses and gradients', () => {
    const inputs = ({ x, noise, t, y }: Record<string, tf.Tensor>): LossInputs => ({ x, noise, t, y });
    fixture.checkLoss(['x', 'noise', 't', 'y'], inputs, { velocity: 'loss', internal: 'middle_loss' });
  });
});

describe('REG', () => {
  const methods = {
    repa: { lambda: 0.5, projectionLoss: 'cosine', projectorDim: 16, dims: [12] },
    reg: { weight: 0.03, dim: 12 },
  };
  const fixture = new Fixture('reg', { methods });

  test('the image and the class token move as in the published network', () => {
    const names = ['x', 'noise', 't', 'y', 'cls', 'cls_noise'];
    const [velocity, cls_velocity] = fixture.outputs(names, (p, { x, noise, t, y, cls, cls_noise }) => {
      const companion = noisy(cls, cls_noise, t); // [B, Z]
      const pass = forward(p, fixture.network, { x: noisy(x, noise, t), t, y, companion });
      return [pass.output, pass.companion!];
    });
    for (const [name, values] of Object.entries({ velocity, cls_velocity })) {
      const wanted = fixture.expected(`outputs.${name}`);
      assertClose(values, wanted, TOLERANCE * largestMagnitude(wanted), name);
    }
  });

  test('losses and gradients', () => {
    const inputs = ({ x, noise, t, y, cls, cls_noise, features }: Record<string, tf.Tensor>): LossInputs => {
      // The first row of the published code's features is the class token itself.
      const patches = tf.slice(features, [0, 1, 0], [-1, -1, -1]); // [B, T, Z]
      return { x, noise, t, y, features: [patches], companion: { clean: cls, noise: cls_noise } };
    };
    const losses = { velocity: 'loss', projection: 'projection_loss', class_token: 'cls_loss' };
    fixture.checkLoss(['x', 'noise', 't', 'y', 'cls', 'cls_noise', 'features'], inputs, losses);
  });
});

describe('SRA', () => {
  const methods = { sra: { weight: 0.2, block: 1, teacher: 2, maxTimeShift: 0.2 } };
  const fixture = new Fixture('sra', { methods });

  test('losses and gradients, with the teacher at its own times', () => {
    const inputs = ({ x, noise, t, y, share }: Record<string, tf.Tensor>): LossInputs => {
      const earlier = tf.maximum(tf.sub(t, tf.mul(share, 0.2)), 0); // [B]
      return { x, noise, t, y, draws: { sra: { t: earlier } } };
    };
    const losses = { velocity: 'loss', self_alignment: 'align_loss' };
    fixture.checkLoss(['x', 'noise', 't', 'y', 'share'], inputs, losses, fixture.group('teacher'));
  });
});

/** Of a network whose time runs the other way, as the original SiT's does. */
const REVERSED = { reversedTime: true };
const plain = ({ x, noise, t, y }: Record<string, tf.Tensor>): LossInputs => ({ x, noise, t, y });

describe('LayerSync', () => {
  const fixture = new Fixture('layer-sync', {
    ...REVERSED,
    methods: { 'layer-sync': { weight: 0.2, block: 1, teacher: 3 } },
  });

  test('losses and gradients', () => {
    fixture.checkLoss(['x', 'noise', 't', 'y'], plain, { velocity: 'loss', layer_sync: 'reg' });
  });
});

describe('Dispersive Loss', () => {
  // The published PyTorch code has a weight of 0.25 and a temperature of 1, at the last block.
  const fixture = new Fixture('dispersive', {
    ...REVERSED,
    methods: { dispersive: { weight: 0.25, block: 2, temperature: 1 } },
  });

  test('losses and gradients', () => {
    fixture.checkLoss(['x', 'noise', 't', 'y'], plain, { velocity: 'loss', dispersive: 'disp' });
  });
});

describe('Delta-FM', () => {
  const repa = { lambda: 0.5, projectionLoss: 'cosine', projectorDim: 16, dims: [12] };
  const names = ['x', 'noise', 't', 'y', 'features', 'other', 'share'];

  test('losses and gradients, with the images that were drawn, without those that have no label', () => {
    const methods = { repa, 'delta-fm': { weight: 0.05, from: 'random', labelled: true } };
    const fixture = new Fixture('delta-fm', { methods });
    const inputs = ({ features, other, share, ...others }: Record<string, tf.Tensor>): LossInputs => ({
      ...plain(others),
      features: [features],
      draws: { 'delta-fm': { other, share } },
    });
    const losses = { velocity: 'flow_loss', projection: 'projection_loss', contrastive: 'contrastive_loss' };
    fixture.checkLoss(names, inputs, losses);
  });

  test('with all images', () => {
    const fixture = new Fixture('delta-fm', {
      methods: { repa, 'delta-fm': { weight: 0.05, from: 'random', labelled: false } },
    });
    const inputs = ({ features, other, share: _, ...others }: Record<string, tf.Tensor>): LossInputs => ({
      ...plain(others),
      features: [features],
      draws: { 'delta-fm': { other } },
    });
    fixture.checkLosses(names, inputs, { contrastive: 'contrastive_all' }).dispose();
  });
});

describe('TREAD', () => {
  const methods = { tread: { share: 0.3, from: 2, to: 3 } };
  const fixture = new Fixture('tread', { methods });

  test('losses and gradients, with the tokens that were drawn', () => {
    const inputs = ({ route, ...others }: Record<string, tf.Tensor>): LossInputs => ({
      ...plain(others),
      draws: { tread: { route } },
    });
    fixture.checkLoss(['x', 'noise', 't', 'y', 'route'], inputs, { velocity: 'loss' });
  });

  test('without a route it predicts what the published network does in sampling', () => {
    const [velocity] = fixture.outputs(['x', 'noise', 't', 'y'], (p, { x, noise, t, y }) => [
      forward(p, fixture.network, { x: noisy(x, noise, t), t, y }).output,
    ]);
    const wanted = fixture.expected('outputs.velocity');
    assertClose(velocity, wanted, TOLERANCE * largestMagnitude(wanted), 'velocity');
  });
});

describe('iREPA', () => {
  const repa = { lambda: 1, projectionLoss: 'cosine', projectorDim: 16, dims: [12] };
  const methods = { repa, irepa: { projector: 'conv', kernel: 3, spatialNorm: 0.6 } };
  const fixture = new Fixture('irepa', { alignDepth: 1, methods });

  test('losses and gradients, of the released strength', () => {
    const inputs: Inputs = ({ features, ...others }) => ({ ...plain(others), features: [features] });
    fixture.checkLoss(['x', 'noise', 't', 'y', 'features'], inputs, {
      velocity: 'loss',
      projection: 'projection_loss',
    });
  });

  test('features are normalised as there', () => {
    const [normalised] = fixture.outputs(['features'], (_, { features }) => [spatialNorm(features, 0.6)]);
    assertClose(normalised, fixture.expected('outputs.normalised'), TOLERANCE, 'features');
  });
});

describe('ReDi', () => {
  const fixture = new Fixture('redi', { ...REVERSED, methods: { redi: { weight: 0.7, channels: 2 } } });

  test('losses and gradients', () => {
    const losses = { velocity: 'velocity_loss', representation: 'representation_loss' };
    fixture.checkLoss(['x', 'noise', 't', 'y'], plain, losses, undefined, 4);
  });
});

describe('SPRINT', () => {
  const repa = { lambda: 0.5, projectionLoss: 'cosine', projectorDim: 16, dims: [12] };
  const settings = { share: 0.75, groups: true, pathDrop: 0.5, pathDropOf: 'image', maskToken: 'fixed' };
  const sprint = { ...settings, from: 2, to: 3 };
  const fixture = new Fixture('sprint', { inputSize: 8, rotary: true, methods: { repa, sprint } });

  test('the network is known from its weights', () => {
    const { qkNorm, qkNormKind, norm, feedForward, positions } = fixture.network.model;
    assert.deepEqual(
      { qkNorm, qkNormKind, norm, feedForward, positions },
      {
        ...{ qkNorm: true, qkNormKind: 'rms', norm: 'layer', feedForward: 'gelu', positions: 'none' },
      },
    );
  });

  test('losses and gradients, with the tokens and paths that were drawn', () => {
    const inputs: Inputs = ({ features, route, kept, ...others }) => ({
      ...plain(others),
      features: [features],
      draws: { sprint: { route, pathKept: kept } },
    });
    const losses = { velocity: 'loss', projection: 'projection_loss' };
    fixture.checkLoss(['x', 'noise', 't', 'y', 'features', 'route', 'kept'], inputs, losses);
  });

  test('velocities in sampling, and those that path-drop guidance moves away from', () => {
    const [velocity, guiding] = fixture.outputs(['x', 'noise', 't', 'y', 'nulls'], (p, { x, noise, t, y, nulls }) => {
      const xT = noisy(x, noise, t);
      const weaker = forward(p, fixture.network, { x: xT, t, y: nulls }, { weakened: true });
      return [forward(p, fixture.network, { x: xT, t, y }).output, weaker.output];
    });
    for (const [name, values] of Object.entries({ velocity, guiding })) {
      const wanted = fixture.expected(`outputs.${name}`);
      assertClose(values, wanted, TOLERANCE * largestMagnitude(wanted), name);
    }
  });
});

describe('SR-DiT', () => {
  const sprint = {
    ...{ share: 0.75, groups: false, from: 3, to: 3, pathDrop: 0.05, pathDropOf: 'step', maskToken: 'learned' },
  };
  const methods = {
    repa: { lambda: 0.5, projectionLoss: 'cosine', projectorDim: 16, dims: [12] },
    reg: { weight: 0.03, dim: 12 },
    'delta-fm': { weight: 0.05, from: 'random', labelled: false },
    sprint,
  };
  const fixture = new Fixture('sr-dit', { norm: 'rms-plain', rotary: true, methods });
  const names = ['x', 'noise', 't', 'y', 'cls', 'cls_noise', 'features', 'route', 'kept', 'other'];
  const inputs: Inputs = ({ features, route, kept, other, cls, cls_noise, ...others }) => ({
    ...plain(others),
    features: [features],
    companion: { clean: cls, noise: cls_noise },
    draws: { sprint: { route, pathKept: kept }, 'delta-fm': { other } },
  });

  test('losses and gradients, of value residuals too', () => {
    assert.ok(fixture.network.model.valueResidual);
    const losses = {
      velocity: 'loss',
      projection: 'projection_loss',
      class_token: 'cls_loss',
      contrastive: 'contrastive',
    };
    fixture.checkLoss(names, inputs, losses);
  });

  test('the loss of a step whose path is dropped', () => {
    const dropped: Inputs = (tensors) => inputs({ ...tensors, kept: tf.zerosLike(tensors.kept) });
    fixture.checkLosses(names, dropped, { velocity: 'dropped_loss' }).dispose();
  });

  test('velocities in sampling, and those that path-drop guidance moves away from', () => {
    const given = ['x', 'noise', 't', 'y', 'cls', 'cls_noise', 'nulls'];
    const results = fixture.outputs(given, (p, { x, noise, t, y, cls, cls_noise, nulls }) => {
      const noised = { x: noisy(x, noise, t), t, companion: noisy(cls, cls_noise, t) };
      const pass = forward(p, fixture.network, { ...noised, y });
      const weaker = forward(p, fixture.network, { ...noised, y: nulls }, { weakened: true });
      return [pass.output, pass.companion!, weaker.output, weaker.companion!];
    });
    for (const [i, name] of ['velocity', 'cls_velocity', 'guiding', 'cls_guiding'].entries()) {
      const wanted = fixture.expected(`outputs.${name}`);
      assertClose(results[i], wanted, TOLERANCE * largestMagnitude(wanted), name);
    }
  });
});

describe('Self-Flow', () => {
  const fixture = new Fixture('self-flow', {
    methods: { 'self-flow': { weight: 0.5, block: 1, teacher: 3, share: 0.25 } },
  });

  test('losses and gradients, with the times and tokens that were drawn', () => {
    const inputs: Inputs = ({ second, chosen, teacher, ...others }) => ({
      ...plain(others),
      draws: { 'self-flow': { second, chosen, teacher } },
    });
    const losses = { velocity: 'loss', self_flow: 'align_loss' };
    const names = ['x', 'noise', 't', 'y', 'second', 'chosen', 'teacher'];
    fixture.checkLoss(names, inputs, losses, fixture.group('teacher'));
  });
});

describe('LightningDiT', () => {
  const fixture = new Fixture('lightning-dit', { ...REVERSED, rotary: true, methods: { direction: { weight: 1 } } });

  test('losses and gradients, of its blocks and of the direction of velocities', () => {
    const { norm, qkNorm, feedForward } = fixture.network.model;
    assert.deepEqual({ norm, qkNorm, feedForward }, { norm: 'rms', qkNorm: true, feedForward: 'swiglu' });
    fixture.checkLoss(['x', 'noise', 't', 'y'], plain, { velocity: 'loss', direction: 'cos_loss' });
  });
});

describe('REPA-G', () => {
  const repa = { lambda: 0.5, projectionLoss: 'cosine', projectorDim: 16, dims: [12] };
  const fixture = new Fixture('repa-g', { methods: { repa } });
  const anchorOf = (mean: boolean): Anchor => {
    const features = Float32Array.from(fixture.input(mean ? 'mean' : 'anchor').data);
    const tokens = features.length / 12;
    return { features, tokens, dim: 12, content: '', scale: 20, mean, low: 0, high: 1, drift: 'ode' };
  };
  const model = { source: 'repa-g', record: fixture.network, parameters: {} } as unknown as DiffusionModel;
  const states = (x: tf.Tensor): tf.Tensor => tf.reshape(x, [3, -1]); // [B, C h w]

  test('gradients of the energy, of each token and of their mean, join the velocity', () => {
    const [plainly, drawn, ofMean, inSde] = fixture.outputs(
      ['x', 'noise', 't', 'y'],
      (parameters, { x, noise, t, y }) => {
        const at = (anchor?: Anchor) =>
          modelForward({ ...model, parameters }, states(noisy(x, noise, t)), t, y, { anchor }).output;
        return [at(), at(anchorOf(false)), at(anchorOf(true)), at({ ...anchorOf(false), drift: 'sde' })];
      },
    );
    const t = fixture.input('t').data;
    const gradient = (values: Float32Array, of: (t: number) => number): Float32Array =>
      values.map((value, i) => (value - plainly[i]) / of(t[Math.floor((3 * i) / values.length)]));
    const wanted = fixture.expected('outputs.gradient');
    const close = 5 * TOLERANCE * largestMagnitude(wanted); // differences of velocities ten times as large
    assertClose(
      gradient(drawn, (t) => t),
      wanted,
      close,
      'tokens',
    );
    assertClose(
      gradient(inSde, (t) => t / (2 - t)),
      wanted,
      close,
      'in the SDE',
    );
    const ofMeanWanted = fixture.expected('outputs.mean_gradient');
    assertClose(
      gradient(ofMean, (t) => t),
      ofMeanWanted,
      5 * TOLERANCE * largestMagnitude(ofMeanWanted),
      'mean',
    );
    const outside = { ...anchorOf(false), low: 2, high: 3 };
    const [same] = fixture.outputs(['x', 'noise', 't', 'y'], (parameters, { x, noise, t, y }) => [
      modelForward({ ...model, parameters }, states(noisy(x, noise, t)), t, y, { anchor: outside }).output,
    ]);
    assertClose(same, plainly, 0, 'outside of the interval');
  });

  test('samples of the ODE', async () => {
    const parameters = toParameters(fixture.group('weights'));
    const network = compiledNetwork({ ...model, parameters }, { anchor: anchorOf(false) });
    const labels = Int32Array.from(fixture.input('y').data);
    const sampler = settle('SiT', { path: 'linear', timeShift: 1 }, { steps: 4 });
    const start = { states: Float32Array.from(fixture.input('noise').data), rows: 3, channelSize: 64, noise: () => {} };
    const samples = await sampler.sample((x, t) => network(x, t, labels), start);
    const wanted = fixture.expected('outputs.samples');
    assertClose(samples, wanted, TOLERANCE * largestMagnitude(wanted), 'samples');
    network.dispose();
  });
});

describe('SFD', () => {
  const methods = { redi: { weight: 1, channels: 2, lead: 0.3 } };
  const fixture = new Fixture('sfd', { ...REVERSED, rotary: true, lead: { by: 0.3, channels: 2 }, methods });

  test('losses and gradients, with channels ahead of the others', () => {
    // The published weight of 2 is within the mean over all 6 channels.
    const [total] = fixture.expected('outputs.loss');
    const [texture, semantic] = ['texture', 'semantic'].map((name) => fixture.expected(`outputs.${name}`)[0]);
    assertClose([(4 * (texture + semantic)) / 6], [total], 1e-6, 'loss');
    const store = fixture.checkLosses(
      ['x', 'noise', 't', 'y'],
      plain,
      { velocity: 'texture', representation: 'semantic' },
      undefined,
      4,
    );
    const gradients = fixture.group('gradients');
    assert.ok(gradients.has('t_embedder_sem.mlp.0.weight'));
    for (const { name, gradient } of store.parameters) {
      const wanted = gradients.get(name)?.data;
      if (!wanted) continue;
      const own = gradient!.map((value) => (value * 4) / 6);
      assertClose(own, wanted, TOLERANCE * Math.max(1, largestMagnitude(wanted)), name);
    }
    store.dispose();
  });

  test('samples of the ODE: some channels begin alone, and the others end alone', async () => {
    const record = { ...fixture.network, training: {} } as unknown as DiffusionModel['record'];
    const model = { source: 'sfd', record, parameters: toParameters(fixture.group('weights')) };
    const network = compiledNetwork(model);
    const labels = Int32Array.from(fixture.expected('inputs.labels'));
    const sampler = settle('SiT', { path: 'linear', timeShift: 1 }, { steps: 10 });
    const states = fixture.expected('inputs.sample_noise');
    const start = { states, rows: 2, channelSize: 64, noise: () => {} };
    const samples = await sampler.sample((x, t) => network(x, t, labels), start);
    const wanted = fixture.expected('outputs.samples');
    assertClose(samples, wanted, TOLERANCE * largestMagnitude(wanted), 'samples');
    network.dispose();
  });
});
