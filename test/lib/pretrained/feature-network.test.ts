import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import type { RgbImage } from '../../../src/lib/images/rgb-image.js';
import { openFeatureNetwork } from '../../../src/lib/pretrained/feature-network.js';
import { fixtureWeightsFile } from '../../fixture-weights.js';
import { fixturePath } from '../../support.js';
import { assertClose, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

/** The images of test/interop/fd_dinov2_oracle.py. */
function stripes(side: number): RgbImage {
  const data = new Uint8Array(side * side * 3);
  for (let at = 0; at < data.length; at++) {
    const [x, y, c] = [Math.floor(at / 3) % side, Math.floor(at / (3 * side)), at % 3];
    data[at] = x * (5 + 2 * c) + y * (3 + c) + ((x * y) >> 4);
  }
  return { width: side, height: side, data };
}

test("DINOv2's features are those that FD-DINOv2 compares, of images larger and smaller than its input", async () => {
  const expected = JSON.parse(readFileSync(fixturePath('dinov2/fd_dinov2.json'), 'utf8')) as Record<string, number[]>;
  const weights = fixtureWeightsFile('dinov2');
  const network = await openFeatureNetwork({ net: 'dinov2-vit-l', weights, resize: 'adm', batchSize: 1 });
  assert.equal(network.resize, 'bicubic to 224');
  assert.equal(network.distance, 'FD(dinov2.safetensors)', 'only the published weights are called FD-DINOv2');
  for (const [side, values] of Object.entries(expected)) {
    const { pooled } = network.features([stripes(Number(side))]);
    assertClose(pooled, values, 1e-4 * largestMagnitude(values), `${side} pixels`);
  }
  network.dispose();
});
