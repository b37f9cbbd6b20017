/** Gradient checkpointing: less memory for more time. */
import { checkpoint, type tf } from '../engine/index.js';
import { block } from './dit-parts.js';

/** `block`, computed again in the backward pass instead of kept for it: all that it reads becomes an input. */
export const checkpointedBlock: typeof block = (p, name, config, x, c, { rotary, values } = {}) => {
  const names = Object.keys(p).filter((key) => key.startsWith(`${name}.`));
  const besides = [...(rotary ? [rotary.cos, rotary.sin] : []), ...(values ? [values] : [])];
  // With condition tokens the block does not read `c`; an input that is not read would have no gradient.
  const modulating = config.conditionTokens ? [] : [c];
  const run = (x: tf.Tensor, ...inputs: tf.Tensor[]) => {
    const others = inputs.slice(modulating.length);
    const given = others.slice(0, besides.length);
    const weights = names.map((key, i) => [key, others[besides.length + i]]);
    const own = { rotary: rotary && { cos: given[0], sin: given[1] }, values: values && given.at(-1) };
    return block(Object.fromEntries(weights), name, config, x, modulating.length > 0 ? inputs[0] : c, own);
  };
  return checkpoint(run, [x, ...modulating, ...besides, ...names.map((key) => p[key])]);
};
