/** Weaker predictions of a network, which guidance moves away from. */
import type { tf } from '../engine/index.js';
import type { Parameters } from '../models/parameters.js';
import { activeMethods } from './methods.js';
import type { ForwardOutput, Network } from './network.js';

/** Whether a network can leave out what makes its prediction strong. */
export const hasWeakened = ({ methods }: Pick<Network, 'methods'>): boolean =>
  activeMethods(methods).some(({ method }) => method.weakened);

/** Whether a network has a weaker prediction to move away from. */
export const hasWeaker = ({ methods }: Pick<Network, 'methods'>): boolean =>
  activeMethods(methods).some(({ method }) => method.weaker);

/** The weaker prediction of a pass as a velocity, [B, C, h, w]. @throws Error where there is none */
export function weakerPrediction(p: Parameters, { model, methods }: Network, pass: ForwardOutput): tf.Tensor {
  const active = activeMethods(methods).find(({ method }) => method.weaker);
  if (!active) throw new Error('no method of this network makes a weaker prediction');
  const seen = { model, condition: pass.condition, hidden: (block: number) => pass.hidden[block - 1] };
  return pass.velocityOf(active.method.weaker!(active.settings, p, seen));
}
