import { computedAgain } from '../graph/value.js';
import * as tf from '../tfjs.js';
import { runKernel } from './kernel.js';

/**
 * fn(...inputs), of which only the inputs are kept for the backward pass: what `fn` computes on the way is computed
 * again then (gradient checkpointing, arXiv 1604.06174). Gradients reach the inputs only, so that weights have to be
 * among them.
 */
export function checkpoint(fn: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: readonly tf.Tensor[]): tf.Tensor {
  const forgetful = tf.customGrad((...parameters) => {
    const save = parameters.pop() as unknown as tf.GradSaveFunc;
    const given = parameters as tf.Tensor[];
    save(given);
    return {
      value: fn(...given),
      gradFunc: (dy: tf.Tensor, [first, ...others]: tf.Tensor[]) =>
        gradients(
          (...again) => computedAgain(() => fn(...again)),
          [runKernel('After', { x: first, other: dy }), ...others],
          dy,
        ),
    };
  });
  return forgetful(...inputs);
}

/** The gradients of `fn`, taken in the middle of a backward pass. */
function gradients(fn: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[], dy: tf.Tensor): tf.Tensor[] {
  // A differentiation resets the tape when it ends, but the pass around it has yet to clean up its own.
  const { state } = tf.engine();
  const { activeTape } = state;
  const results = tf.grads(fn)(inputs, dy);
  state.activeTape = activeTape;
  return results;
}
