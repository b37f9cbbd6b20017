/**
 * SRA (arXiv 2505.02831): an early block, through a head, follows a later block of the network's moving average, which
 * sees less of the same noise. Checked against the published code: losses and gradients (fixture published/sra).
 */
import { detach, tf } from '../engine/index.js';
import { count, fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import { fillUniform, PURPOSE } from '../numbers/random.js';
import { blockPair, number } from '../options/option.js';
import { options } from '../options/table.js';
import { studentAndTeacher } from './blocks.js';
import { headPlan, throughHead } from './double-width-head.js';
import { type Draw, method, term } from './method.js';

/** The name of the head in the published checkpoints. */
const HEAD = 'ap_head';

const SMOOTH_BETA = 0.05;

/** The mean smooth-L1 distance (beta 0.05) of `x` to `target`, into which no gradient flows: [...] each. */
export function smoothDistance(x: tf.Tensor, target: tf.Tensor): tf.Tensor {
  const distance = tf.abs(tf.sub(x, detach(target))); // [...]
  const near = tf.minimum(distance, SMOOTH_BETA); // [...]; squared up to beta, linear beyond
  return tf.mean(tf.add(tf.div(tf.square(near), 2 * SMOOTH_BETA), tf.sub(distance, near)));
}

/** Times that are smaller than `t` by at most `most`, and never below 0: [B]. */
const earlierTimes = ({ values, ...spec }: Draw, most: number): Draw => ({
  ...spec,
  values(batch) {
    const share = new Float32Array(1);
    return Float32Array.from(values(batch) as Float32Array, (t, row) => {
      fillUniform(share, batch.seed, PURPOSE.teacherTime, batch.position + row, batch.step);
      return Math.max(0, t - most * share[0]);
    });
  },
});

const SETTINGS = fields({
  weight: numeric,
  block: count,
  teacher: count,
  /** By how much the teacher's time is smaller at most. */
  maxTimeShift: numeric,
});

/** The paper's choice. */
const MAX_TIME_SHIFT = 0.2;

/** The paper's teachers are block 20 of 28 and 8 of 12. */
const TEACHER = 0.7;

export const sra = method({
  name: 'sra',
  options: options({
    sra: number('--sra <w>', 'weight of a block following a later one of the moving average at less noise (SRA: 0.2)', {
      min: 0,
      default: 0,
      onlyFor: 'SiT',
    }),
    sraBlocks: blockPair('--sra-blocks <pair>', 'which follows which, such as 8,20', { needs: 'sra' }),
  }),
  presets: { sra: { lambda: 0, sra: 0.2 } },
  settings: SETTINGS,
  isOn: ({ sra }) => sra > 0,
  settle: ({ sra, sraBlocks }, { model }): ShapeOf<typeof SETTINGS> => ({
    weight: sra,
    ...studentAndTeacher('--sra-blocks', sraBlocks, model, TEACHER),
    maxTimeShift: MAX_TIME_SHIFT,
  }),
  recognise: (shapes, { depth }) =>
    shapes.has(`${HEAD}.linear1.weight`)
      ? { weight: 0.2, block: 1, teacher: depth, maxTimeShift: MAX_TIME_SHIFT }
      : undefined,
  parameters: (_, { model: { hiddenSize } }) => headPlan(HEAD, hiddenSize),
  draws: ({ maxTimeShift }, { t }) => ({ t: earlierTimes(t, maxTimeShift) }),
  teacher: true,
  whole: ({ block }) => ({ option: '--sra', blocks: [block] }),
  terms({ weight, block, teacher }, { p, hidden, average, draws: { t } }) {
    const value = (): tf.Tensor => {
      const followed = average(t).hidden(teacher); // [B, T, D]
      return smoothDistance(throughHead(p, HEAD, hidden(block)), followed);
    };
    return [term('self_alignment', weight, value)];
  },
});
