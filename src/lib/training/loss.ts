/**
 * What training minimises: the error of the velocity (SiT, arXiv 2401.08740) or of the noise and its variance (DiT,
 * arXiv 2102.09672), plus the weighted terms of the methods.
 */
import type { TrainingPath } from '../diffusion/interpolant.js';
import { alongPath, interpolate } from '../diffusion/interpolate.js';
import { velocityOfData } from '../diffusion/prediction.js';
import { tf } from '../engine/index.js';
import { channelTimes } from '../models/channel-times.js';
import type { Parameters } from '../models/parameters.js';
import { type ActiveMethod, activeMethods } from '../repa/methods.js';
import { forward, type Network, passOf } from '../repa/network.js';
import { type LossInputs, meanSquare, type OwnPass, type Pass, type Predicted } from '../repa/pass.js';
import { type Term, term } from '../repa/term.js';
import { pixelTimes, tokenTimes } from '../repa/token-times.js';
import { noisePass } from './noise-loss.js';

/** The sum to differentiate, and each term by name, unweighted. */
export interface Losses {
  total: tf.Tensor;
  [term: string]: tf.Tensor;
}

/**
 * The sum of weight * factor * value over the terms whose weight is not 0; a term's factor is [B], alike in each image.
 */
function weightedSum(terms: readonly Term[], factors: Readonly<Record<string, tf.Tensor>>): Losses {
  const computed = terms
    .filter(({ weight }) => weight !== 0)
    .map(({ name, weight, value }) => ({ name, weight, value: value() }));
  const weighted = computed.map(({ name, weight, value }) => {
    const weighed = weight === 1 ? value : tf.mul(value, weight);
    return factors[name] ? tf.mul(weighed, tf.mean(factors[name])) : weighed;
  });
  return { total: tf.addN(weighted), ...Object.fromEntries(computed.map(({ name, value }) => [name, value])) };
}

export interface LossOptions {
  path: TrainingPath;
  /** The channels that are the latents' own, the first; all by default. */
  channels?: number;
  /** The methods whose terms count; all that are on by default. */
  methods?: readonly ActiveMethod[];
  /** How many blocks are computed again in the backward pass. */
  checkpointBlocks?: number;
  /** The moving average of the parameters, for methods that it teaches. */
  average?: Parameters;
}

/** Under which name the factors of terms are drawn, as no method is called. */
export const FACTORS = 'term-schedule';

/** The loss of a network with parameters `p`, and its terms. */
export function trainingLoss(p: Parameters, network: Network, inputs: LossInputs, options: LossOptions): Losses {
  const { methods = activeMethods(network.methods) } = options;
  const own =
    network.architecture === 'SiT'
      ? velocityPass(p, network, inputs, options)
      : noisePass(p, network, inputs, options.checkpointBlocks);
  const passFor = ({ name }: { name: string }): Pass => ({ ...own.pass, draws: inputs.draws?.[name] ?? {} });
  const terms = (kind: 'outputTerms' | 'terms'): Term[] =>
    methods.flatMap(({ method, settings }) => method[kind]?.(settings, passFor(method)) ?? []);
  const all = [...own.terms, ...terms('outputTerms'), ...terms('terms')];
  return weightedSum(all, inputs.draws?.[FACTORS] ?? {});
}

/** SiT: x_t = alpha x + sigma e moves with v = alpha' x + sigma' e, and L = |v_theta(x_t, t) - v|^2. */
function velocityPass(p: Parameters, network: Network, inputs: LossInputs, options: LossOptions): OwnPass {
  const { x, noise, y, companion, features = [] } = inputs;
  const { path, channels = network.model.inChannels, checkpointBlocks, average } = options;

  /** The network on the images at times `t` [B]; in training, methods may give each patch one of its own. */
  function at(parameters: Parameters, t: tf.Tensor, training: boolean) {
    const ofPatches = training ? tokenTimes(network, inputs, t) : undefined; // [B, T]
    const times = ofPatches ? pixelTimes(network, ofPatches) : channelTimes(network.model, t); // [B], or with axes of x
    const state = interpolate(path, x, noise, times);
    const { xT, velocity, weight } = state; // [B, C, h, w] each
    const beside = companion && interpolate(path, companion.clean, companion.noise, t); // [B, Z]
    const given = training ? { draws: inputs.draws, checkpointBlocks } : {};
    const output = forward(parameters, network, { x: xT, t: ofPatches ?? t, y, companion: beside?.xT }, given);
    // The velocity that is wanted is bounded where that of the prediction is, so that a perfect one costs nothing.
    const wanted = network.model.prediction === 'data' ? velocityOfData(xT, x, t) : velocity; // [B, C, h, w]
    const velocityOf = (predicted: tf.Tensor): tf.Tensor => alongPath(path, output.velocityOf(predicted), xT);
    const [latents, added] = splitChannels({ predicted: alongPath(path, output.output, xT), wanted }, channels);
    return { output: { ...output, velocityOf }, latents, added, beside, weight };
  }

  const { output, latents, added, beside, weight } = at(p, inputs.t, true);
  const pass: OwnPass['pass'] = {
    ...passOf(p, network, output, features),
    latents,
    clean: x.shape[1] === channels ? x : tf.slice(x, [0, 0, 0, 0], [-1, channels, -1, -1]), // [B, C, h, w]
    channels: added,
    times: inputs.t,
    labels: y,
    companion: beside && { predicted: output.companion!, wanted: beside.velocity, clean: companion!.clean },
    average(t) {
      const other = at(average!, t, false);
      return { ...passOf(average!, network, other.output, features), latents: other.latents };
    },
  };
  const error = (): tf.Tensor => {
    if (!weight) return meanSquare(latents.predicted, latents.wanted);
    return tf.mean(tf.mul(weight, tf.squaredDifference(latents.predicted, latents.wanted)));
  };
  return { pass, terms: [term('velocity', 1, error)] };
}

/** The first `own` channels, and those that are added to them, if any. */
function splitChannels({ predicted, wanted }: Predicted, own: number): [Predicted, Predicted?] {
  const all = predicted.shape[1]!;
  if (own === all) return [{ predicted, wanted }];
  const [ofLatents, added] = tf.split(predicted, [own, all - own], 1); // [B, C, h, w], [B, K, h, w]
  const [wantedOfLatents, wantedOfAdded] = tf.split(wanted, [own, all - own], 1);
  return [
    { predicted: ofLatents, wanted: wantedOfLatents },
    { predicted: added, wanted: wantedOfAdded },
  ];
}
