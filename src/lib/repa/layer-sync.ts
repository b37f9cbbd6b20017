/**
 * LayerSync (arXiv 2510.12581): an early block follows a later one of the same network, without an encoder. Checked
 * against the published code: losses and gradients (fixture published/layer-sync).
 */
import { detach, tf } from '../engine/index.js';
import { count, fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import { blockPair, number } from '../options/option.js';
import { options } from '../options/table.js';
import { studentAndTeacher } from './blocks.js';
import { cosineSimilarity } from './cosine.js';
import { method, term } from './method.js';

/**
 * Minus the mean cosine similarity of a block's tokens and those of a later block, into which no gradient flows:
 * scalar. Both [B, T, D].
 */
export const layerSyncLoss = (tokens: tf.Tensor, teacher: tf.Tensor): tf.Tensor =>
  tf.neg(tf.mean(cosineSimilarity(tokens, detach(teacher))));

const SETTINGS = fields({ weight: numeric, block: count, teacher: count });

/** The paper's teacher is block 16 of 28. */
const TEACHER = 16 / 28;

export const layerSync = method({
  name: 'layer-sync',
  options: options({
    layerSync: number('--layer-sync <w>', 'weight of a block following a later one (LayerSync: 0.2)', {
      min: 0,
      default: 0,
    }),
    layerSyncBlocks: blockPair('--layer-sync-blocks <pair>', 'which follows which, such as 8,16', {
      needs: 'layerSync',
    }),
  }),
  presets: { 'layer-sync': { lambda: 0, 'layer-sync': 0.2 } },
  settings: SETTINGS,
  isOn: ({ layerSync }) => layerSync > 0,
  settle: ({ layerSync, layerSyncBlocks }, { model }): ShapeOf<typeof SETTINGS> => ({
    weight: layerSync,
    ...studentAndTeacher('--layer-sync-blocks', layerSyncBlocks, model, TEACHER),
  }),
  whole: ({ block, teacher }) => ({ option: '--layer-sync', blocks: [block, teacher] }),
  terms: ({ weight, block, teacher }, { hidden }) => [
    term('layer_sync', weight, () => layerSyncLoss(hidden(block), hidden(teacher))),
  ],
});
