/**
 * What the encoder learns from: the subcategory, category and words of an emoji, told by the class token and by the
 * mean of the patch tokens, and the pixels of hidden patches, told by each patch token (as SimMIM does, arXiv
 * 2111.09886).
 */

import type { TensorSpec } from '../../src/lib/engine/index.js';
import { tf } from '../../src/lib/engine/index.js';
import { vit } from '../../src/lib/models/vit.js';
import type { Emoji } from './dataset.js';
import { CONFIG, head, type Vocabulary } from './encoder-model.js';
import { PATCH_SIZE, PATCHES, VIEW_SHAPE } from './views.js';

const SMOOTHING = 0.1;
const CATEGORY_WEIGHT = 0.5;
const WORD_WEIGHT = 0.1;
/** A word has to name a few emoji to be worth learning. */
const FEWEST_USES = 4;

const wordsOf = ({ name }: Emoji): string[] => name.split(/[-_]/);

export function vocabularyOf(emoji: readonly Emoji[]): Vocabulary {
  const uses = new Map<string, Set<string>>();
  for (const each of emoji) {
    for (const word of wordsOf(each)) uses.set(word, (uses.get(word) ?? new Set()).add(each.codes));
  }
  return {
    subcategories: [...new Set(emoji.map(({ subcategory }) => subcategory))],
    categories: [...new Set(emoji.map(({ category }) => category))],
    words: [...uses].filter(([, codes]) => codes.size >= FEWEST_USES).map(([word]) => word),
  };
}

/** Shapes of the inputs of `encoderLoss`, in its order. */
export const lossInputs = (batch: number, { subcategories, categories, words }: Vocabulary): TensorSpec[] =>
  [VIEW_SHAPE, [subcategories.length], [categories.length], [words.length], [PATCHES, PATCH_SIZE], [PATCHES]].map(
    (shape) => ({ shape: [batch, ...shape], dtype: 'float32' }),
  );

/** Writes what the heads should say of one emoji. */
export function writeTargets(
  emoji: Emoji,
  { subcategories, categories, words }: Vocabulary,
  [subcategory, category, word]: readonly Float32Array[],
): void {
  subcategory.fill(SMOOTHING / subcategories.length);
  subcategory[subcategories.indexOf(emoji.subcategory)] += 1 - SMOOTHING;
  category.fill(SMOOTHING / categories.length);
  category[categories.indexOf(emoji.category)] += 1 - SMOOTHING;
  const own = new Set(wordsOf(emoji));
  words.forEach((candidate, i) => {
    word[i] = Number(own.has(candidate));
  });
}

/** Of logits [B, n] and the shares of the classes [B, n]. */
export const crossEntropy = (target: tf.Tensor, logits: tf.Tensor): tf.Tensor =>
  tf.neg(tf.mean(tf.sum(tf.mul(target, tf.logSoftmax(logits)), -1)));

/** Sum over independent yes-or-no questions: max(z, 0) - z y + log(1 + exp(-|z|)). */
const binaryCrossEntropy = (target: tf.Tensor, logits: tf.Tensor): tf.Tensor => {
  const rest = tf.log1p(tf.exp(tf.neg(tf.abs(logits))));
  return tf.mean(tf.sum(tf.add(tf.sub(tf.relu(logits), tf.mul(logits, target)), rest), -1));
};

/** Mean squared error of the hidden patches alone; `pixels` [B, T, P] and `mask` [B, T]. */
const hiddenError = (pixels: tf.Tensor, guess: tf.Tensor, mask: tf.Tensor): tf.Tensor =>
  tf.div(tf.sum(tf.mul(tf.mean(tf.square(tf.sub(guess, pixels)), -1), mask)), tf.add(tf.sum(mask), 1));

/** The loss and its parts for `views` [B, 3, S, S], some of whose patches are hidden. */
export function encoderLoss(p: Readonly<Record<string, tf.Tensor>>, inputs: readonly tf.Tensor[]): tf.Tensor[] {
  const [views, subcategory, category, word, pixels, mask] = inputs;
  const { patchTokens, cls } = vit(p, CONFIG, views); // [B, T, D], [B, D]
  const classes = (name: string, x: tf.Tensor): tf.Tensor =>
    tf.add(
      crossEntropy(subcategory, head(p, `${name}.subcategory`, x)),
      tf.mul(crossEntropy(category, head(p, `${name}.category`, x)), CATEGORY_WEIGHT),
    );
  const ofToken = classes('cls', cls!);
  const ofPatches = classes('patches', tf.mean(patchTokens, 1));
  const ofWords = binaryCrossEntropy(word, head(p, 'cls.word', cls!));
  const ofPixels = hiddenError(pixels, head(p, 'pixels', patchTokens), mask);
  const total = tf.addN([ofToken, ofPatches, tf.mul(ofWords, WORD_WEIGHT), ofPixels]);
  return [total, ofToken, ofPatches, ofWords, ofPixels];
}
