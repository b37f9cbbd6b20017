import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { listEmoji, readEmoji, SIDE } from '../../../examples/emoji/dataset.js';
import { judge, type Picture, pixelFeatures } from '../../../examples/emoji/evaluation.js';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { openEncoder } from '../../../src/lib/pretrained/encoder.js';

const BATCH = 64;

before(async () => {
  await selectBackend({});
});

/** One picture of each emoji that belongs to a few categories: enough to tell a trained network from pixels. */
async function somePictures(): Promise<Picture[]> {
  const chosen = listEmoji().filter(({ tone }) => tone === '');
  return Promise.all(chosen.map(async (emoji) => ({ emoji, pixels: await readEmoji(emoji) })));
}

test('the encoder that ships with repa tells held-out emoji apart better than pixels do', async () => {
  const encoder = await openEncoder({ encoder: 'emoji-vit', posEmbed: 'timm', batchSize: BATCH });
  assert.deepEqual([encoder.size, encoder.tokens, encoder.dim, encoder.hasCls], [64, 64, 128, true]);
  const pictures = await somePictures();
  const classTokens = (set: readonly Picture[]): Float32Array => {
    const rows = new Float32Array(set.length * encoder.dim);
    for (let start = 0; start < set.length; start += BATCH) {
      const crops = set.slice(start, start + BATCH).map(({ pixels: data }) => ({ width: SIDE, height: SIDE, data }));
      rows.set(encoder.encode(crops).cls!, start * encoder.dim);
    }
    return rows;
  };
  const ofEncoder = judge(pictures, classTokens);
  const ofPixels = judge(pictures, pixelFeatures);
  assert.ok(ofEncoder.category > ofPixels.category + 5, `${ofEncoder.category} against ${ofPixels.category}`);
  assert.ok(ofEncoder.subcategory > ofPixels.subcategory, `${ofEncoder.subcategory} against ${ofPixels.subcategory}`);
});
