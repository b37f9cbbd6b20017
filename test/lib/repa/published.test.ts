/** Methods against the code that their authors published: fixtures/published/README.md tells what was run. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { capture, selectBackend, type TensorSpec, tf } from '../../../src/lib/engine/index.js';
import { toParameters, type Weights } from '../../../src/lib/models/parameters.js';
import { captureGradients, type ParameterStore } from '../../../src/lib/optim/index.js';
import { spatialNorm } from '../../../src/lib/repa/irepa.js';
import {
  forward,
  inferNetwork,
  type KnownNetwork,
  type Network,
  weakerPrediction,
} from '../../../src/lib/repa/network.js';
import { type LossInputs, trainingLoss } from '../../../src/lib/training/loss.js';
import { modelStore } from '../../../src/lib/training/store.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

/** Of the largest magnitude: f32 sums of a few hundred products in another order. */
const TOLERANCE = 2e-5;

/** Inputs that are indices. */
const INTEGERS = ['y', 'other', 'route'];

type Inputs = (tensors: Record<string, tf.Tensor>) => LossInputs;

class Fixture {
  readonly #tensors: Weights;
  readonly network: Network;

  constructor(name: string, known: KnownNetwork) {
    this.#tensors = fixtureTensors(`published/${name}`);
    this.network = inferNetwork('SiT', this.group('weights'), name, { numHeads: 2, alignDepth: 2, ...known });
  }

  group(prefix: string): Weights {
    const entries = [...this.#tensors].filter(([name]) => name.startsWith(`${prefix}.`));
    return new Map(entries.map(([name, tensor]) => [name.slice(prefix.length + 1), tensor]));
  }

  input(name: string): { spec: TensorSpec; data: Float32Array | Int32Array } {
    const { shape, data } = this.#tensors.get(`inputs.${name}`)!;
    if (INTEGERS.includes(name)) return { spec: { shape, dtype: 'int32' }, data: Int32Array.from(data) };
    return { spec: { shape, dtype: 'float32' }, data: Float32Array.from(data) };
  }

  expected = (name: string): Float32Array => Float32Array.from(this.#tensors.get(name)!.data);

  /** Compares losses by name, and the gradient of every parameter that has one. */
  checkLoss(
    names: readonly string[],
    inputsOf: Inputs,
    losses: Readonly<Record<string, string>>,
    average?: Weights,
    channels?: number,
  ): void {
    const store = this.checkLosses(names, inputsOf, losses, average, channels);
    const gradients = this.group('gradients');
    assert.ok(gradients.size > 20);
    for (const { name, gradient } of store.parameters) {
      const wanted = gradients.get(name)?.data;
      if (!wanted) continue;
      assertClose(gradient!, wanted, TOLERANCE * Math.max(1, largestMagnitude(wanted)), name);
    }
    store.dispose();
  }

  /** Compares losses by name; their gradients are then in the store. */
  checkLosses(
    names: readonly string[],
    inputsOf: Inputs,
    losses: Readonly<Record<string, string>>,
    average?: Weights,
    channels?: number,
  ): ParameterStore {
    const store = modelStore(this.network, { weights: this.group('weights') });
    const inputs = names.map((name) => this.input(name));
    const teacher = average && toParameters(average);
    let computed: string[] = [];
    const program = captureGradients(
      store,
      (...tensors) => {
        const named = Object.fromEntries(names.map((name, i) => [name, tensors[i]]));
        const all = trainingLoss(store.tensors, this.network, inputsOf(named), {
          path: 'linear',
          average: teacher,
          channels,
        });
        computed = Object.keys(all);
        return Object.values(all);
      },
      inputs.map(({ spec }) => spec),
    );
    const values = program.run(...inputs.map(({ data }) => data)).map(([value]) => Number(value));
    for (const [name, output] of Object.entries(losses)) {
      assertClose([values[computed.indexOf(name)]], this.expected(`outputs.${output}`), TOLERANCE * 10, name);
    }
    program.dispose();
    return store;
  }

  /** Runs a function of the weights on inputs. */
  outputs(
    names: readonly string[],
    compute: (parameters: ReturnType<typeof toParameters>, tensors: Record<string, tf.Tensor>) => tf.Tensor[],
  ): Float32Array[] {
    const parameters = toParameters(this.group('weights'));
    const inputs = names.map((name) => this.input(name));
    const program = capture(
      (...tensors) => compute(parameters, Object.fromEntries(names.map((name, i) => [name, tensors[i]]))),
      inputs.map(({ spec }) => spec),
    );
    const results = program.run(...inputs.map(({ data }) => data)) as Float32Array[];
    program.dispose();
    return results;
  }
}

/** (1 - t) clean + t noise; [B, ...] each, `t` [B]. */
function noisy(clean: tf.Tensor, noise: tf.Tensor, t: tf.Tensor): tf.Tensor {
  const time = tf.reshape(t, [-1, ...clean.shape.slice(1).map(() => 1)]); // [B, 1, ...]
  return tf.add(tf.mul(tf.sub(1, time), clean), tf.mul(time, noise));
}

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
