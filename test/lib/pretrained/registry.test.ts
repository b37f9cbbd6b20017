import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../../src/lib/errors.js';
import { knownEncoder } from '../../../src/lib/pretrained/encoders.js';

test("what an encoder's weights do not tell", () => {
  assert.deepEqual(knownEncoder('dinov2-vit-b'), { preprocess: 'dinov2', cropSize: 256 });
  assert.deepEqual(knownEncoder('dinov2reg-vit-l'), knownEncoder('dinov2-vit-b'));
  assert.deepEqual(knownEncoder('jepa-vit-h'), { preprocess: 'jepa', cropSize: 256 });
  assert.equal(knownEncoder('mocov3-vit-s').heads, 12);
  assert.equal(knownEncoder('mocov3-vit-b').heads, undefined);
  assert.equal(knownEncoder('mae-vit-l').finalNorm, false);
  assert.equal(knownEncoder('clip-vit-l').finalNorm, false);
  assert.equal(knownEncoder('clip-vit-l').activation, 'quick');
  assert.equal(knownEncoder('openclip-vit-bigg').activation, 'erf');
  assert.equal(knownEncoder('siglip2-vit-so400m').activation, 'tanh');
  assert.throws(() => knownEncoder('dinov2-vit-x'), UsageError);
  assert.throws(() => knownEncoder('my-dinov2-vit-b'), UsageError);
});
