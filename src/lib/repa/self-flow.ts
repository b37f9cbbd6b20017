/**
 * Self-Flow (arXiv 2603.06507): a share of an image's tokens has another time than the rest, so that the network has to
 * infer what is noisier from what is cleaner; and an early block, through a head, follows a later block of the moving
 * average, which sees all of the image at the earlier of the two times. No training code of the authors is public.
 * Checked against that of arXiv 2607.02508, with the cosine over features, which that code takes over tokens: losses
 * and gradients (fixture published/self-flow).
 */
import { detach, tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { count, fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import { PURPOSE, permutation } from '../numbers/random.js';
import { blockPair, number } from '../options/option.js';
import { options } from '../options/table.js';
import { studentAndTeacher } from './blocks.js';
import { cosineSimilarity } from './cosine.js';
import { headPlan, throughHead } from './double-width-head.js';
import { type Draw, method, term } from './method.js';

/** The name of the head in the published checkpoints. */
const HEAD = 'projector';

/**
 * 1 - the mean cosine of a block's tokens, through the head, and the teacher's, into which no gradient flows; [B, T, D]
 * both.
 */
export const selfFlowLoss = (tokens: tf.Tensor, teacher: tf.Tensor): tf.Tensor =>
  tf.sub(1, tf.mean(cosineSimilarity(tokens, detach(teacher))));

/** An offset past the rows of any batch, so that the second times are drawn independently of the first. */
const OTHER_ROWS = 2 ** 31;

/** A second time of each image, drawn as the first is: [B]. */
const secondTimes = ({ values, ...spec }: Draw): Draw => ({
  ...spec,
  values: (batch) => values({ ...batch, position: batch.position + OTHER_ROWS }),
});

/** The earlier of two times: [B]. */
const earlier = (first: Draw, second: Draw): Draw => ({
  ...first,
  values(batch) {
    const others = second.values(batch);
    return Float32Array.from(first.values(batch) as Float32Array, (t, row) => Math.min(t, Number(others[row])));
  },
});

/** Which of an image's tokens have the second time: 1 for `chosen` of them at random, 0 for the others, [B, T]. */
const tokensChosen = (tokens: number, chosen: number): Draw => ({
  shape: [tokens],
  dtype: 'float32',
  values({ rows, seed, step, position }) {
    const out = new Float32Array(rows * tokens);
    for (let row = 0; row < rows; row++) {
      const order = permutation(tokens, seed, PURPOSE.tokenTimes, step, position + row);
      for (const token of order.subarray(0, chosen)) out[row * tokens + token] = 1;
    }
    return out;
  },
});

const SETTINGS = fields({
  weight: numeric,
  block: count,
  teacher: count,
  /** Share of the tokens that have the second time. */
  share: numeric,
});

/** The paper's teacher is block 20 of 28. */
const TEACHER = 20 / 28;

/** @throws UsageError for parts of a network that have no tokens of the image to give times to */
function checkNetwork(model: TransformerConfig): void {
  const part = model.head ? '--wide-head' : model.context ? '--context-tokens' : undefined;
  if (part === undefined && model.prediction === undefined) return;
  throw new UsageError(
    `--self-flow gives each patch a time of its own, which ${part ?? '--prediction data'} has no place for`,
    'Drop one of them.',
  );
}

export const selfFlow = method({
  name: 'self-flow',
  options: options({
    selfFlow: number(
      '--self-flow <w>',
      'weight of a block following a later one of the moving average, with two times an image (Self-Flow: 0.5)',
      { min: 0, default: 0, onlyFor: 'SiT', conflicts: ['--class-token'] },
    ),
    selfFlowBlocks: blockPair('--self-flow-blocks <pair>', 'which follows which, such as 8,20', { needs: 'selfFlow' }),
    selfFlowShare: number('--self-flow-share <p>', 'share of the tokens that have the second time', {
      above: 0,
      below: 1,
      default: 0.25,
      needs: 'selfFlow',
    }),
  }),
  presets: { 'self-flow': { lambda: 0, 'self-flow': 0.5 } },
  settings: SETTINGS,
  isOn: ({ selfFlow }) => selfFlow > 0,
  settle({ selfFlow, selfFlowBlocks, selfFlowShare }, { model }): ShapeOf<typeof SETTINGS> {
    checkNetwork(model);
    const blocks = studentAndTeacher('--self-flow-blocks', selfFlowBlocks, model, TEACHER);
    return { weight: selfFlow, ...blocks, share: selfFlowShare };
  },
  recognise: (shapes, { depth }) =>
    shapes.has(`${HEAD}.linear1.weight`) ? { weight: 0.5, block: 1, teacher: depth, share: 0.25 } : undefined,
  parameters: (_, { model: { hiddenSize } }) => headPlan(HEAD, hiddenSize),
  draws({ share }, { t, tokens, training }): Readonly<Record<string, Draw>> {
    if (!training) return { teacher: t };
    const second = secondTimes(t);
    return { second, chosen: tokensChosen(tokens, Math.round(share * tokens)), teacher: earlier(t, second) };
  },
  tokenTimes(_, { second, chosen }, t) {
    if (!second) return undefined;
    const [first, other] = [t, second].map((times) => tf.expandDims(times, 1)); // [B, 1]
    return tf.add(first, tf.mul(chosen, tf.sub(other, first))); // [B, T]
  },
  teacher: true,
  whole: (_, { depth }) => ({ option: '--self-flow', blocks: Array.from({ length: depth }, (_, i) => i + 1) }),
  terms({ weight, block, teacher }, { p, hidden, average, draws }) {
    const value = (): tf.Tensor => {
      const followed = average(draws.teacher).hidden(teacher); // [B, T, D]
      return selfFlowLoss(throughHead(p, HEAD, hidden(block)), followed);
    };
    return [term('self_flow', weight, value)];
  },
});
