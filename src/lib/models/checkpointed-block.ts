/** Less memory for more time: a block that keeps nothing for its gradients. */
import { checkpoint, type tf } from '../engine/index.js';
import { block } from './dit-parts.js';

/** `block`, computed again in the backward pass instead of kept for it: whatever it reads is an input of it. */
export const checkpointedBlock: typeof block = (p, name, config, x, c, { rotary, values } = {}) => {
  const names = Object.keys(p).filter((key) => key.startsWith(`${name}.`));
  const besides = [...(rotary ? [rotary.cos, rotary.sin] : []), ...(values ? [values] : [])];
  const run = (x: tf.Tensor, c: tf.Tensor, ...others: tf.Tensor[]) => {
    const given = others.slice(0, besides.length);
    const weights = names.map((key, i) => [key, others[besides.length + i]]);
    const inputs = { rotary: rotary && { cos: given[0], sin: given[1] }, values: values && given.at(-1) };
    return block(Object.fromEntries(weights), name, config, x, c, inputs);
  };
  return checkpoint(run, [x, c, ...besides, ...names.map((key) => p[key])]);
};
