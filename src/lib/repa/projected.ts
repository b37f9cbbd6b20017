/** The patches of the aligned block through its projector: what is compared with an encoder's features. */
import type { tf } from '../engine/index.js';
import type { Parameters } from '../models/parameters.js';
import { activeMethods } from './methods.js';
import { type ForwardOutput, type Network, surroundingsOf } from './network.js';

/** How many tokens the projector gives for an image, and their width; undefined where there is no projector. */
export function projectedShape({ model, methods }: Pick<Network, 'model' | 'methods'>) {
  return activeMethods(methods)
    .map(({ method, settings }) => method.projectedShape?.(settings, model))
    .find((shape) => shape !== undefined);
}

/** The patches of a pass through the projector, [B, T, dim]. @throws Error where there is none */
export function projectedPatches(p: Parameters, network: Network, { hidden }: ForwardOutput): tf.Tensor {
  const aligned = activeMethods(network.methods).find(({ method }) => method.projected);
  if (!aligned) throw new Error('no method of this network has a projector');
  const { model, variant } = surroundingsOf(network);
  return aligned.method.projected!(aligned.settings, p, { model, variant, hidden: (block) => hidden[block - 1] });
}
