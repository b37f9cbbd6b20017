import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';
import { featureChannels } from '../../../src/lib/repa/feature-channels.js';
import { FeatureMoments, principalComponents } from '../../../src/lib/repa/redi.js';
import { assertClose } from '../../tensors.js';

before(() => selectBackend());

const [TOKENS, DIM] = [4096, 6];

/** Features with two strong directions, (1, 1, 1, 0, 0, 0) and (0, 0, 0, 1, -1, 0), at odd scales and offsets. */
function features(): Float32Array {
  const sources = new Float32Array(TOKENS * 8);
  fillNormal(sources, 3, 1, 0);
  return Float32Array.from({ length: TOKENS * DIM }, (_, i) => {
    const [token, j] = [Math.floor(i / DIM), i % DIM];
    const at = (source: number): number => sources[token * 8 + source];
    const strong = j < 3 ? 2 * at(0) : j < 5 ? (j === 3 ? 1 : -1) * 1.5 * at(1) : 0;
    return (strong + 0.3 * at(2 + j)) * (1 + j) + 10 * j;
  });
}

test('components are the principal ones of standardised features, each of variance 1 and mean 0', () => {
  const values = features();
  const moments = new FeatureMoments(DIM);
  for (let start = 0; start < TOKENS; start += 1000) moments.add(values.slice(start * DIM, (start + 1000) * DIM));
  const components = principalComponents(moments, 2, 0);
  const channels = featureChannels(components, values, TOKENS, Math.sqrt(TOKENS)); // [1, 2, 64, 64]
  const [first, second] = [channels.subarray(0, TOKENS), channels.subarray(TOKENS)];
  const mean = (a: Float32Array, b: (i: number) => number): number =>
    a.reduce((sum, v, i) => sum + v * b(i), 0) / TOKENS;
  assertClose([mean(first, () => 1), mean(second, () => 1)], [0, 0], 1e-4, 'means');
  assertClose([mean(first, (i) => first[i]), mean(second, (i) => second[i])], [1, 1], 1e-3, 'variances');
  assertClose([mean(first, (i) => second[i])], [0], 1e-3, 'correlation');
  // In units of each dimension's deviation, weights are eigenvectors of the correlations, the strongest first.
  const { covariance } = moments;
  const deviations = Array.from({ length: DIM }, (_, j) => Math.sqrt(covariance[j * DIM + j]));
  const correlated = (vector: number[]): number[] =>
    vector.map((_, i) =>
      vector.reduce((sum, v, j) => sum + (covariance[i * DIM + j] / (deviations[i] * deviations[j])) * v, 0),
    );
  const [strongest, next] = [0, 1].map((k) => {
    const vector = deviations.map((each, j) => each * components.weight[k * DIM + j]);
    const image = correlated(vector);
    const value = Math.hypot(...image) / Math.hypot(...vector);
    assertClose(
      image,
      vector.map((v) => value * v),
      1e-4,
      `component ${k + 1}`,
    );
    return { value, vector };
  });
  assert.ok(strongest.value > next.value && next.value > 1);
  assert.ok(strongest.vector.slice(0, 3).every((v) => v > 0.2) && Math.sign(next.vector[3] * next.vector[4]) === -1);
});

test('channels are resized bilinearly to the grid of the latents', () => {
  const components = { dim: 1, channels: 1, weight: Float32Array.of(2), bias: Float32Array.of(1) };
  const flat = featureChannels(components, Float32Array.of(0, 1, 0, 1), 4, 4); // a 2 x 2 grid
  assertClose(flat.subarray(0, 4), [1, 1.5, 2.5, 3], 1e-6, 'a row');
  assert.equal(flat.length, 16);
});
