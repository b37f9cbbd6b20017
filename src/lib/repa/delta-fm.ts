/**
 * Contrastive flow matching, Delta-FM (arXiv 2506.05350): each velocity is also to be far from that of another image. From the
 * paper's equation; not checked against code.
 */
import { tf } from '../engine/index.js';
import { fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import { number } from '../options/option.js';
import { options } from '../options/table.js';
import { checkComparison } from './blocks.js';
import { meanSquare, method, term } from './method.js';

/**
 * The mean squared distance of each prediction to the velocity of the next image of the batch, which training makes
 * larger. Both [B, C, h, w].
 */
export function contrastiveLoss(predicted: tf.Tensor, velocity: tf.Tensor): tf.Tensor {
  const [first, rest] = tf.split(velocity, [1, velocity.shape[0] - 1]);
  return meanSquare(predicted, tf.concat([rest, first]));
}

const SETTINGS = fields({ weight: numeric });

export const deltaFM = method({
  name: 'delta-fm',
  options: options({
    contrastive: number(
      '--contrastive <w>',
      "weight of the distance to other images' velocities, which is made larger (Delta-FM: 0.05)",
      { min: 0, default: 0, onlyFor: 'SiT' },
    ),
  }),
  presets: { 'delta-fm': { lambda: 0.5, contrastive: 0.05 } },
  settings: SETTINGS,
  isOn: ({ contrastive }) => contrastive > 0,
  settle({ contrastive }, { rows }): ShapeOf<typeof SETTINGS> {
    checkComparison('--contrastive', rows);
    return { weight: contrastive };
  },
  outputTerms: ({ weight }, { latents: { predicted, wanted } }) => [
    term('contrastive', -weight, () => contrastiveLoss(predicted, wanted)),
  ],
});
