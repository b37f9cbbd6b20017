/**
 * What the code that authors published computed with tiny networks, and comparisons with it:
 * fixtures/published/README.md.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { classifierFreeGuidance, type Times, timesOfRows } from '../../../src/lib/diffusion/guidance.js';
import type { TrainingPath } from '../../../src/lib/diffusion/interpolant.js';
import { type SamplerOptions, settle } from '../../../src/lib/diffusion/samplers/index.js';
import { capture, type TensorSpec, tf } from '../../../src/lib/engine/index.js';
import { toOfficialNames } from '../../../src/lib/models/dit-weights.js';
import { toParameters, type Weights } from '../../../src/lib/models/parameters.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { captureGradients, type ParameterStore } from '../../../src/lib/optim/index.js';
import { inferNetwork, type KnownNetwork } from '../../../src/lib/repa/infer.js';
import { forward, type Network } from '../../../src/lib/repa/network.js';
import type { LossInputs } from '../../../src/lib/repa/pass.js';
import { weakerPrediction } from '../../../src/lib/repa/weaker.js';
import { guidedInside, type InternalGuidance } from '../../../src/lib/sampling/internal-guidance.js';
import { trainingLoss } from '../../../src/lib/training/loss.js';
import { modelStore } from '../../../src/lib/training/store.js';
import { writeWeights } from '../../fixture-weights.js';
import { temporaryFolder } from '../../support.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

/** Of the largest magnitude: f32 sums of a few hundred products in another order. */
export const TOLERANCE = 2e-5;

/** Inputs that are indices. */
const INTEGERS = ['y', 'other', 'route', 'nulls'];

export type Inputs = (tensors: Record<string, tf.Tensor>) => LossInputs;

export class Fixture {
  readonly #tensors: Weights;
  readonly network: Network;

  constructor(name: string, known: KnownNetwork) {
    this.#tensors = fixtureTensors(`published/${name}`);
    this.network = inferNetwork('SiT', this.group('weights'), name, { numHeads: 2, alignDepth: 2, ...known });
  }

  group(prefix: string): Weights {
    const entries = [...this.#tensors].filter(([name]) => name.startsWith(`${prefix}.`));
    return toOfficialNames(new Map(entries.map(([name, tensor]) => [name.slice(prefix.length + 1), tensor])));
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
    path: TrainingPath = 'linear',
  ): void {
    const store = this.checkLosses(names, inputsOf, losses, average, channels, path);
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
    path: TrainingPath = 'linear',
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
          path,
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

  /** The weights in a file, as they are published, below a prefix. */
  file(prefix = ''): string {
    const file = path.join(temporaryFolder(), 'published.safetensors');
    const own = [...this.#tensors].flatMap(([name, tensor]) => {
      const [, published] = /^weights\.(.*)/.exec(name) ?? [];
      // PixelREPA's adapter lies beside the module.
      const place = published?.startsWith('masked_') ? '' : prefix;
      return published === undefined ? [] : [[place + published, tensor] as const];
    });
    writeWeights(file, new Map(own));
    return file;
  }

  /** Compares samples, from the noise and the labels of the fixture on. */
  async checkSamples(
    options: SamplerOptions,
    {
      cfg = 1,
      timeShift = 1,
      path = 'linear' as TrainingPath,
      internal = undefined as InternalGuidance | undefined,
      wanted: output = 'samples',
    } = {},
  ): Promise<void> {
    const { shape, data } = this.#tensors.get('inputs.sample_noise')!;
    const labels = Int32Array.from(this.expected('inputs.labels'));
    const parameters = toParameters(this.group('weights'));
    const network = async (x: Float32Array, t: Times, y: Int32Array): Promise<Float32Array> => {
      const rows = y.length;
      const specs = [
        { shape: [rows, ...shape.slice(1)], dtype: 'float32' },
        { shape: [rows], dtype: 'float32' },
        { shape: [rows], dtype: 'int32' },
      ] as const;
      const predicted = (x: tf.Tensor, t: tf.Tensor, y: tf.Tensor): tf.Tensor => {
        const pass = forward(parameters, this.network, { x, t, y });
        return internal
          ? guidedInside(pass.output, weakerPrediction(parameters, this.network, pass), t, internal)
          : pass.output;
      };
      const program = capture((x, t, y) => [predicted(x, t, y)], specs);
      const [velocity] = program.run(x, timesOfRows(t, rows), y) as Float32Array[];
      program.dispose();
      return velocity;
    };
    const batch = { labels, channelSize: sizeOf(shape.slice(2)) };
    const predictor = classifierFreeGuidance(network, batch, this.network.model.numClasses, { scale: cfg });
    const sampler = settle('SiT', { path, timeShift }, options);
    const { channelSize } = batch;
    const start = { states: Float32Array.from(data), rows: labels.length, channelSize, noise: () => {} };
    const samples = await sampler.sample(predictor, start);
    const wanted = this.expected(`outputs.${output}`);
    assertClose(samples, wanted, TOLERANCE * largestMagnitude(wanted), 'samples');
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
export function noisy(clean: tf.Tensor, noise: tf.Tensor, t: tf.Tensor): tf.Tensor {
  const time = tf.reshape(t, [-1, ...clean.shape.slice(1).map(() => 1)]); // [B, 1, ...]
  return tf.add(tf.mul(tf.sub(1, time), clean), tf.mul(time, noise));
}
