/** The loss of a DiT (arXiv 2102.09672): of the noise, and of the variance of the steps of DDPM. */
import { ddpmLoss, diffuse } from '../diffusion/ddpm-loss.js';
import { tf } from '../engine/index.js';
import type { Parameters } from '../models/parameters.js';
import { forward, type Network, passOf } from '../repa/network.js';
import type { LossInputs, OwnPass } from '../repa/pass.js';
import { term } from '../repa/term.js';

/** A pass with its two terms: the mean squared error of the noise, and the variational bound in bits per dimension. */
export function noisePass(p: Parameters, network: Network, inputs: LossInputs, checkpointBlocks?: number): OwnPass {
  const { x, noise, t, y, draws, features = [] } = inputs;
  const noisy = { x: diffuse(x, noise, t), t: tf.cast(t, 'float32'), y };
  const output = forward(p, network, noisy, { draws, checkpointBlocks });
  const { squaredError, bound } = ddpmLoss(output.output, x, noise, t); // [B] each
  const [predicted] = tf.split(output.output, 2, 1); // [B, C, h, w]
  const pass: OwnPass['pass'] = {
    ...passOf(p, network, output, features),
    latents: { predicted, wanted: noise },
    clean: x,
    times: noisy.t,
    labels: y,
    average() {
      throw new Error('a DiT has no teacher at other times');
    },
  };
  const terms = [term('noise', 1, () => tf.mean(squaredError)), term('bound', 1, () => tf.mean(bound))];
  return { pass, terms };
}
