/** The patches of a network as features see them, through the projector of the aligned block. */
import type { tf } from '../engine/index.js';
import type { Parameters } from '../models/parameters.js';
import { activeMethods } from './methods.js';
import { type ForwardOutput, type Network, surroundingsOf } from './network.js';

/** Tokens and width of what the projector gives of an image; undefined where there is none. */
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
