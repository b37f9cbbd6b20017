import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { isHeldOut, listEmoji, readEmoji, SIDE } from '../../../examples/emoji/dataset.js';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { toSignedUnit } from '../../../src/lib/images/normalise.js';
import { openCodec, settledScale } from '../../../src/lib/pretrained/codec.js';
import { normaliseLatents } from '../../../src/lib/pretrained/latent-scale.js';

const COUNT = 64;
/** Of all held-out emoji, skin tones and all, the training script told 23.19 dB. */
const LEAST_PSNR = 22.5;

before(async () => {
  await selectBackend({});
});

test('held-out emoji come back from the codec that ships with repa, and its latents have deviation 1', async () => {
  const heldOut = listEmoji().filter((emoji) => emoji.tone === '' && isHeldOut(emoji));
  const chosen = heldOut.filter((_, i) => i % 5 === 0).slice(0, COUNT);
  const images = new Float32Array(COUNT * 3 * SIDE * SIDE); // [N, 3, S, S]
  for (const [row, emoji] of chosen.entries()) {
    const image = { width: SIDE, height: SIDE, data: await readEmoji(emoji) };
    toSignedUnit(image, images.subarray(row * 3 * SIDE * SIDE, (row + 1) * 3 * SIDE * SIDE));
  }
  const codec = await openCodec({ vae: 'emoji-vae' });
  assert.deepEqual([codec.column, codec.channels, codec.downsampling], ['moments', 8, 8]);
  const side = SIDE / codec.downsampling;
  const moments = codec.encode(images, COUNT, SIDE); // [N, 16, 8, 8]
  const size = codec.channels * side * side;
  const means = new Float32Array(COUNT * size);
  for (let row = 0; row < COUNT; row++) means.set(moments.subarray(2 * row * size, (2 * row + 1) * size), row * size);
  const decoded = codec.decode(means, COUNT, side);
  let psnr = 0;
  for (let row = 0; row < COUNT; row++) {
    let error = 0;
    for (let i = row * 3 * SIDE * SIDE; i < (row + 1) * 3 * SIDE * SIDE; i++) {
      error += (Math.min(1, Math.max(-1, decoded[i])) - images[i]) ** 2 / (3 * SIDE * SIDE);
    }
    psnr += (10 * Math.log10(4 / error)) / COUNT; // values are in [-1, 1]
  }
  assert.ok(psnr > LEAST_PSNR, `${psnr} dB`);
  normaliseLatents(means, codec.channels, side * side, settledScale(codec));
  const square = means.reduce((sum, value) => sum + value ** 2, 0) / means.length;
  assert.ok(square > 0.6 && square < 1.2, `mean square ${square}`);
  codec.dispose();
});
