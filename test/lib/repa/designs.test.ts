/** Networks of other designs than SiT's against the code that their authors published: fixtures/published/README.md. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { alongPath, interpolate } from '../../../src/lib/diffusion/interpolate.js';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { publishedName, sitConfig } from '../../../src/lib/models/dit-sizes.js';
import { inferNetwork } from '../../../src/lib/repa/infer.js';
import { forward, networkParameters } from '../../../src/lib/repa/network.js';
import type { LossInputs } from '../../../src/lib/repa/pass.js';
import { weakerPrediction } from '../../../src/lib/repa/weaker.js';
import { loadDiffusionModel, type ModelOptions } from '../../../src/lib/sampling/load.js';
import type { DiffusionModel } from '../../../src/lib/sampling/model.js';
import { writeWeights } from '../../fixture-weights.js';
import { temporaryFolder } from '../../support.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';
import { Fixture, noisy, TOLERANCE } from './published-fixture.js';

before(() => selectBackend());

describe('JiT', () => {
  const methods = { repa: { lambda: 0.5, projectionLoss: 'cosine', projectorDim: 16, dims: [12] } };
  const fixture = new Fixture('jit', { context: { tokens: 4, block: 2 }, methods });

  test('is recognised by its names', () => {
    const { prediction, bottleneck, context, reversedTime, rotary, qkNorm, norm, feedForward } = fixture.network.model;
    assert.deepEqual(
      { prediction, bottleneck, context, reversedTime, rotary, qkNorm, norm, feedForward },
      {
        ...{ prediction: 'data', bottleneck: 6, context: { tokens: 4, block: 2 }, reversedTime: true },
        ...{ rotary: true, qkNorm: true, norm: 'rms', feedForward: 'swiglu' },
      },
    );
  });

  test('has no name among the published SiT, whatever its sizes', () => {
    const sizes = sitConfig('SiT-B/16', { inChannels: 3 });
    assert.equal(publishedName('SiT', sizes), 'SiT-B/16');
    assert.equal(publishedName('SiT', { ...sizes, bottleneck: 128 }), undefined);
  });

  test('predicts the clean data, of which the velocity is made', () => {
    const [velocity] = fixture.outputs(['x', 'noise', 't', 'y'], (p, { x, noise, t, y }) => [
      forward(p, fixture.network, { x: noisy(x, noise, t), t, y }).output,
    ]);
    const [x, noise, t, data] = ['inputs.x', 'inputs.noise', 'inputs.t', 'outputs.data'].map(fixture.expected);
    const wanted = velocity.map((_, i) => {
      const time = t[Math.floor(i / (x.length / t.length))];
      return ((1 - time) * x[i] + time * noise[i] - data[i]) / Math.max(time, 0.05);
    });
    assertClose(velocity, wanted, TOLERANCE * largestMagnitude(wanted), 'velocity');
  });

  test('losses and gradients, with REPA', () => {
    const inputs = ({ x, noise, t, y, features }: Record<string, tf.Tensor>): LossInputs => {
      return { x, noise, t, y, features: [features] };
    };
    const losses = { velocity: 'loss', projection: 'projection_loss' };
    fixture.checkLoss(['x', 'noise', 't', 'y', 'features'], inputs, losses);
  });

  test('the published layout is loaded strictly, from the module around it', () => {
    const { record } = loadDiffusionModel(fixture.file('net.'));
    assert.deepEqual(record.model, { ...fixture.network.model, numHeads: 2, alignDepth: 1 });
    assert.equal(record.data.latents.metadata['repa.model'], 'pixels');
  });

  test('samples by Heun, guided at all times', () => fixture.checkSamples({ solver: 'heun', steps: 4 }, { cfg: 1.5 }));
});

describe('PixelREPA', () => {
  const settings = { weight: 0.1, masked: 0.2, tokens: 4, block: 2, dim: 12 };
  const fixture = new Fixture('pixel-repa', { context: { tokens: 4, block: 3 }, methods: { 'pixel-repa': settings } });

  test('losses and gradients, through the adapter', () => {
    const inputs = ({ x, noise, t, y, features, kept }: Record<string, tf.Tensor>): LossInputs => {
      return { x, noise, t, y, features: [features], draws: { 'pixel-repa': { kept } } };
    };
    const losses = { velocity: 'loss', adapter: 'adapter_loss' };
    fixture.checkLoss(['x', 'noise', 't', 'y', 'features', 'kept'], inputs, losses);
  });
});

test('the published layout of PixelREPA is loaded strictly, without its adapter', () => {
  const fixture = new Fixture('pixel-repa', { context: { tokens: 4, block: 3 } });
  const { record } = loadDiffusionModel(fixture.file('net.'));
  assert.deepEqual(record.model.context, { tokens: 4, block: 2 });
  assert.deepEqual(record.methods, {});
});

describe('the wide head of DDT, as RAE has it', () => {
  const fixture = new Fixture('ddt', { head: { depth: 2, hiddenSize: 24, numHeads: 3 } });

  test('predicts what the published network does', () => {
    const { timeEmbedding, rotary, depth, patchSize, inChannels } = fixture.network.model;
    assert.deepEqual([timeEmbedding, rotary, depth, patchSize, inChannels], ['fourier', true, 2, 1, 12]);
    const [velocity] = fixture.outputs(['x', 'noise', 't', 'y'], (p, { x, noise, t, y }) => [
      forward(p, fixture.network, { x: noisy(x, noise, t), t, y }).output,
    ]);
    const wanted = fixture.expected('outputs.velocity');
    assertClose(velocity, wanted, TOLERANCE * largestMagnitude(wanted), 'velocity');
  });

  test('loss and gradients', () => {
    const inputs = ({ x, noise, t, y }: Record<string, tf.Tensor>): LossInputs => ({ x, noise, t, y });
    fixture.checkLoss(['x', 'noise', 't', 'y'], inputs, { velocity: 'loss' });
  });

  test('the published layout is loaded strictly, with its tables of angles, and its times are shifted', () => {
    const { record } = loadDiffusionModel(fixture.file(), { codec: { name: 'rae:dinov2reg-vit-b', scale: [1] } });
    assert.deepEqual(record.model.head, { depth: 2, hiddenSize: 24, numHeads: 1 }); // heads are those of its width
    assert.equal(record.training.timeShift, Math.sqrt((12 * 4 * 4) / 4096));
  });

  test('samples by Euler, in shifted steps', () =>
    fixture.checkSamples({ steps: 5 }, { timeShift: fixture.expected('inputs.shift')[0] }));
});

describe('RAEv2: time and class as tokens, a wide head, and an early head that guides', () => {
  const methods = { 'internal-guidance': { weight: 1, block: 1 } };
  const fixture = new Fixture('rae-2', { inputSize: 4, head: { depth: 2, hiddenSize: 24, numHeads: 3 }, methods });

  test('predicts what the published network does, early and late', () => {
    const { conditionTokens, positions, prediction, rotary, qkNorm, norm } = fixture.network.model;
    assert.deepEqual(
      { conditionTokens, positions, prediction, rotary, qkNorm, norm },
      {
        ...{ conditionTokens: { time: 2, label: 3 }, positions: 'none', prediction: 'data' },
        ...{ rotary: true, qkNorm: true, norm: 'rms' },
      },
    );
    const outputs = fixture.outputs(['x', 'noise', 't', 'y'], (p, { x, noise, t, y }) => {
      const pass = forward(p, fixture.network, { x: noisy(x, noise, t), t, y });
      return [pass.output, weakerPrediction(p, fixture.network, pass)];
    });
    for (const [i, name] of ['velocity', 'base'].entries()) {
      const wanted = fixture.expected(`outputs.${name}`);
      assertClose(outputs[i], wanted, TOLERANCE * largestMagnitude(wanted), name);
    }
  });

  test('of its 28 blocks and 2 wider ones, the early head is behind block 8', () => {
    const { model } = fixture.network;
    const whole = { ...fixture.network, model: { ...model, depth: 28 } };
    const { methods, model: found } = inferNetwork('SiT', networkParameters(whole), 'rae-2', { inputSize: 4 });
    assert.deepEqual(
      [found.depth, found.head?.depth, methods['internal-guidance']],
      [28, 2, { weight: 0.5, block: 8 }],
    );
  });

  test('losses and gradients, of both heads', () => {
    const inputs = ({ x, noise, t, y }: Record<string, tf.Tensor>): LossInputs => ({ x, noise, t, y });
    fixture.checkLoss(['x', 'noise', 't', 'y'], inputs, { velocity: 'loss', internal: 'base_loss' });
  });

  test('samples by Euler in shifted steps, away from the early head at times from 0.1 on', () => {
    const guidance = { scale: 1.78, low: 0.1, high: 1 };
    return fixture.checkSamples({ steps: 5 }, { timeShift: 1.5, internal: guidance, wanted: 'guided_samples' });
  });
});

describe('the geodesic path of RJF', () => {
  const fixture = new Fixture('rjf', {});

  test('loss and gradients, each error weighed by how it is carried on', () => {
    const inputs = ({ x, noise, t, y }: Record<string, tf.Tensor>): LossInputs => ({ x, noise, t, y });
    const losses = { velocity: 'loss' };
    fixture.checkLoss(['x', 'noise', 't', 'y'], inputs, losses, undefined, undefined, 'geodesic');
  });

  test('what counts of a prediction is along the sphere', () => {
    const [velocity] = fixture.outputs(['x', 'noise', 't', 'y'], (p, { x, noise, t, y }) => {
      const { xT } = interpolate('geodesic', x, noise, t);
      return [alongPath('geodesic', forward(p, fixture.network, { x: xT, t, y }).output, xT)];
    });
    const wanted = fixture.expected('outputs.velocity');
    assertClose(velocity, wanted, TOLERANCE * largestMagnitude(wanted), 'velocity');
  });

  test('samples by Euler along great circles, in shifted steps', () =>
    fixture.checkSamples({ steps: 5 }, { timeShift: 1.5, path: 'geodesic' }));

  test('the published layout is loaded strictly', () => {
    const { record } = loadDiffusionModel(fixture.file(), {
      path: 'geodesic',
      codec: { name: 'rae:dinov2reg-vit-b', scale: [1] },
    });
    assert.deepEqual([record.model.timeEmbedding, record.training.path], ['fourier', 'geodesic']);
    assert.equal(record.training.timeShift, Math.sqrt((12 * 4 * 4) / 4096));
  });

  test('data at the place of the noise, and times at both ends, give finite numbers', () => {
    const x = tf.tensor([3, 4, 0, 0, 0, 0], [2, 3, 1, 1]);
    for (const time of [0, 1]) {
      const { xT, velocity, weight } = interpolate('geodesic', x, tf.mul(x, 2), tf.fill([2], time));
      for (const values of [xT, velocity, weight!]) assert.ok(values.dataSync().every(Number.isFinite));
    }
  });
});

describe('layouts of published checkpoints', () => {
  const folder = temporaryFolder();

  /** Loads the file and compares what its network predicts. */
  function predicts(name: string, hints: ModelOptions): DiffusionModel {
    const tensors = fixtureTensors(`published/${name}`);
    const weights = [...tensors].flatMap(([key, value]) =>
      key.startsWith('weights.') ? [[key.slice(8), value] as const] : [],
    );
    const file = path.join(folder, `${name}.safetensors`);
    writeWeights(file, new Map(weights));
    const model = loadDiffusionModel(file, {
      model: 'SiT',
      heads: 2,
      codec: { name: 'sd-vae-ft-ema', scale: [1] },
      ...hints,
    });
    const [x, t, y] = ['x', 't', 'y'].map((each) => tensors.get(`inputs.${each}`)!);
    const given = {
      x: tf.tensor(Float32Array.from(x.data), [...x.shape] as [number]),
      t: tf.tensor1d([...t.data]),
      y: tf.tensor1d([...y.data], 'int32'),
    };
    const velocity = forward(model.parameters, model.record, given).output.dataSync();
    const wanted = tensors.get('outputs.velocity')!.data;
    assertClose(velocity, wanted, TOLERANCE * largestMagnitude(wanted), 'velocity');
    return model;
  }

  test('SPRINT: three lists of blocks, the halves of the fusion and the values of patches', () => {
    const { record } = predicts('sprint-layout', {});
    assert.deepEqual([record.model.depth, record.model.positions, record.model.qkNormKind], [5, 'none', 'rms']);
    assert.deepEqual(Object.keys(record.methods), ['sprint']);
  });

  test('RAEv2: maps apart, other names, and the early head', () => {
    const { record } = predicts('rae-2-layout', { codec: { name: 'rae:dinov3-vit-l', scale: [1] } });
    assert.deepEqual([record.model.depth, record.model.head], [2, { depth: 2, hiddenSize: 24, numHeads: 3 }]);
    assert.deepEqual(Object.keys(record.methods), ['internal-guidance']);
  });

  test('Self-Flow: patches by a linear map, and time the other way round', () => {
    const { record } = predicts('self-flow-layout', {});
    assert.deepEqual([record.model.reversedTime, record.model.numClasses], [true, 4]);
    assert.deepEqual(Object.keys(record.methods), ['self-flow']);
  });
});
