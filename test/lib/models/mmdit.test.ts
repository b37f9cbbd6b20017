/**
 * MM-DiT against the code that REPA's authors published: 2 blocks of width 64, latents of 4 x 32 x 32, 7 words of 768.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { selectBackend, type TensorSpec, tf } from '../../../src/lib/engine/index.js';
import { DataError, UsageError } from '../../../src/lib/errors.js';
import { inferMmdit, mmdit, mmditConfig, mmditParameters } from '../../../src/lib/models/mmdit.js';
import { matchWeights, type Weights } from '../../../src/lib/models/parameters.js';
import { isFrozen, startingWeights } from '../../../src/lib/models/start.js';
import { sinCosPositions } from '../../../src/lib/nn/embeddings.js';
import { captureGradients, ParameterStore } from '../../../src/lib/optim/index.js';
import { perceptron, projectionLoss } from '../../../src/lib/repa/repa.js';
import { fixtureWeights } from '../../fixture-weights.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const TOLERANCE = 2e-5;
const PROJECTOR = perceptron(24);

/** The published names, with the positions that the official state dict holds as a buffer. */
function weightsOf(): Weights {
  return new Map([
    ['pos_embed', { shape: [1, 256, 64], data: sinCosPositions(16, 64) }] as const,
    ...fixtureWeights('mmdit'),
  ]);
}

test('velocity, projection, losses and gradients are those of the published network', () => {
  const weights = weightsOf();
  const expected = fixtureTensors('mmdit/expected');
  const config = inferMmdit(weights, 'mmdit', { alignDepth: 1 });
  assert.deepEqual(config, mmditConfig('MM-DiT/2', { depth: 2, alignDepth: 1 }));
  const plan = mmditParameters(config, PROJECTOR.parameters('projectors.0', 64, 12));
  const matched = matchWeights(weights, plan, 'mmdit');
  const store = new ParameterStore(
    [...plan].map(([name, each]) => ({ name, shape: each.shape, learning: isFrozen(each) ? 'frozen' : 'adamw' })),
  );
  for (const { name, value } of store.parameters) value.set(matched.get(name)!.data);
  store.refresh();
  const inputs = ['x', 't', 'context', 'target', 'features'].map((name) => expected.get(`inputs.${name}`)!);
  const specs = inputs.map(({ shape }): TensorSpec => ({ shape: [...shape], dtype: 'float32' }));
  const program = captureGradients(
    store,
    (x, t, context, target, features) => {
      const { output, hidden } = mmdit(store.tensors, config, x, t, context);
      const projected = PROJECTOR.project(store.tensors, 'projectors.0', hidden[0]); // [B, T, 12]
      const velocity = tf.mean(tf.squaredDifference(output, target));
      const projection = tf.mean(projectionLoss(projected, features));
      return [tf.add(velocity, tf.mul(projection, 0.5)), velocity, projection, output, projected];
    },
    specs,
  );
  const [, velocity, projection, output, projected] = program.run(...inputs.map(({ data }) => Float32Array.from(data)));
  for (const [name, actual] of Object.entries({ velocity, projection, v: output, z: projected })) {
    const { data } = expected.get(`outputs.${name}`)!;
    assertClose(actual as Float32Array, data, TOLERANCE * Math.max(1, largestMagnitude(data)), name);
  }
  let compared = 0;
  for (const { name, gradient } of store.parameters) {
    const wanted = expected.get(`gradients.${name}`);
    if (!wanted) continue;
    compared++;
    const step = gradient!.length / wanted.data.length; // of a wide matrix, every step-th column is kept
    const kept = gradient!.filter((_, i) => i % step === 0);
    assertClose(kept, wanted.data, TOLERANCE * Math.max(0.05, largestMagnitude(wanted.data)), name);
  }
  assert.equal(compared, 12);
  program.dispose();
});

test('sizes, starts, and what is no MM-DiT', () => {
  const published = mmditConfig('MM-DiT/2');
  assert.deepEqual([published.hiddenSize, published.numHeads, published.depth], [768, 24, 24]);
  const config = mmditConfig('MM-DiT/2', { depth: 2 });
  for (const [name, { data }] of startingWeights(mmditParameters(config), 0)) {
    if (name !== 'context_embedder.bias') continue;
    const largest = largestMagnitude(data);
    assert.ok(largest > 0.02 && largest <= 1 / Math.sqrt(768), `${largest}`);
  }
  assert.throws(() => mmditConfig('MM-DiT/2', { inputSize: 5 }), UsageError);
  assert.throws(() => mmditConfig('MM-DiT/2', { depth: 2, alignDepth: 3 }), UsageError);
  assert.throws(() => inferMmdit(new Map(), 'x'), DataError);
});
