/**
 * The networks of FDr6, against timm as the published code calls it: tiny ones with random weights, on two pictures of
 * 48 pixels.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError, UsageError } from '../../../src/lib/errors.js';
import type { MeasureOptions } from '../../../src/lib/evaluation/measure.js';
import { measureSpaces } from '../../../src/lib/evaluation/six-spaces.js';
import type { RgbImage } from '../../../src/lib/images/rgb-image.js';
import type { Weights } from '../../../src/lib/models/parameters.js';
import { FEATURE_SPACES, type FeatureSpace, openFeatureSpace } from '../../../src/lib/pretrained/feature-spaces.js';
import { writeWeights } from '../../fixture-weights.js';
import { temporaryFolder } from '../../support.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const tensors = fixtureTensors('fdr6');
const folder = temporaryFolder();
const SIDE = 64;

function pictures(): RgbImage[] {
  const { shape, data } = tensors.get('images')!;
  const size = data.length / shape[0];
  return Array.from({ length: shape[0] }, (_, i) => ({
    width: shape[2],
    height: shape[1],
    data: Uint8Array.from(data.subarray(i * size, (i + 1) * size)),
  }));
}

const weightsOf = (key: string): Weights =>
  new Map(
    [...tensors].flatMap(([name, value]) => (name.startsWith(`${key}.`) ? [[name.slice(key.length + 1), value]] : [])),
  );

function weightsFile(key: string, weights = weightsOf(key)): string {
  const file = path.join(folder, `${key}.safetensors`);
  writeWeights(file, weights);
  return file;
}

const spaceOf = (key: string): FeatureSpace => ({
  ...FEATURE_SPACES.find(({ name }) => name.startsWith(key))!,
  side: SIDE,
});

describe('features of the networks of FDr6 are those of timm', () => {
  for (const key of ['convnext', 'clip', 'dinov2', 'mae', 'siglip']) {
    test(key, async () => {
      const network = await openFeatureSpace(spaceOf(key), 2, weightsFile(key));
      const { pooled } = network.features(pictures());
      const wanted = tensors.get(`features.${key}`)!.data;
      assertClose(pooled, wanted, 2e-5 * largestMagnitude(wanted), key);
      const [first] = pictures();
      assertClose(network.features([first]).pooled, pooled.slice(0, network.dims.pooled), 0, 'one image of two');
      network.dispose();
    });
  }

  test("SigLIP's pool under the names of Hugging Face", async () => {
    const own = weightsOf('siglip');
    const part = (kind: string): Float32Array => {
      const [q, kv] = ['q', 'kv'].map((name) => Float32Array.from(own.get(`attn_pool.${name}.${kind}`)!.data));
      return Float32Array.of(...q, ...kv);
    };
    const others = new Map([...own].filter(([name]) => !/^attn_pool\.(q|kv|latent)/.test(name)));
    const weights: Weights = new Map(
      [...others].map(([name, value]) => [
        name
          .replace(/^attn_pool\.norm\./, 'head.layernorm.')
          .replace(/^attn_pool\.mlp\./, 'head.mlp.')
          .replace(/^attn_pool\.proj\./, 'head.attention.out_proj.'),
        value,
      ]),
    );
    weights.set('head.probe', own.get('attn_pool.latent')!);
    weights.set('head.attention.in_proj_weight', { shape: [192, 64], data: part('weight') });
    weights.set('head.attention.in_proj_bias', { shape: [192], data: part('bias') });
    const network = await openFeatureSpace(spaceOf('siglip'), 2, weightsFile('siglip', weights));
    const wanted = tensors.get('features.siglip')!.data;
    assertClose(network.features(pictures()).pooled, wanted, 2e-5 * largestMagnitude(wanted), 'pool');
    network.dispose();
  });

  test('weights of another network are refused', async () => {
    await assert.rejects(openFeatureSpace(spaceOf('convnext'), 2, weightsFile('mae')), DataError);
  });
});

test('FDr6 is the mean of distances in parts of those of the validation images, of sets that can be read again', async () => {
  const [a, b] = pictures();
  const names = ['convnext', 'mae'];
  const files = names.map((key) => weightsFile(key));
  const spaces = names.map((key, i) => ({
    open: () => openFeatureSpace(spaceOf(key), 2, files[i]),
    ofValidation: spaceOf(key).ofValidation,
  }));
  const sets: Record<string, RgbImage[]> = {
    samples: [a, b],
    reference: [b, { ...a, data: a.data.map((v) => 255 - v) }],
  };
  const options = {
    ...{
      metrics: ['fdr6'],
      net: 'inception',
      resize: 'adm' as const,
      batchSize: 2,
      seed: 0,
      kidSubsets: 1,
      cache: false,
    },
    progress: () => ({ advance: () => {}, finish: () => {} }),
    async open(name: string) {
      async function* images() {
        for (const [i, image] of sets[name].entries()) yield { key: String(i), label: -1, image };
      }
      return { images: images(), total: 2, metadata: {} };
    },
  } as unknown as MeasureOptions;
  const { measurements } = await measureSpaces(spaces, 'samples', 'reference', options);
  assert.deepEqual(
    measurements.map(({ metric, count }) => [metric, count]),
    [
      ['FD(convnext.safetensors)', 2],
      ['FD(mae.safetensors)', 2],
      ['FDr6', 2],
    ],
  );
  const [first, second, mean] = measurements.map(({ value }) => value);
  assert.ok(first > 0 && second > 0);
  assertClose([mean], [(first / 56.87 + second / 0.04) / 2], 1e-12 * mean, 'FDr6');
  await assert.rejects(measureSpaces(spaces, '-', 'reference', options), UsageError);
  assert.equal(FEATURE_SPACES.length + 1, 6);
});
