/**
 * Whether TensorFlow has the kernels that repa runs on, told from the list of those that tfjs-node registers.
 *
 * What runs anywhere in repa runs on `onnx` too, whose kernels are few: TensorFlow has to have all of them. And every
 * network runs here on a stand-in for TensorFlow, which has the kernels of the list and no others: a call of another
 * one throws. Nothing is computed; shapes alone are followed.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { BACKEND_NAME, GraphBackend, graphBackend } from '../../../src/lib/engine/graph/backend.js';
import type { Target } from '../../../src/lib/engine/graph/target.js';
import { fill } from '../../../src/lib/engine/graph/value.js';
import { tf } from '../../../src/lib/engine/index.js';
import type { ParameterStore } from '../../../src/lib/optim/index.js';
import type { MethodSettings } from '../../../src/lib/repa/methods.js';
import type { Network } from '../../../src/lib/repa/network.js';
import { trainingLoss } from '../../../src/lib/training/loss.js';
import { modelStore } from '../../../src/lib/training/store.js';
import { networkOf, repaOf } from '../../networks.js';
import '../../../src/lib/engine/graph/kernels/index.js';
import { defineKernels } from '../../../src/lib/engine/tensorflow/kernels.js';
import { autoencoderKLShapes, decode, encode } from '../../../src/lib/models/autoencoder-kl.js';
import { convNext, convNextShapes } from '../../../src/lib/models/convnext.js';
import { foldBatchNorms, inception, inceptionShapes } from '../../../src/lib/models/inception.js';
import { type Shapes, toParameters, type Weights } from '../../../src/lib/models/parameters.js';
import { decodeTiny, encodeTiny, tinyAutoencoderShapes } from '../../../src/lib/models/tiny-autoencoder.js';
import { inferViTConfig, vit, vitShapes } from '../../../src/lib/models/vit.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { fixturePath } from '../../support.js';

const { kernels } = JSON.parse(readFileSync(fixturePath('tensorflow-kernels.json'), 'utf8')) as { kernels: string[] };

type Sizes = [number, number, number, number];
const shapeOf = (tensor: tf.TensorInfo) => tensor.shape as Sizes;
const window = ({ strides, pad }: tf.NamedAttrMap) => [strides as number, pad as 'valid'] as const;

/** The shapes that TensorFlow's own kernels give, those that have no counterpart on onnx. */
const shapes: Record<string, (inputs: tf.NamedTensorInfoMap, attributes: tf.NamedAttrMap) => number[]> = {
  Conv2D: ({ x, filter }, attributes) => {
    const [strides, pad] = window(attributes);
    return tf.backend_util.computeConv2DInfo(shapeOf(x!), shapeOf(filter!), strides, 1, pad).outShape;
  },
  DepthwiseConv2dNative: ({ x, filter }, attributes) => {
    const [strides, pad] = window(attributes);
    return tf.backend_util.computeConv2DInfo(shapeOf(x!), shapeOf(filter!), strides, 1, pad, undefined, true).outShape;
  },
  Conv2DBackpropInput: (_, { inputShape }) => inputShape as number[],
  Conv2DBackpropFilter: (_, { filterShape }) => filterShape as number[],
  ResizeNearestNeighbor: ({ images }, { size }) => images!.shape.toSpliced(1, 2, ...(size as number[])),
};
for (const name of ['MaxPool', 'AvgPool']) {
  shapes[name] = ({ x }, attributes) => {
    const [strides, pad] = window(attributes);
    const { filterSize } = attributes as { filterSize: number };
    return tf.backend_util.computePool2DInfo(shapeOf(x!), filterSize, strides, 1, pad).outShape;
  };
}

/** Kernels of our own that have run on the stand-in. */
const composed = new Set<string>();
let own: string[];

const kernelNames = (backend: string): string[] => tf.getKernelsForBackend(backend).map(({ kernelName }) => kernelName);

const computes = (): never => assert.fail('nothing is computed here');
const NOTHING: Target = { evaluate: computes, load: computes, fetch() {}, clear() {} };

function registerStandIn(): void {
  tf.registerBackend('tensorflow', () => new GraphBackend(NOTHING));
  defineKernels();
  own = kernelNames('tensorflow');
  for (const kernelName of own) watch(kernelName);
  for (const kernelName of kernels) {
    const known = tf.getKernel(kernelName, BACKEND_NAME)?.kernelFunc;
    const shape = shapes[kernelName];
    if (!known && !shape) continue;
    const kernelFunc: tf.KernelFunc = known ?? (({ inputs, attrs }) => zeros(shape(inputs, attrs!)));
    tf.registerKernel({ kernelName, backendName: 'tensorflow', kernelFunc });
  }
}

/** Notes each run of a kernel. */
function watch(kernelName: string): void {
  const { kernelFunc } = tf.getKernel(kernelName, 'tensorflow');
  tf.unregisterKernel(kernelName, 'tensorflow');
  tf.registerKernel({
    kernelName,
    backendName: 'tensorflow',
    kernelFunc(call) {
      composed.add(kernelName);
      return kernelFunc(call);
    },
  });
}

/** What runs on onnx, and would not on a TensorFlow of these kernels. */
const lacking = (listed: readonly string[]): string[] =>
  kernelNames(BACKEND_NAME).filter((name) => !listed.includes(name) && !own.includes(name));

const zeros = (shape: readonly number[]): tf.TensorInfo => graphBackend().tensorFor(fill(0, 'float32', shape));

const blank = (shapes: Shapes): Weights =>
  new Map([...shapes].map(([name, { shape }]) => [name, { shape, data: new Float32Array(sizeOf(shape)) }]));

const SMALL = { inputSize: 8, depth: 2, hiddenSize: 16, numHeads: 2, numClasses: 5, alignDepth: 1 };
const latents = [2, 4, 8, 8];

/** A loss, differentiated by all trainable parameters. */
function differentiate(network: Network, loss: (store: ParameterStore) => tf.Tensor): void {
  const store = modelStore(network);
  const trainable = store.parameters.filter(({ gradient }) => gradient).map(({ name }) => store.tensors[name]);
  const { grads } = tf.variableGrads(() => loss(store) as tf.Scalar, trainable);
  assert.equal(Object.keys(grads).length, trainable.length);
}

const batch = () => ({
  x: tf.zeros(latents),
  noise: tf.zeros(latents),
  t: tf.zeros([2]),
  y: tf.zeros([2], 'int32'),
  features: [tf.zeros([2, 16, 6])],
});

describe('kernels of TensorFlow', () => {
  before(async () => {
    registerStandIn();
    await tf.setBackend('tensorflow');
  });

  test('the stand-in refuses what tfjs-node does not register', () => {
    assert.ok(!kernels.includes('Erfc') && kernels.includes('Erf') && kernels.length > 100);
    assert.throws(() => tf.engine().runKernel('Erfc', { x: tf.zeros([2]) }), /not registered/);
  });

  test('are all that onnx has, so that nothing runs there alone', () => {
    assert.deepEqual(lacking(kernels), []);
    const fewer = kernels.filter((name) => name !== 'Erf' && name !== 'Cumsum');
    assert.deepEqual(lacking(fewer), ['Erf', 'Cumsum']);
    assert.ok(kernelNames(BACKEND_NAME).length > 80);
  });

  const repa = repaOf([6], 2048);
  const terms = {
    ...{ irepa: { projector: 'mlp', kernel: 3, spatialNorm: 0.6 }, 'u-repa': { weight: 1 } },
    ...{ direction: { weight: 1 }, 'delta-fm': { weight: 0.05 } },
    'layer-sync': { weight: 1, block: 1, teacher: 2 },
    dispersive: { weight: 1, block: 1 },
  };
  const objectives: [string, MethodSettings][] = [
    ['cosine', repa],
    ['nt-xent', repaOf([6], 2048, { projectionLoss: 'nt-xent' })],
    ['every other term', { ...repa, ...terms }],
  ];
  for (const [name, methods] of objectives) {
    test(`suffice to train SiT (${name}), with normalised queries and checkpointing`, () => {
      const network = networkOf('SiT-S/2', { ...SMALL, qkNorm: true }, methods);
      const options = { path: 'cosine', checkpointBlocks: 1 } as const;
      differentiate(network, (store) => trainingLoss(store.tensors, network, batch(), options).total);
    });
  }

  test('suffice to train DiT, projected by a convolution', () => {
    const network = networkOf('DiT-S/2', SMALL, {
      ...repa,
      irepa: { projector: 'conv', kernel: 3, spatialNorm: null },
    });
    const inputs = { ...batch(), t: tf.zeros([2], 'int32') };
    differentiate(network, (store) => trainingLoss(store.tensors, network, inputs, { path: 'linear' }).total);
  });

  test('suffice for vision transformers', () => {
    const base = { width: 64, depth: 1, heads: 1, patchSize: 4, grid: { height: 2, width: 2 }, inner: 32 };
    const tokens = { classToken: true, classPosition: true, registers: 2, qkvBias: true, layerScale: true };
    const norms = { preNorm: true, finalNorm: true, patchBias: true, epsilon: 1e-6 };
    for (const feedForward of ['mlp', 'swiglu'] as const) {
      for (const activation of ['erf', 'tanh', 'quick'] as const) {
        const weights = blank(vitShapes({ ...base, ...tokens, ...norms, feedForward, activation }));
        const config = inferViTConfig(weights, 'test', { activation });
        const { patchTokens } = vit(toParameters(weights), config, tf.zeros([1, 3, 8, 8]));
        assert.deepEqual(patchTokens.shape, [1, 4, 64]);
      }
    }
  });

  test('suffice for the autoencoders', () => {
    const sizes = { blockOutChannels: [32, 64], layersPerBlock: 1, latentChannels: 4, groups: 32 };
    const config = { ...sizes, quantConv: true, postQuantConv: true };
    const p = toParameters(blank(autoencoderKLShapes(config)));
    assert.deepEqual(encode(p, config, tf.zeros([1, 3, 16, 16])).mean.shape, [1, 4, 8, 8]);
    assert.deepEqual(decode(p, config, tf.zeros([1, 4, 8, 8])).shape, [1, 3, 16, 16]);
  });

  test('suffice for the tiny autoencoders', () => {
    const config = { latentChannels: 4, encoder: true, decoder: true, pooled: true };
    const p = toParameters(blank(tinyAutoencoderShapes(config)));
    assert.deepEqual(encodeTiny(p, config, tf.zeros([1, 3, 16, 16])).shape, [1, 4, 2, 2]);
    assert.deepEqual(decodeTiny(p, config, tf.zeros([1, 4, 2, 2])).shape, [1, 3, 16, 16]);
  });

  test('suffice for Inception', () => {
    const p = toParameters(foldBatchNorms(blank(inceptionShapes())));
    const { pool, spatial, logits } = inception(p, tf.zeros([1, 3, 299, 299]));
    assert.deepEqual(
      [pool.shape, spatial.shape, logits.shape],
      [
        [1, 2048],
        [1, 2023],
        [1, 1008],
      ],
    );
  });

  test('suffice for ConvNeXt', () => {
    const config = { depths: [1, 1], widths: [8, 16], patchSize: 4, kernel: 7 };
    const p = toParameters(blank(convNextShapes(config)));
    assert.deepEqual(convNext(p, config, tf.zeros([1, 3, 32, 32])).shape, [1, 16]);
  });

  test('of our own have all run', () => assert.deepEqual([...composed].sort(), own.toSorted()));
});
