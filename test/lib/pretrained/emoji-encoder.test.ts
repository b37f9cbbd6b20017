import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { listEmoji, readEmoji, SIDE } from '../../../examples/emoji/dataset.js';
import { judge, type Picture, pixelFeatures } from '../../../examples/emoji/evaluation.js';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { type Encoder, openEncoder } from '../../../src/lib/pretrained/encoder.js';
import { tokenMeans } from '../../../src/lib/pretrained/token-means.js';

const BATCH = 64;

before(async () => {
  await selectBackend({});
});

/** One picture of each emoji that belongs to a few categories: enough to tell a trained network from pixels. */
async function somePictures(): Promise<Picture[]> {
  const chosen = listEmoji().filter(({ tone }) => tone === '');
  return Promise.all(chosen.map(async (emoji) => ({ emoji, pixels: await readEmoji(emoji) })));
}

/** Class tokens, or of a network without them the means of the tokens. */
function pooledFeatures(encoder: Encoder, set: readonly Picture[]): Float32Array {
  const rows = new Float32Array(set.length * encoder.dim);
  for (let start = 0; start < set.length; start += BATCH) {
    const crops = set.slice(start, start + BATCH).map(({ pixels: data }) => ({ width: SIDE, height: SIDE, data }));
    const { cls, feature } = encoder.encode(crops);
    rows.set(cls ?? tokenMeans(feature, encoder.tokens, encoder.dim), start * encoder.dim);
  }
  return rows;
}

/** What ships with repa, its tokens, width and class token, and how many points it is better than pixels at least. */
const NETWORKS = [
  { name: 'emoji-vit', facts: [64, 64, 128, true], gain: 5 },
  { name: 'emoji-cnn', facts: [64, 16, 192, false], gain: 3 },
] as const;

test('the encoders that ship with repa tell held-out emoji apart better than pixels do', async () => {
  const pictures = await somePictures();
  const ofPixels = judge(pictures, pixelFeatures);
  for (const { name, facts, gain } of NETWORKS) {
    const encoder = await openEncoder({ encoder: name, posEmbed: 'timm', batchSize: BATCH });
    assert.equal(encoder.name, name);
    assert.deepEqual([encoder.size, encoder.tokens, encoder.dim, encoder.hasCls], facts);
    const found = judge(pictures, (set) => pooledFeatures(encoder, set));
    assert.ok(found.category > ofPixels.category + gain, `${name}: ${found.category} against ${ofPixels.category}`);
    assert.ok(
      found.subcategory > ofPixels.subcategory,
      `${name}: ${found.subcategory} against ${ofPixels.subcategory}`,
    );
    encoder.dispose();
  }
});
