/**
 * One call of a network with random weights: a sampling step with classifier-free guidance, an encoder, an autoencoder.
 * A contestant of bench/contest.ts.
 *
 *     echo step | node dist/bench/network.js --network vit --model B --batch 8
 */
import { parseArgs } from 'node:util';
import { type Captured, capture, selectBackend, type TensorSpec, type tf } from '../src/lib/engine/index.js';
import {
  type AutoencoderKLConfig,
  autoencoderKLShapes,
  decode,
  encode,
  halfOf,
} from '../src/lib/models/autoencoder-kl.js';
import { sit, transformerParameters } from '../src/lib/models/dit.js';
import { sitConfig } from '../src/lib/models/dit-sizes.js';
import { foldBatchNorms, inception, inceptionShapes } from '../src/lib/models/inception.js';
import { type Parameters, type Shapes, toParameters, type Weights } from '../src/lib/models/parameters.js';
import { type ViTConfig, vit, vitShapes } from '../src/lib/models/vit.js';
import { sizeOf } from '../src/lib/numbers/typed-array.js';
import { answer, normals } from './contestant.js';

const { values: flags } = parseArgs({
  options: {
    network: { type: 'string', default: 'sample' },
    model: { type: 'string', default: 'S' },
    batch: { type: 'string', default: '4' },
    backend: { type: 'string', default: 'onnx' },
    precision: { type: 'string' },
  },
});
const batch = Number(flags.batch);

const precision = flags.precision as 'f32' | 'f32x2' | 'bf16' | undefined;
await selectBackend({ backend: flags.backend as 'onnx', precision });

const WIDTHS: Readonly<Record<string, number>> = { S: 384, B: 768, L: 1024 };

/** Random weights, made when they are asked for, as those of a file are read; norms keep the size of activations. */
function randomWeights(shapes: Shapes): Weights {
  return new Map(
    [...shapes].map(([name, { shape }]) => {
      const scale = shape.length === 1 ? 0.1 : sizeOf(shape.slice(1)) ** -0.5;
      const isScale = shape.length === 1 && !name.endsWith('.bias');
      return [
        name,
        {
          shape,
          get data() {
            const values = normals(shape, scale);
            return isScale ? values.map((value) => 1 + Math.abs(value)) : values;
          },
        },
      ];
    }),
  );
}

/** `weights` are asked for once, and kept by nobody but the program. */
function compile(
  weights: () => Weights,
  fn: (p: Parameters, x: tf.Tensor) => tf.Tensor[],
  shape: readonly number[],
): () => unknown {
  const x = normals(shape);
  const program = frozen(toParameters(weights()), fn, shape);
  return () => program.run(x);
}

const frozen = (p: Parameters, fn: (p: Parameters, x: tf.Tensor) => tf.Tensor[], shape: readonly number[]): Captured =>
  capture((input) => fn(p, input), [{ shape, dtype: 'float32' }], { constants: 'bake' });

/** The conditional and the unconditional velocity of a batch, in one call. */
function samplingStep(): () => unknown {
  const config = sitConfig(`SiT-${flags.model}/2`);
  const p = toParameters(randomWeights(transformerParameters(config)));
  const rows = 2 * batch;
  const specs: TensorSpec[] = [
    { shape: [rows, 4, 32, 32], dtype: 'float32' },
    { shape: [rows], dtype: 'float32' },
    { shape: [rows], dtype: 'int32' },
  ];
  const program: Captured = capture((x, t, y) => [sit(p, config, x, t, y).output], specs, {
    constants: 'bake',
  });
  const x = normals(specs[0].shape);
  const labels = Int32Array.from({ length: rows }, (_, index) => (index < batch ? index : config.numClasses));
  return () => program.run(x, new Float32Array(rows).fill(0.5), labels);
}

/** DINOv2 at 224 pixels. */
function encoder(): () => unknown {
  const width = WIDTHS[flags.model];
  const config: ViTConfig = {
    width,
    depth: 12,
    heads: width / 64,
    patchSize: 14,
    grid: { height: 16, width: 16 },
    classToken: true,
    classPosition: true,
    registers: 0,
    feedForward: 'mlp',
    inner: 4 * width,
    qkvBias: true,
    layerScale: true,
    finalNorm: true,
    patchBias: true,
    preNorm: false,
    activation: 'erf',
    epsilon: 1e-6,
  };
  const weights = () => randomWeights(vitShapes(config));
  return compile(weights, (p, images) => [vit(p, config, images).patchTokens], [batch, 3, 224, 224]);
}

/** One half of the autoencoder of Stable Diffusion, at 256 pixels. */
function autoencoder(
  half: 'encoder' | 'decoder',
  run: (p: Parameters, x: tf.Tensor) => tf.Tensor[],
  shape: readonly number[],
): () => unknown {
  const shapes = new Map([...autoencoderKLShapes(SD_VAE)].filter(([name]) => halfOf(name) === half));
  return compile(() => randomWeights(shapes), run, shape);
}

const SD_VAE: AutoencoderKLConfig = {
  blockOutChannels: [128, 256, 512, 512],
  groups: 32,
  layersPerBlock: 2,
  latentChannels: 4,
  quantConv: true,
  postQuantConv: true,
};

function inceptionNetwork(): () => unknown {
  const weights = () => foldBatchNorms(randomWeights(inceptionShapes()));
  return compile(weights, (p, images) => Object.values(inception(p, images)), [batch, 3, 299, 299]);
}

const networks: Readonly<Record<string, () => () => unknown>> = {
  sample: samplingStep,
  vit: encoder,
  'vae-encode': () => autoencoder('encoder', (p, x) => [encode(p, SD_VAE, x).mean], [batch, 3, 256, 256]),
  'vae-decode': () => autoencoder('decoder', (p, z) => [decode(p, SD_VAE, z)], [batch, 4, 32, 32]),
  inception: inceptionNetwork,
};

await answer(networks[flags.network]());
