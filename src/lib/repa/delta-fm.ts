/**
 * Contrastive flow matching, Delta-FM (arXiv 2506.05350): each velocity is also to be far from that of another image.
 * Checked against the published code, with the other images that it drew: losses and gradients (fixture
 * published/delta-fm).
 */
import { tf } from '../engine/index.js';
import { fields, later, numeric, oneOf, type ShapeOf, truth } from '../formats/json-shape.js';
import { PURPOSE, randomInteger } from '../numbers/random.js';
import { choice, flag, number } from '../options/option.js';
import { options } from '../options/table.js';
import { checkComparison } from './blocks.js';
import { type Draw, meanSquare, method, term } from './method.js';

/**
 * The mean squared distance of each prediction to the velocity of the next image of the batch, which training makes
 * larger. Both [B, C, h, w].
 */
export function contrastiveLoss(predicted: tf.Tensor, velocity: tf.Tensor): tf.Tensor {
  const [first, rest] = tf.split(velocity, [1, velocity.shape[0] - 1]);
  return meanSquare(predicted, tf.concat([rest, first]));
}

/**
 * The mean squared distance of each prediction to the velocity of image `other` [B] int32 of the batch; `share` [B]
 * says how much each image counts.
 */
export function drawnContrastiveLoss(
  predicted: tf.Tensor,
  velocity: tf.Tensor,
  other: tf.Tensor,
  share?: tf.Tensor,
): tf.Tensor {
  const distances = tf.squaredDifference(predicted, tf.gather(velocity, other)); // [B, C, h, w]
  const ofImages = tf.mean(tf.reshape(distances, [distances.shape[0], -1]), 1); // [B]
  return tf.mean(share ? tf.mul(ofImages, share) : ofImages);
}

/**
 * Draws for each image the index of another one of the micro-batch: any, or one of another class if there is one.
 * [B] int32.
 */
const others = (ofAnotherClass: boolean, { values: classesOf }: Draw): Draw => ({
  shape: [],
  dtype: 'int32',
  values(batch) {
    const { rows, seed, step, position } = batch;
    const classes = ofAnotherClass ? classesOf(batch) : [];
    return Int32Array.from({ length: rows }, (_, row) => {
      const all = Array.from({ length: rows }, (_, other) => other).filter((other) => other !== row);
      const unlike = all.filter((other) => classes[other] !== classes[row]);
      const chosen = unlike.length > 0 ? unlike : all;
      return chosen[randomInteger(chosen.length, seed, PURPOSE.negative, position + row, step)];
    });
  },
});

/** For each image the index of the next one; for the last, of the first. [B] int32. */
const NEXT: Draw = {
  shape: [],
  dtype: 'int32',
  values: ({ rows }) => Int32Array.from({ length: rows }, (_, row) => (row + 1) % rows),
};

/** Weights that leave out images without a label: [B], of mean 1, or all 0 if no image has a label. */
const labelledShares = ({ values: classesOf }: Draw, nullClass: number): Draw => ({
  shape: [],
  dtype: 'float32',
  values(batch) {
    const labelled = Array.from(classesOf(batch) as Int32Array, (label) => label !== nullClass);
    const count = labelled.filter(Boolean).length;
    return Float32Array.from(labelled, (counts) => (counts ? batch.rows / count : 0));
  },
});

const SETTINGS = fields({
  weight: numeric,
  /** Which other image the prediction is to be far from. */
  from: later(oneOf('next', 'random', 'other-class'), 'next'),
  /** Whether images whose label is dropped are left out. */
  labelled: later(truth, false),
});

export const deltaFM = method({
  name: 'delta-fm',
  options: options({
    contrastive: number(
      '--contrastive <w>',
      "weight of the distance to other images' velocities, which is made larger (Delta-FM: 0.05)",
      { min: 0, default: 0, onlyFor: 'SiT' },
    ),
    contrastiveFrom: choice(
      '--contrastive-from <which>',
      'the image beside it, any at random (Delta-FM), or one of another class',
      ['next', 'random', 'other-class'],
      { default: 'next', needs: 'contrastive' },
    ),
    contrastiveLabelled: flag('--contrastive-labelled', 'leave out images whose label is dropped', {
      needs: 'contrastive',
    }),
  }),
  presets: { 'delta-fm': { lambda: 0.5, contrastive: 0.05, 'contrastive-from': 'random' } },
  settings: SETTINGS,
  isOn: ({ contrastive }) => contrastive > 0,
  settle({ contrastive, contrastiveFrom, contrastiveLabelled = false }, { rows }): ShapeOf<typeof SETTINGS> {
    checkComparison('--contrastive', rows);
    return { weight: contrastive, from: contrastiveFrom, labelled: contrastiveLabelled };
  },
  draws: ({ from, labelled }, { y, model: { numClasses } }) => ({
    ...((from !== 'next' || labelled) && { other: from === 'next' ? NEXT : others(from === 'other-class', y) }),
    ...(labelled && { share: labelledShares(y, numClasses) }),
  }),
  outputTerms: ({ weight }, { latents: { predicted, wanted }, draws: { other, share } }) => [
    term('contrastive', -weight, () =>
      other ? drawnContrastiveLoss(predicted, wanted, other, share) : contrastiveLoss(predicted, wanted),
    ),
  ],
});
