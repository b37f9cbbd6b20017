/**
 * Channels that are ahead of the others on the way from noise to data (SFD, arXiv 2512.04926, section 3.2). With a
 * clock t that runs from 1 to 0 and a lead d, the first channels are at time min((1 + d) t, 1), and the last, which
 * lead, at max((1 + d) t - d, 0): the last start alone, and the first finish alone. Checked against the published code
 * (fixture published/sfd).
 */
import { tf } from '../engine/index.js';
import { timestepEmbedding } from '../nn/embeddings.js';
import { dense, type Parameters } from '../nn/layers.js';
import type { TransformerConfig } from './dit-sizes.js';
import { linearPlan, type PlannedParameter } from './start.js';

type Lead = NonNullable<TransformerConfig['lead']>;

/** The times of the channels behind and of those that lead, [B] each, at the clock `t` [B]. */
function timesOf({ by }: Lead, t: tf.Tensor): { behind: tf.Tensor; leading: tf.Tensor } {
  const longer = tf.mul(t, 1 + by); // [B]
  return { behind: tf.minimum(longer, 1), leading: tf.maximum(tf.sub(longer, by), 0) };
}

/** One value for the first channels and one for the last, [B] each, as [B, C, 1, 1]. */
function ofChannels({ channels }: Lead, inChannels: number, behind: tf.Tensor, leading: tf.Tensor): tf.Tensor {
  const each = (value: tf.Tensor, count: number): tf.Tensor =>
    tf.tile(tf.reshape(value, [-1, 1, 1, 1]), [1, count, 1, 1]);
  return tf.concat([each(behind, inChannels - channels), each(leading, channels)], 1);
}

/** The time of each channel, [B, C, 1, 1], at the clock `t` [B]; `t` itself where none leads. */
export function channelTimes({ lead, inChannels }: TransformerConfig, t: tf.Tensor): tf.Tensor {
  if (!lead) return t;
  const { behind, leading } = timesOf(lead, t);
  return ofChannels(lead, inChannels, behind, leading);
}

/**
 * Turns velocities with respect to each channel's own time, [B, C, h, w], into velocities with respect to the clock `t`
 * [B]: 0 where a channel has not started, or has arrived.
 */
export function byClock({ lead, inChannels }: TransformerConfig, velocity: tf.Tensor, t: tf.Tensor): tf.Tensor {
  if (!lead) return velocity;
  const longer = tf.mul(t, 1 + lead.by); // [B]
  const rate = (moves: tf.Tensor): tf.Tensor => tf.mul(tf.cast(moves, 'float32'), 1 + lead.by); // [B]
  const [behind, leading] = [rate(tf.lessEqual(longer, 1)), rate(tf.greaterEqual(longer, lead.by))];
  return tf.mul(velocity, ofChannels(lead, inChannels, behind, leading));
}

/** The embeddings of the two times, each of half the width; that of the leading channels comes first. */
const HALVES = ['t_embedder_sem', 't_embedder_tex'] as const;

export const leadPlan = (hiddenSize: number, features: number): PlannedParameter[] =>
  HALVES.flatMap((name) => [
    ...linearPlan(`${name}.mlp.0`, hiddenSize / 2, features, 'normal'),
    ...linearPlan(`${name}.mlp.2`, hiddenSize / 2, hiddenSize / 2, 'normal'),
  ]);

/** The embedding of both times, [B, D]; `t` [B] is the clock, in the direction of the network's time. */
export function leadEmbedding(
  p: Parameters,
  { lead, reversedTime }: TransformerConfig,
  t: tf.Tensor,
  features: number,
): tf.Tensor {
  const own = (time: tf.Tensor): tf.Tensor => (reversedTime ? tf.sub(1, time) : time);
  const { behind, leading } = timesOf(lead!, own(t));
  const halves = [leading, behind].map((time, i) => {
    const embedded = dense(p, `${HALVES[i]}.mlp.0`, timestepEmbedding(own(time), features));
    return dense(p, `${HALVES[i]}.mlp.2`, embedded, 'silu'); // [B, D / 2]
  });
  return tf.concat(halves, 1);
}
