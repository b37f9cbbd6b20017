/** Backends against ONNX Runtime on the processor, in one process: the same numbers to the rounding of f32. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { SamplerOptions } from '../../src/lib/diffusion/samplers/index.js';
import { type BackendName, capture, selectBackend, type TensorSpec, tf } from '../../src/lib/engine/index.js';
import { decode, encode, inferAutoencoderKLConfig } from '../../src/lib/models/autoencoder-kl.js';
import { foldBatchNorms, inception } from '../../src/lib/models/inception.js';
import { type Parameters, toParameters, type Weights } from '../../src/lib/models/parameters.js';
import { decodeTiny, encodeTiny, tinyAutoencoderShapes } from '../../src/lib/models/tiny-autoencoder.js';
import { inferViTConfig, vit } from '../../src/lib/models/vit.js';
import type { ParameterStore } from '../../src/lib/optim/index.js';
import { fixtureWeights } from '../fixture-weights.js';
import { formulaWeights } from '../inception-weights.js';
import { assertClose, largestMagnitude } from '../tensors.js';
import { assertAlmostAllClose } from '../trained.js';
import { normals, randomWeights } from './random-weights.js';
import { guidedSamples } from './sampling-work.js';
import { OBJECTIVES, type Objective, trainer } from './training-work.js';

/** The outcome of the same work on both backends, ONNX Runtime's on the processor first. */
type OnBoth = <T>(work: () => T | Promise<T>) => Promise<[onnx: T, other: T]>;

const onBoth =
  (other: BackendName): OnBoth =>
  async <T>(work: () => T | Promise<T>) => {
    const outcomes: T[] = [];
    for (const backend of ['onnx', other] as const) {
      assert.equal(await selectBackend({ backend }), backend);
      outcomes.push(await work());
    }
    return outcomes as [T, T];
  };

/** Tests of training, sampling and the frozen networks on another backend. */
export function testAgreement(backend: BackendName): void {
  const both = onBoth(backend);
  testTraining(both);
  testSampling(both);
  testNetworks(both);
}

function assertAgree(actual: ArrayLike<number>, expected: ArrayLike<number>, relative: number, what: string): void {
  const size = largestMagnitude(expected);
  assert.ok(size > 0, `${what} is not all zeros`);
  assertClose(actual, expected, relative * size, what);
}

function testTraining(onBoth: OnBoth): void {
  describe('five training steps', () => {
    const STEPS = 5;

    type Arrays = [name: string, values: Float32Array][];

    const gradientsOf = ({ parameters }: ParameterStore): Arrays =>
      parameters.flatMap(({ name, gradient }) => (gradient ? [[name, gradient.slice()]] : []));

    function train(objective: Objective) {
      const { store, differentiate, follow, dispose } = trainer(objective);
      const losses: number[][] = [];
      let gradients: Arrays = [];
      for (let step = 0; step < STEPS; step++) {
        const values = differentiate(step);
        if (step === 0) gradients = gradientsOf(store);
        losses.push([...values, follow(step)]);
      }
      const parameters: Arrays = store.parameters.map(({ name, value }) => [name, value.slice()]);
      const averages: Arrays = store.parameters.map(({ name, averages }) => [name, averages[0].slice()]);
      dispose();
      return { losses, gradients, trained: { parameters, averages } };
    }

    for (const [name, objective] of Object.entries(OBJECTIVES)) {
      test(name, async () => {
        const [onnx, other] = await onBoth(() => train(objective));
        const scale = Math.max(...onnx.gradients.map(([, gradient]) => largestMagnitude(gradient)));
        onnx.gradients.forEach(([name, gradient], i) => {
          assertClose(other.gradients[i][1], gradient, 2e-6 * scale, `gradient of ${name}`);
        });
        onnx.losses.forEach((losses, step) => {
          const tolerance = step === 0 ? 1e-6 : 2e-5;
          losses.forEach((loss, i) => {
            // Means of cosines are near zero, and rounded as what they are the mean of.
            const size = Math.max(1, Math.abs(loss));
            assertClose([other.losses[step][i]], [loss], tolerance * size, `step ${step}: loss or norm ${i}`);
          });
        });
        for (const what of ['parameters', 'averages'] as const) {
          onnx.trained[what].forEach(([name, values], i) => {
            assertAlmostAllClose(other.trained[what][i][1], values, name, what);
          });
        }
      });
    }
  });
}

function testSampling(onBoth: OnBoth): void {
  describe('samples, guided', () => {
    // dopri5 takes steps of the length that its estimate of the error allows: it agrees to the error that it allows
    // itself.
    const cases: [string, SamplerOptions, tolerance: number][] = [
      ['ode by heun', { mode: 'ode', solver: 'heun', steps: 10 }, 1e-5],
      ['ode by dopri5', { mode: 'ode', solver: 'dopri5' }, 1e-3],
      ['sde', { mode: 'sde', diffusion: 'sigma', steps: 10 }, 1e-5],
    ];
    for (const [name, options, tolerance] of cases) {
      test(name, async () => {
        const guidance = options.solver === 'dopri5' ? { guidanceHigh: 1 } : {};
        const [onnx, other] = await onBoth(() => guidedSamples(options, guidance));
        assertAgree(other, onnx, tolerance, 'samples');
      });
    }
  });
}

function testNetworks(onBoth: OnBoth): void {
  describe('frozen networks', () => {
    const images = (side: number) => ({ shape: [2, 3, side, side], dtype: 'float32' }) as const;

    function forward(weights: Weights, network: (p: Parameters, x: tf.Tensor) => tf.Tensor[], input: TensorSpec) {
      const p = toParameters(weights);
      const program = capture((x) => network(p, x), [input], { constants: 'bake' });
      const results = program.run(normals(input.shape, 0)) as Float32Array[];
      program.dispose();
      tf.dispose(Object.values(p));
      return results;
    }

    const dinov2 = fixtureWeights('dinov2');
    const swiglu = fixtureWeights('dinov2_swiglu');
    const vae = fixtureWeights('vae');
    const tiny = { latentChannels: 4, encoder: true, decoder: true, pooled: true };
    const networks: Record<string, () => Float32Array[]> = {
      DINOv2: () => forward(dinov2, features(dinov2), images(37 * 14)),
      'DINOv2 with SwiGLU': () => forward(swiglu, features(swiglu), images(16 * 14)),
      'SD-VAE': () => {
        const config = inferAutoencoderKLConfig(vae, 'vae');
        const ends = (p: Parameters, x: tf.Tensor) => {
          const { mean, std } = encode(p, config, x);
          return [mean, std, decode(p, config, mean)];
        };
        return forward(vae, ends, images(64));
      },
      'tiny autoencoder': () => {
        const ends = (p: Parameters, x: tf.Tensor) => {
          const latent = encodeTiny(p, tiny, x);
          return [latent, decodeTiny(p, tiny, latent)];
        };
        return forward(randomWeights(tinyAutoencoderShapes(tiny)), ends, images(64));
      },
      Inception: () => forward(foldBatchNorms(formulaWeights()), (p, x) => Object.values(inception(p, x)), images(299)),
    };
    const features = (weights: Weights) => (p: Parameters, x: tf.Tensor) => {
      const { patchTokens, cls } = vit(p, inferViTConfig(weights, 'fixture'), x);
      return [patchTokens, cls!];
    };

    for (const [name, run] of Object.entries(networks)) {
      test(name, async () => {
        const [onnx, other] = await onBoth(run);
        onnx.forEach((expected, i) => {
          assertAgree(other[i], expected, 1e-5, `output ${i}`);
        });
      });
    }
  });
}
