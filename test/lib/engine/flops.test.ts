/** Model FLOPs of a recorded graph, against the formula. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { capture, conv2d, selectBackend } from '../../../src/lib/engine/index.js';
import { captureGradients } from '../../../src/lib/optim/index.js';
import { trainingLoss } from '../../../src/lib/training/loss.js';
import { modelStore } from '../../../src/lib/training/store.js';
import { networkOf, repaOf } from '../../networks.js';

before(() => selectBackend({ backend: 'onnx', threads: 1 }));

const [B, L, D, C, p, classes] = [3, 3, 16, 4, 2, 5];
const N = 16;
const [projector, feature] = [12, 6];
const network = networkOf(
  'SiT-S/2',
  { inputSize: 8, depth: L, hiddenSize: D, numHeads: 2, numClasses: classes, alignDepth: 2 },
  repaOf([feature], projector),
);

function trainingFlops(checkpointBlocks: number): number | undefined {
  const store = modelStore(network, {});
  const shapes = [[B, C, 8, 8], [B, C, 8, 8], [B], [B], [B, N, feature]];
  const program = captureGradients(
    store,
    (x, noise, t, y, features) => {
      const inputs = { x, noise, t, y, features: [features] };
      return Object.values(trainingLoss(store.tensors, network, inputs, { path: 'linear', checkpointBlocks }));
    },
    shapes.map((shape, index) => ({ shape, dtype: index === 3 ? 'int32' : 'float32' })),
  );
  program.dispose();
  store.dispose();
  return program.flops;
}

test('a training step takes what its formula says, however much of it is computed again', () => {
  const block = D * 6 * D + N * D * 3 * D + 2 * N * N * D + N * D * D + 2 * N * D * 4 * D;
  const learned = L * block + D * D + D * 2 * D + N * D * p * p * C;
  const alignment = N * (D * projector + projector * projector + projector * feature);
  // Nothing is differentiated by pixels and times, which the first products read.
  const first = N * p * p * C * D + 256 * D;
  const expected = 2 * B * (3 * (learned + alignment) + 2 * first);
  assert.equal(trainingFlops(0), expected);
  assert.equal(trainingFlops(L), expected);
});

test('convolutions count a multiplication and an addition a weight and pixel', () => {
  const [x, weight] = [
    [2, 3, 8, 8],
    [5, 3, 3, 3],
  ];
  const program = capture(
    (image, filter) => [conv2d(image, filter, null, { stride: 2, padding: [1, 1, 1, 1] })],
    [
      { shape: x, dtype: 'float32' },
      { shape: weight, dtype: 'float32' },
    ],
  );
  assert.equal(program.flops, 2 * 2 * 5 * 4 * 4 * 27);
  program.dispose();
});
