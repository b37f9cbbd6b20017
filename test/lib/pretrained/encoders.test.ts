import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError, UsageError } from '../../../src/lib/errors.js';
import type { RgbImage } from '../../../src/lib/images/rgb-image.js';
import { openEncoder } from '../../../src/lib/pretrained/encoder.js';
import { drawWeights, type WeightsRecipe, writeWeights } from '../../fixture-weights.js';
import { fixturePath, temporaryFolder } from '../../support.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

interface Recipe extends WeightsRecipe {
  encoder: string;
  options: { heads?: number };
}

const recipes: Record<string, Recipe> = JSON.parse(readFileSync(fixturePath('encoders/weights.json'), 'utf8'));
const expected = fixtureTensors('encoders/expected');
const folder = temporaryFolder();

before(() => selectBackend());

/** The picture of the fixture [3, 256, 256], or four of it in a square. */
function picture(side: number): RgbImage {
  const { data } = fixtureTensors('preprocess/io').get('image_u8')!;
  const at = (channel: number, y: number, x: number) => data[(channel * 256 + (y % 256)) * 256 + (x % 256)];
  const bytes = Uint8Array.from({ length: 3 * side * side }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return at(i % 3, Math.floor(pixel / side), pixel % side);
  });
  return { width: side, height: side, data: bytes };
}

/** A file of random weights in the layout of the recipe. */
function weightsFile(name: string): string {
  const file = path.join(folder, `${name}.safetensors`);
  writeWeights(file, drawWeights(recipes[name]));
  return file;
}

/** Features of one image, of 32 tokens of its grid. */
async function features(options: Parameters<typeof openEncoder>[0], side: number) {
  const encoder = await openEncoder({ ...options, size: side });
  const { feature, cls } = encoder.encode([picture(side)]);
  encoder.dispose();
  const step = encoder.tokens / 32;
  const kept = Array.from({ length: 32 }, (_, i) => [
    ...feature.subarray(i * step * encoder.dim, (i * step + 1) * encoder.dim),
  ]);
  return { tokens: kept.flat(), cls, encoder };
}

/** Within 1e-5 of the largest value; deviations of two layers in f32. */
function assertFeatures(actual: ArrayLike<number>, name: string) {
  const { data } = expected.get(name)!;
  assertClose(actual, data, 1e-5 * largestMagnitude(data), name);
}

describe('encoders compute what their published implementations do', () => {
  for (const [name, { encoder, options }] of Object.entries(recipes)) {
    for (const [side, posEmbed, suffix] of [
      [256, 'timm', ''],
      [512, 'timm', ''],
      [256, 'dinov2', '.dinov2'],
      [512, 'dinov2', '.dinov2'],
    ] as const) {
      const key = `${name}.${side}${suffix}`;
      if (!expected.has(`${key}.tokens`)) continue;
      test(`${name} (${encoder}) of ${side} pixels, positions as ${posEmbed} resamples them`, async () => {
        const weights = weightsFile(name);
        const { tokens, cls } = await features({ encoder, weights, posEmbed, batchSize: 1, ...options }, side);
        assertFeatures(tokens, `${key}.tokens`);
        assert.equal(cls !== undefined, expected.has(`${key}.cls`));
        if (cls) assertFeatures(cls, `${key}.cls`);
      });
    }
  }
});

test('a file alone tells whether it is CLIP or SigLIP', async () => {
  for (const name of ['clip', 'clip-hf', 'siglip', 'siglip-timm']) {
    const { options } = recipes[name];
    const weights = weightsFile(name);
    const { tokens, encoder } = await features({ weights, posEmbed: 'timm', batchSize: 1, ...options }, 256);
    assertFeatures(tokens, `${name}.256.tokens`);
    assert.equal(encoder.preprocess.encoder, name.replace(/-.*/, ''));
  }
});

test('weights of another family than the name says are refused', async () => {
  const open = (encoder: string, name: string) =>
    openEncoder({ encoder, weights: weightsFile(name), posEmbed: 'timm', batchSize: 1 });
  await assert.rejects(open('dinov2-vit-b', 'clip'), (error: DataError) => {
    assert.match(`${error.message} ${error.hint}`, /clip\.safetensors: holds a CLIP .* not dinov2-vit-b .*--encoder/);
    return error instanceof DataError;
  });
  await assert.rejects(open('clip-vit-l', 'dinov1'), DataError);
  await assert.rejects(open('clip-vit-l', 'siglip'), DataError);
  await assert.rejects(open('dinov2-vit-b', 'siglip'), DataError);
  await assert.rejects(open('clip-vit-x', 'clip'), UsageError);
});
