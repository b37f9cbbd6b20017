import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { matchWeights, toParameters, type Weights } from '../../../src/lib/models/parameters.js';
import { captureGradients } from '../../../src/lib/optim/index.js';
import { inferNetwork } from '../../../src/lib/repa/infer.js';
import { forward, networkParameters, startingNetwork } from '../../../src/lib/repa/network.js';
import { keptInMiddle } from '../../../src/lib/repa/sprint.js';
import {
  drawGroupedRoute,
  groupsOf,
  joinTokens,
  partTokens,
  type Route,
  routeOf,
} from '../../../src/lib/repa/token-route.js';
import { keptOnRoute } from '../../../src/lib/repa/tread.js';
import { modelStore } from '../../../src/lib/training/store.js';
import { networkOf, repaOf } from '../../networks.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const fixture = fixtureTensors('variants/variant');
const under = (prefix: string): Weights =>
  new Map(
    [...fixture].flatMap(([name, value]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [])),
  );
const weights = under('weights.');
/** Of 17 tokens 6 are kept. */
const KEPT = 6;
const network = inferNetwork('SiT', weights, 'variant', {
  numHeads: 2,
  alignDepth: 1,
  rotary: true,
  methods: { sprint: { share: 1 - KEPT / 17, from: 2, to: 3, pathDrop: 0.5 } },
});
const values = (name: string): Float32Array => fixture.get(name)!.data;
const tensor = (name: string, dtype: 'float32' | 'int32' = 'float32'): tf.Tensor => {
  const { shape, data } = fixture.get(name)!;
  return tf.tensor(dtype === 'int32' ? Int32Array.from(data) : data, [...shape], dtype);
};

/** The order of the fixture, and the place of each token in it, as they are drawn: [B, 2, T]. */
function drawn(order = tensor('order', 'int32')): tf.Tensor {
  const [batch, tokens] = order.shape;
  const chosen = order.dataSync();
  const places = new Int32Array(batch * tokens);
  chosen.forEach((token, i) => {
    places[Math.floor(i / tokens) * tokens + token] = i % tokens;
  });
  return tf.stack([order, tf.tensor(places, [batch, tokens], 'int32')], 1);
}

test('the shapes tell the variants of a network', () => {
  const { norm, feedForward, qkNorm, inputSize } = network.model;
  const { dim } = network.methods.reg as { dim: number };
  assert.deepEqual([norm, feedForward, qkNorm, dim, inputSize], ['rms', 'swiglu', true, 6, 8]);
  const parameters = networkParameters(network);
  assert.deepEqual(new Set(parameters.keys()), new Set(weights.keys()));
  assert.equal(parameters.get('blocks.0.mlp.w3.weight')!.shape[1], Math.trunc((2 / 3) * 4 * 16));
});

describe('against the formulas in double precision', () => {
  const p = () => toParameters(matchWeights(weights, networkParameters(network), 'variant'));

  test('all tokens see all blocks: velocity of latents and class token', () => {
    const inputs = { x: tensor('x'), t: tensor('t'), y: tensor('y', 'int32'), companion: tensor('token') };
    const { output, companion } = forward(p(), network, inputs);
    assertClose(output.dataSync(), values('whole'), 1e-5 * largestMagnitude(values('whole')), 'velocity');
    assertClose(companion!.dataSync(), values('whole_class'), 1e-5, 'class token');
  });

  test('some tokens skip the middle, one image all of it: outputs, hidden states and gradients', () => {
    const store = modelStore(network, { weights });
    const route = drawn();
    const program = captureGradients(
      store,
      (x, t, y, companion, route, pathKept) => {
        const draws = { sprint: { route, pathKept } };
        const pass = forward(store.tensors, network, { x, t, y, companion }, { draws });
        const outputs = [pass.output, pass.companion!, pass.hidden[1]];
        return [tf.addN(outputs.map((each) => tf.mean(tf.square(each)))), ...outputs];
      },
      [
        { shape: [3, 4, 8, 8], dtype: 'float32' },
        { shape: [3], dtype: 'float32' },
        { shape: [3], dtype: 'int32' },
        { shape: [3, 6], dtype: 'float32' },
        { shape: [3, 2, 17], dtype: 'int32' },
        { shape: [3], dtype: 'float32' },
      ],
    );
    const [loss, out, outClass, hidden] = program.run(
      values('x'),
      values('t'),
      Int32Array.from(values('y')),
      values('token'),
      route.dataSync() as Int32Array,
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
    const parted: Route = routeOf(drawn(order), 0, () => 5);
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
  assert.deepEqual([keptInMiddle(257, 0.75), keptInMiddle(256, 0.5), keptInMiddle(4, 0.99)], [64, 128, 1]);
  assert.deepEqual([keptOnRoute(257, 0.75), keptOnRoute(256, 0.5), keptOnRoute(4, 0.99)], [65, 128, 1]);
});

test('variants start from the same trunk, and new parts as published', () => {
  const repa = repaOf([6], 12);
  const plain = new Map(startingNetwork(networkOf('SiT-S/2', TINY, repa), 3));
  const methods = { ...repa, reg: { weight: 0.03, dim: 6 }, sprint: { share: 0, from: 2, to: 3, pathDrop: 0 } };
  const varied = new Map(startingNetwork(networkOf('SiT-S/2', { ...TINY, norm: 'rms' }, methods), 3));
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

const TINY = { inputSize: 8, depth: 4, hiddenSize: 32, numHeads: 2, numClasses: 3 };

test('of each square of tokens as many are kept, and every token of one as often', () => {
  assert.deepEqual(groupsOf(0.75), { side: 2, kept: 1 });
  assert.deepEqual(groupsOf(0.875), { side: 4, kept: 2 });
  assert.deepEqual([groupsOf(0), groupsOf(0.7), groupsOf(1)], [undefined, undefined, undefined]);
  const [columns, rows] = [4, 200];
  const { values } = drawGroupedRoute(columns, { side: 2, kept: 1 });
  const drawn = values({ rows, seed: 3, step: 5, position: 0 } as never);
  const counts = new Array(columns * columns).fill(0);
  for (let row = 0; row < rows; row++) {
    const order = Array.from(drawn.subarray(row * 32, row * 32 + 16), Number);
    const places = Array.from(drawn.subarray(row * 32 + 16, row * 32 + 32), Number);
    assert.deepEqual(
      [...order].sort((a, b) => a - b),
      Array.from({ length: 16 }, (_, i) => i),
    );
    assert.deepEqual(
      places.map((place) => order[place]),
      Array.from({ length: 16 }, (_, i) => i),
    );
    const squares = order.slice(0, 4).map((token) => 2 * Math.floor(token / 8) + Math.floor((token % 4) / 2));
    assert.deepEqual(squares, [0, 1, 2, 3]);
    for (const token of order.slice(0, 4)) counts[token]++;
  }
  assert.ok(
    counts.every((count) => Math.abs(count - 50) < 25),
    `${counts}`,
  );
  const later = values({ rows: 1, seed: 3, step: 5, position: 7 } as never);
  assert.deepEqual(later, drawn.slice(7 * 32, 8 * 32)); // whatever the batch
});
