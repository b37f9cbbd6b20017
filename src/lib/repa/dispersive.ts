/**
 * Dispersive Loss (arXiv 2506.09027): the hidden states of the images of a batch repel each other, without an encoder.
 * The InfoNCE variant with the l2 distance. Checked against the published code, at its temperature of 1: losses and
 * gradients (fixture published/dispersive).
 */
import { tf } from '../engine/index.js';
import { count, fields, later, numeric, type ShapeOf } from '../formats/json-shape.js';
import { integer, number } from '../options/option.js';
import { options } from '../options/table.js';
import { blockAt, checkComparison, knownBlock } from './blocks.js';
import { method, term } from './method.js';

/**
 * log mean exp(-|z_i - z_j|^2 / (dim z temperature)) over all pairs of a batch, each image with itself included.
 * `tokens` [B, T, D] are the z.
 */
export function dispersiveLoss(tokens: tf.Tensor, temperature = 1): tf.Tensor {
  const [batch, count, dim] = tokens.shape;
  const z = tf.reshape(tokens, [batch, count * dim]); // [B, TD]
  const centred = tf.sub(z, tf.mean(z, 0, true)); // [B, TD]; what all have in common would only cost precision
  const squares = tf.sum(tf.square(centred), 1, true); // [B, 1]
  const products = tf.matMul(centred, centred, false, true); // [B, B]
  const distances = tf.sub(tf.add(squares, tf.transpose(squares)), tf.mul(products, 2)); // [B, B]
  return tf.log(tf.mean(tf.exp(tf.div(distances, -count * dim * temperature))));
}

const SETTINGS = fields({ weight: numeric, block: count, temperature: later(numeric, 1) });

export const dispersive = method({
  name: 'dispersive',
  options: options({
    dispersive: number('--dispersive <w>', "weight of images' hidden states repelling each other (Dispersive: 0.5)", {
      min: 0,
      default: 0,
    }),
    dispersiveBlock: integer('--dispersive-block <n>', 'at which block', {
      min: 1,
      defaultText: 'a quarter of them',
      needs: 'dispersive',
    }),
    dispersiveTemperature: number('--dispersive-temperature <t>', 'how far they reach (Dispersive: 0.5)', {
      above: 0,
      default: 1,
      needs: 'dispersive',
    }),
  }),
  // As in its experiments; the published PyTorch code has 0.25 and 1, at the last block.
  presets: { dispersive: { lambda: 0, dispersive: 0.5, 'dispersive-temperature': 0.5 } },
  settings: SETTINGS,
  isOn: ({ dispersive }) => dispersive > 0,
  settle({ dispersive, dispersiveBlock, dispersiveTemperature }, { model: { depth }, rows }): ShapeOf<typeof SETTINGS> {
    checkComparison('--dispersive', rows);
    const block = knownBlock('--dispersive-block', dispersiveBlock ?? blockAt(1 / 4, depth), depth);
    return { weight: dispersive, block, temperature: dispersiveTemperature };
  },
  whole: ({ block }) => ({ option: '--dispersive', blocks: [block] }),
  terms: ({ weight, block, temperature }, { hidden }) => [
    term('dispersive', weight, () => dispersiveLoss(hidden(block), temperature)),
  ],
});
