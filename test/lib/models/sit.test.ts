import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { DataError, UsageError } from '../../../src/lib/errors.js';
import { sit } from '../../../src/lib/models/dit.js';
import { sitConfig, type TransformerConfig } from '../../../src/lib/models/dit-sizes.js';
import { toOfficialNames } from '../../../src/lib/models/dit-weights.js';
import { matchWeights, toParameters, type Weights } from '../../../src/lib/models/parameters.js';
import { isFrozen } from '../../../src/lib/models/start.js';
import { sinCosPositions, timestepEmbedding } from '../../../src/lib/nn/embeddings.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { inferNetwork } from '../../../src/lib/repa/infer.js';
import { networkParameters, startingNetwork } from '../../../src/lib/repa/network.js';
import { perceptron } from '../../../src/lib/repa/repa.js';
import { fixtureWeights } from '../../fixture-weights.js';
import { networkOf, repaOf } from '../../networks.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const TINY: Partial<TransformerConfig> = { inputSize: 8, hiddenSize: 48, numHeads: 3, depth: 3, numClasses: 10 };
const REPA = repaOf([16], 24);

/** Inputs of a fixture as tensors. */
function inputs(io: Weights): [tf.Tensor, tf.Tensor, tf.Tensor] {
  const x = io.get('x')!;
  return [
    tf.tensor(x.data, [...x.shape]),
    tf.tensor(io.get('t')!.data),
    tf.tensor(Int32Array.from(io.get('y')!.data), undefined, 'int32'),
  ];
}

for (const { name, alignDepth, tolerance } of [
  { name: 'sit', alignDepth: 2, tolerance: 7.821232456899533e-5 },
  { name: 'sit_qknorm', alignDepth: 1, tolerance: 7.763104159275724e-5 },
]) {
  test(`${name}: velocity, projection and hidden states are those of the official code`, () => {
    const weights = fixtureWeights(name);
    const io = fixtureTensors(`${name}/io`);
    const network = inferNetwork('SiT', weights, name, { numHeads: 3, alignDepth });
    assert.equal(network.model.qkNorm, name === 'sit_qknorm');
    const p = toParameters(matchWeights(weights, networkParameters(network), name));
    const { output, hidden } = sit(p, network.model, ...inputs(io));
    assert.deepEqual(output.shape, io.get('out')!.shape);
    assertClose(output.dataSync(), io.get('out')!.data, tolerance, `${name} velocity`);
    const projected = perceptron(24).project(p, 'projectors.0', hidden[alignDepth - 1]);
    assertClose(projected.dataSync(), io.get('zs.0')!.data, tolerance, `${name} projection`);
    for (const block of [0, 3]) {
      const expected = io.get(`dbg.block${block}`);
      if (expected) assertClose(hidden[block].dataSync(), expected.data, tolerance, `${name} block ${block}`);
    }
  });
}

test('the original SiT: half of the channels dropped, time and velocity turned round', () => {
  const weights = fixtureWeights('sit_transport');
  const io = fixtureTensors('sit_transport/io');
  const network = inferNetwork('SiT', weights, 'sit_transport', { numHeads: 3 });
  assert.equal(network.model.reversedTime, true);
  const p = toParameters(matchWeights(weights, networkParameters(network), 'sit_transport'));
  const [x, t, y] = inputs(io);
  const { output } = sit(p, network.model, x, tf.sub(1, t), y);
  const { data } = io.get('forward')!;
  assert.deepEqual(network.methods, {});
  assertClose(
    output.dataSync(),
    data.map((v) => -v),
    1e-4 * largestMagnitude(data),
    'original SiT',
  );
});

test('positions and time embedding', () => {
  const positions = fixtureTensors('sit/posembed');
  assertClose(sinCosPositions(8, 96), positions.get('pos_embed_96_8x8')!.data, 1e-7, 'positions of width 96');
  const rows = positions.get('pos_embed_384_16x16_first2rows')!.data;
  assertClose(sinCosPositions(16, 384).subarray(0, rows.length), rows, 1e-7, 'positions of width 384');
  const times = fixtureTensors('sit/timestep_embedding');
  const t = tf.tensor(times.get('t')!.data);
  // Single precision holds the angle of t = 999 to 3e-5.
  assertClose(timestepEmbedding(t, 256).dataSync(), times.get('emb256')!.data, 3e-5, 'time embedding');
});

describe('initial weights', () => {
  const network = networkOf('SiT-S/2', { ...TINY, hiddenSize: 96, numHeads: 3 }, REPA);
  const weights = new Map(startingNetwork(network, 7));
  const moments = (name: string) => {
    const { data } = weights.get(name)!;
    const mean = data.reduce((sum, v) => sum + v, 0) / data.length;
    return { mean, std: Math.sqrt(data.reduce((sum, v) => sum + (v - mean) ** 2, 0) / data.length) };
  };

  test('linear layers are Xavier-uniform with zero biases, projectors included', () => {
    for (const [name, fans] of [
      ['blocks.1.attn.qkv', 96 + 288],
      ['blocks.2.mlp.fc2', 96 + 384],
      ['x_embedder.proj', 96 + 16],
      ['projectors.0.2', 24 + 24],
    ] as const) {
      const bound = Math.sqrt(6 / fans);
      const { data } = weights.get(`${name}.weight`)!;
      const { mean, std } = moments(`${name}.weight`);
      const deviation = bound / Math.sqrt(3);
      assert.ok(
        data.every((v) => Math.abs(v) <= bound),
        name,
      );
      assert.ok(Math.abs(std / deviation - 1) < 3 / Math.sqrt(data.length), `${name}: ${std} for ${deviation}`);
      assert.ok(Math.abs(mean) < (4 * deviation) / Math.sqrt(data.length), name);
      assert.ok(
        weights.get(`${name}.bias`)!.data.every((v) => v === 0),
        name,
      );
    }
  });

  test('the label table and the time perceptron are N(0, 0.02); modulations and the output zero', () => {
    for (const name of ['y_embedder.embedding_table', 't_embedder.mlp.0', 't_embedder.mlp.2']) {
      const { data } = weights.get(`${name}.weight`)!;
      assert.ok(Math.abs(moments(`${name}.weight`).std / 0.02 - 1) < 3 / Math.sqrt(data.length), name);
    }
    for (const name of ['blocks.0.adaLN_modulation.1', 'final_layer.adaLN_modulation.1', 'final_layer.linear']) {
      assert.ok(
        weights.get(`${name}.weight`)!.data.every((v) => v === 0),
        name,
      );
    }
    const p = toParameters(weights);
    const x = tf.randomNormal([2, 4, 8, 8], 0, 1, 'float32', 1);
    const { output } = sit(p, network.model, x, tf.tensor([0.2, 0.9]), tf.tensor([1, 10], undefined, 'int32'));
    assert.ok(output.dataSync().every((v) => v === 0));
  });

  test('a seed fixes the trunk, whatever the projectors and with or without qk-norm; another seed changes it', () => {
    const { model } = network;
    const others = new Map(startingNetwork({ ...network, model: { ...model, qkNorm: true }, methods: {} }, 7));
    for (const name of ['blocks.2.attn.proj.weight', 'y_embedder.embedding_table.weight']) {
      assert.deepEqual(others.get(name), weights.get(name));
      assert.notDeepEqual(new Map(startingNetwork(network, 8)).get(name), weights.get(name));
    }
    assert.notDeepEqual(weights.get('blocks.0.mlp.fc1.weight'), weights.get('blocks.1.mlp.fc1.weight'));
    assert.ok(others.get('blocks.0.attn.q_norm.weight')!.data.every((v) => v === 1));
  });
});

describe('names and sizes', () => {
  test('the published sizes, with as many parameters as the paper says', () => {
    const millions = (name: string) => {
      let total = 0;
      for (const [, plan] of networkParameters(networkOf(name, { outChannels: 8 }))) {
        if (!isFrozen(plan)) total += sizeOf(plan.shape);
      }
      return Math.round(total / 1e6);
    };
    // Table 1 of the DiT paper, whose sizes SiT keeps.
    assert.deepEqual(
      ['S', 'B', 'L', 'XL'].map((size) => millions(`SiT-${size}/2`)),
      [33, 130, 458, 675],
    );
    assert.equal(sitConfig('SiT-XL/2').alignDepth, 8);
    assert.equal(sitConfig('SiT-B/4').alignDepth, 4);
    assert.equal(sitConfig('SiT-B/4', { hiddenSize: 256 }).numHeads, 4);
  });

  test('a config is inferred from its weights', () => {
    for (const network of [
      networkOf('SiT-B/4', TINY, REPA),
      networkOf('SiT-B/4', { ...TINY, qkNorm: true, inChannels: 3 }, repaOf([16, 32], 24)),
    ]) {
      const known = { numHeads: 3, alignDepth: network.model.alignDepth };
      assert.deepEqual(inferNetwork('SiT', networkParameters(network), 'test', known), network);
    }
  });

  test('what cannot be is refused', () => {
    assert.throws(() => sitConfig('SiT-M/2'), UsageError);
    assert.throws(() => sitConfig('SiT-B/3'), UsageError);
    assert.throws(() => sitConfig('SiT-B/8', { inputSize: 28 }), UsageError);
    assert.throws(() => sitConfig('SiT-B/2', { alignDepth: 13 }), UsageError);
    assert.throws(() => sitConfig('SiT-B/2', { numHeads: 5 }), UsageError);
    assert.throws(() => inferNetwork('SiT', new Map(), 'x.safetensors'), DataError);
  });
});

describe('matching weights', () => {
  const network = networkOf('SiT-S/2', TINY, REPA);
  const plan = networkParameters(network);

  test('one error lists missing, unexpected and mis-shaped names', () => {
    const weights = new Map(startingNetwork(network, 0));
    weights.delete('pos_embed');
    weights.set('extra.weight', { shape: [1], data: new Float32Array(1) });
    weights.set('final_layer.linear.bias', { shape: [3], data: new Float32Array(3) });
    assert.throws(
      () => matchWeights(weights, plan, 'a.safetensors'),
      (error: DataError) =>
        error instanceof DataError &&
        /^a\.safetensors: /.test(error.message) &&
        /1 missing:\n {2}pos_embed\n/.test(error.message) &&
        /final_layer\.linear\.bias is \[3\], not \[16\]/.test(error.message) &&
        /1 unexpected:\n {2}extra\.weight/.test(error.message),
    );
  });

  test('what the caller knows to be unused is left out', () => {
    const weights = new Map(startingNetwork(network, 0));
    weights.set('extra.weight', { shape: [1], data: new Float32Array(1) });
    const matched = matchWeights(weights, plan, 'a.safetensors', (name) => name === 'extra.weight');
    assert.deepEqual([...matched.keys()], [...plan.keys()]);
  });

  test('wrapped and older names are understood', () => {
    const wrapped: Weights = new Map();
    for (const [name, weight] of startingNetwork(network, 0)) {
      const older = name.replace(/^blocks\.2\./, 'decoder_blocks.0.');
      wrapped.set(`module.${older}`, weight);
    }
    wrapped.set('optimizer', { shape: [1], data: new Float32Array(1) });
    assert.deepEqual(new Set(toOfficialNames(wrapped).keys()), new Set(plan.keys()));
  });
});
