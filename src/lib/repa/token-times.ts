/** Methods that give each patch a time of its own. */
import { tf } from '../engine/index.js';
import { activeMethods } from './methods.js';
import type { Network } from './network.js';
import type { LossInputs } from './pass.js';

/** The time of each patch, [B, T]; undefined where no method gives one. */
export const tokenTimes = ({ methods }: Network, { draws }: LossInputs, t: tf.Tensor): tf.Tensor | undefined =>
  activeMethods(methods)
    .map(({ method, settings }) => method.tokenTimes?.(settings, draws?.[method.name] ?? {}, t))
    .find((times) => times !== undefined);

/** Spreads the times of patches, [B, T], over their pixels: [B, 1, h, w]. */
export function pixelTimes({ model: { inputSize, patchSize } }: Network, times: tf.Tensor): tf.Tensor {
  const side = inputSize / patchSize;
  const cells = tf.tile(tf.reshape(times, [-1, side, 1, side, 1]), [1, 1, patchSize, 1, patchSize]);
  return tf.reshape(cells, [-1, 1, inputSize, inputSize]);
}
