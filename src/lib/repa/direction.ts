/**
 * The direction of the velocity, a loss of LightningDiT (arXiv 2501.01423). Checked against the
 * published code, on a network of its blocks: losses and gradients (fixture published/lightning-dit).
 */
import { tf } from '../engine/index.js';
import { fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import { number } from '../options/option.js';
import { options } from '../options/table.js';
import { cosineSimilarity } from './cosine.js';
import { method, term } from './method.js';

/**
 * 1 - the cosine of the predicted and the true velocity over the channels, mean over the batch's pixels. Both [B, C, h,
 * w].
 */
export const directionLoss = (predicted: tf.Tensor, velocity: tf.Tensor): tf.Tensor =>
  tf.sub(1, tf.mean(cosineSimilarity(predicted, velocity, 1)));

const SETTINGS = fields({ weight: numeric });

export const direction = method({
  name: 'direction',
  options: options({
    direction: number('--direction <w>', 'weight of the cosine between velocities (LightningDiT: 1)', {
      min: 0,
      default: 0,
      onlyFor: 'SiT',
    }),
  }),
  settings: SETTINGS,
  isOn: ({ direction }) => direction > 0,
  settle: ({ direction }): ShapeOf<typeof SETTINGS> => ({ weight: direction }),
  outputTerms: ({ weight }, { latents: { predicted, wanted } }) => [
    term('direction', weight, () => directionLoss(predicted, wanted)),
  ],
});
