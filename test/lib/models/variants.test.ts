import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { matchWeights, toParameters, type Weights } from '../../../src/lib/models/parameters.js';
import { inferSiTConfig, sit, sitConfig } from '../../../src/lib/models/sit.js';
import { FROZEN, initSiT, sitParameters } from '../../../src/lib/models/sit-parameters.js';
import { joinTokens, keptTokens, partTokens, type TokenRoute } from '../../../src/lib/models/token-route.js';
import { captureGradients, type ParameterSpec, ParameterStore } from '../../../src/lib/optim/index.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const fixture = fixtureTensors('variants/variant');
const under = (prefix: string): Weights =>
  new Map(
    [...fixture].flatMap(([name, value]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [])),
  );
const weights = under('weights.');
const config = inferSiTConfig(weights, 'variant', {
  numHeads: 2,
  alignDepth: 1,
  rotary: true,
  fusion: { from: 2, to: 3 },
  zDims: [],
});
const values = (name: string): Float32Array => fixture.get(name)!.data;
const tensor = (name: string, dtype: 'float32' | 'int32' = 'float32'): tf.Tensor => {
  const { shape, data } = fixture.get(name)!;
  return tf.tensor(dtype === 'int32' ? Int32Array.from(data) : data, [...shape], dtype);
};
const KEPT = 6;

/** The order of the fixture, and the place of each token in it. */
function route(order = tensor('order', 'int32')): TokenRoute {
  const [batch, tokens] = order.shape;
  const chosen = order.dataSync();
  const places = new Int32Array(batch * tokens);
  chosen.forEach((token, i) => {
    places[Math.floor(i / tokens) * tokens + token] = i % tokens;
  });
  return { blocks: { from: 2, to: 3 }, order, places: tf.tensor(places, [batch, tokens], 'int32'), kept: KEPT };
}

test('the shapes tell the variants of a network', () => {
  const { norm, feedForward, qkNorm, classTokenDim, inputSize } = config;
  assert.deepEqual([norm, feedForward, qkNorm, classTokenDim, inputSize], ['rms', 'swiglu', true, 6, 8]);
  assert.deepEqual(new Set(sitParameters(config).keys()), new Set(weights.keys()));
  assert.equal(sitParameters(config).get('blocks.0.mlp.w3.weight')!.shape[1], Math.trunc((2 / 3) * 4 * 16));
});

describe('against the formulas in double precision', () => {
  const p = () => toParameters(matchWeights(weights, sitParameters(config), 'variant'));

  test('all tokens see all blocks: velocity of latents and class token', () => {
    const options = { classToken: tensor('token') };
    const { velocity, classVelocity } = sit(p(), config, tensor('x'), tensor('t'), tensor('y', 'int32'), options);
    assertClose(velocity.dataSync(), values('whole'), 1e-5 * largestMagnitude(values('whole')), 'velocity');
    assertClose(classVelocity!.dataSync(), values('whole_class'), 1e-5, 'class token');
  });

  test('some tokens skip the middle, one image all of it: outputs, hidden states and gradients', () => {
    const store = new ParameterStore(
      [...weights].map(([name, { shape, data }]): ParameterSpec => {
        return { name, shape, data, learning: FROZEN.has(name) ? 'frozen' : 'adamw' };
      }),
    );
    const { order, places } = route();
    const program = captureGradients(
      store,
      (x, t, y, classToken, order, places, pathKept) => {
        const options = { classToken, route: { ...route(), order, places }, pathKept };
        const output = sit(store.tensors, config, x, t, y, options);
        const squares = [output.velocity, output.classVelocity!, output.hidden[1]].map((each) =>
          tf.mean(tf.square(each)),
        );
        return [tf.addN(squares), output.velocity, output.classVelocity!, output.hidden[1]];
      },
      [
        { shape: [3, 4, 8, 8], dtype: 'float32' },
        { shape: [3], dtype: 'float32' },
        { shape: [3], dtype: 'int32' },
        { shape: [3, 6], dtype: 'float32' },
        { shape: [3, 17], dtype: 'int32' },
        { shape: [3, 17], dtype: 'int32' },
        { shape: [3], dtype: 'float32' },
      ],
    );
    const [loss, out, outClass, hidden] = program.run(
      values('x'),
      values('t'),
      Int32Array.from(values('y')),
      values('token'),
      order.dataSync() as Int32Array,
      places.dataSync() as Int32Array,
      values('path_kept'),
    );
    assertClose([Number(loss[0])], values('loss'), 1e-5 * values('loss')[0], 'loss');
    assertClose(out as Float32Array, values('out'), 1e-5 * largestMagnitude(values('out')), 'velocity');
    assertClose(outClass as Float32Array, values('out_class'), 1e-5, 'class token');
    assertClose(hidden as Float32Array, values('hidden'), 1e-5 * largestMagnitude(values('hidden')), 'kept tokens');
    const gradients = under('gradients.');
    for (const { name, learning, gradient } of store.parameters) {
      if (learning === 'frozen') continue;
      const expected = gradients.get(name)!.data;
      assertClose(gradient!, expected, 2e-5 * largestMagnitude(expected) + 1e-8, `gradient of ${name}`);
    }
  });
});

test('tokens that are parted and joined again are where they were, and so are gradients', () => {
  const [x, weights] = [0, 1].map(() => tf.reshape(tensor('x'), [3, 16, 16]));
  const order = tf.tensor(
    Array.from({ length: 3 }, (_, row) => Array.from({ length: 16 }, (_, i) => (i * 7 + row) % 16)),
    [3, 16],
    'int32',
  );
  const doubled = (x: tf.Tensor): tf.Tensor => {
    const parted = { ...route(order), kept: 5 };
    const [kept, skipping] = partTokens(x, parted);
    assert.deepEqual(
      [kept.shape, skipping.shape],
      [
        [3, 5, 16],
        [3, 11, 16],
      ],
    );
    return joinTokens(kept, tf.mul(skipping, 2), parted);
  };
  const joined = doubled(x).dataSync();
  const gradient = tf
    .grad((moving) => tf.sum(tf.mul(doubled(moving), weights)))(x)
    .dataSync();
  const chosen = order.dataSync();
  for (let i = 0; i < joined.length; i++) {
    const [row, token] = [Math.floor(i / 256), Math.floor(i / 16) % 16];
    const place = chosen.subarray(row * 16, (row + 1) * 16).indexOf(token);
    const factor = place < 5 ? 1 : 2;
    assert.equal(joined[i], factor * values('x')[i]);
    assert.equal(gradient[i], factor * values('x')[i]);
  }
});

test('how many tokens are kept is what the published codes keep, and at least one', () => {
  assert.deepEqual([keptTokens(257, 0.75), keptTokens(256, 0.5), keptTokens(4, 0.99)], [64, 128, 1]);
});

test('variants start from the same trunk, and new parts as published', () => {
  const plain = new Map(initSiT(sitConfig('SiT-S/2', { ...TINY }), 3));
  const varied = new Map(
    initSiT(sitConfig('SiT-S/2', { ...TINY, norm: 'rms', classTokenDim: 6, fusion: { from: 2, to: 3 } }), 3),
  );
  for (const name of ['x_embedder.proj.weight', 'blocks.3.attn.qkv.weight', 'blocks.3.mlp.fc2.weight']) {
    assert.deepEqual(varied.get(name)!.data, plain.get(name)!.data, name);
  }
  for (const name of ['mask_token', 'final_layer.linear_cls.weight']) {
    assert.ok(
      varied.get(name)!.data.every((value) => value === 0),
      name,
    );
  }
  assert.ok(varied.get('blocks.1.norm1.weight')!.data.every((value) => value === 1));
  const [plainPositions, positions] = [plain.get('pos_embed')!.data, varied.get('pos_embed')!.data];
  assert.ok(positions.subarray(0, 32).every((value) => value === 0));
  assert.deepEqual(positions.subarray(32), plainPositions);
});

const TINY = { inputSize: 8, depth: 4, hiddenSize: 32, numHeads: 2, numClasses: 3, zDims: [6], projectorDim: 12 };
