/**
 * A trained model as samplers call it. What they move of one image is one row of numbers: the latent with all channels that the
 * network generates, then what is generated beside it.
 */
import { type ConditionalNetwork, type Times, timesOfRows } from '../diffusion/guidance.js';
import { type Captured, capture, tf } from '../engine/index.js';
import { byClock } from '../models/channel-times.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import type { Parameters } from '../models/parameters.js';
import { companionSize, type Network, forward as networkForward } from '../repa/network.js';
import { projectedPatches } from '../repa/projected.js';
import { weakerPrediction } from '../repa/weaker.js';
import type { RunRecord } from '../training/record.js';
import { type Anchor, anchorEnergy, anchoredVelocity } from './anchor.js';

export interface DiffusionModel {
  /** The checkpoint's folder or file. */
  source: string;
  record: RunRecord;
  parameters: Parameters;
  /** Of weights that were loaded, and are not in training, which of the checkpoint they are: `raw`, `ema 0.9999`. */
  weights?: string;
  /** Of these too: a checkpoint of the same name may hold others tomorrow. */
  sha256?: string;
}

const latentSize = ({ inChannels, inputSize }: TransformerConfig): number => inChannels * inputSize ** 2;

export const stateSize = (network: Network): number => latentSize(network.model) + companionSize(network);

/** States [N, S] as the network takes them: latents [N, C, h, w] and what is generated beside them, if anything, [N, Z]. */
function unpackStates(network: Network, states: tf.Tensor): { x: tf.Tensor; companion?: tf.Tensor } {
  const { inChannels, inputSize } = network.model;
  const beside = companionSize(network);
  const shape = [states.shape[0], inChannels, inputSize, inputSize];
  if (beside === 0) return { x: tf.reshape(states, shape) };
  const [latents, companion] = tf.split(states, [latentSize(network.model), beside], 1);
  return { x: tf.reshape(latents, shape), companion };
}

/** A prediction [N, C', h, w], and one of what is beside [N, Z], in the layout of states. */
function packStates(prediction: tf.Tensor, companion?: tf.Tensor): tf.Tensor {
  const rows = tf.reshape(prediction, [prediction.shape[0], -1]); // [N, C' * h * w]
  return companion ? tf.concat([rows, companion], 1) : rows;
}

interface Prediction {
  /** A SiT's velocity or a DiT's noise and variance, of a state: [N, S] or [N, 2S]. */
  output: tf.Tensor;
  /** The tokens after each block, [N, T, D]. */
  hidden: tf.Tensor[];
}

/** Moves the prediction away from a weaker one of the same pass (arXiv 2512.24176), at times from `low` to `high`. */
export interface InternalGuidance {
  /** The weight w of weaker + w (own - weaker). */
  scale: number;
  low: number;
  high: number;
}

export interface PassOptions {
  /** Guidance inside the network. */
  internal?: InternalGuidance;
  /** Whether methods leave out what makes the prediction strong. */
  weakened?: boolean;
  /** What samples are drawn to. */
  anchor?: Anchor;
}

/** The forward pass of states [N, S] at times [N]. */
export function forward(
  { record, parameters }: DiffusionModel,
  states: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
  { internal, weakened, anchor }: PassOptions = {},
): Prediction {
  const { x, companion: beside } = unpackStates(record, states);
  const pass = networkForward(parameters, record, { x, t, y, companion: beside }, { weakened });
  const { companion, hidden } = pass;
  const moving = internal
    ? guidedInside(pass.output, weakerPrediction(parameters, record, pass), t, internal)
    : pass.output;
  const own = byClock(record.model, moving, t);
  if (!anchor) return { output: packStates(own, companion), hidden };
  const energy = (moving: tf.Tensor): tf.Tensor => {
    const seen = networkForward(parameters, record, { x: moving, t, y, companion: beside }, { weakened });
    return tf.sum(anchorEnergy(projectedPatches(parameters, record, seen), anchor));
  };
  const drawn = anchoredVelocity(tf.grad(energy)(x), t, anchor); // [N, C, h, w]
  return { output: packStates(tf.add(own, drawn), companion), hidden };
}

/** weaker + scale (own - weaker) of the rows whose time is in the interval; `own`, `weaker` [N, C, h, w], `t` [N]. */
function guidedInside(
  own: tf.Tensor,
  weaker: tf.Tensor,
  t: tf.Tensor,
  { scale, low, high }: InternalGuidance,
): tf.Tensor {
  const guided = tf.add(weaker, tf.mul(tf.sub(own, weaker), scale)); // [N, C, h, w]
  const inside = tf.logicalAnd(tf.greaterEqual(t, low), tf.lessEqual(t, high)); // [N]
  return tf.where(tf.broadcastTo(tf.reshape(inside, [-1, 1, 1, 1]), own.shape), guided, own); // [N, C, h, w]
}

export interface CompileOptions extends PassOptions {
  /** `feed` where the parameters change between runs. */
  constants?: 'bake' | 'feed';
  /** Of a network that draws from text: the vectors [N, L, D] of captions, whose numbers come in the place of labels. */
  prompts?: { vectors(numbers: Int32Array): Float32Array };
}

/**
 * The network as the samplers call it, compiled once for each number of rows that occurs (with guidance, twice the batch
 * as well).
 */
export function compiledNetwork(
  model: DiffusionModel,
  { constants = 'bake', prompts, ...pass }: CompileOptions = {},
): ConditionalNetwork<Times> & { dispose(): void } {
  const compiled = new Map<number, Captured>();
  const { text } = model.record.model;
  const compile = (rows: number): Captured =>
    capture(
      (x, t, y) => [forward(model, x, t, y, pass).output],
      [
        { shape: [rows, stateSize(model.record)], dtype: 'float32' },
        { shape: [rows], dtype: 'float32' },
        text ? { shape: [rows, text.tokens, text.dim], dtype: 'float32' } : { shape: [rows], dtype: 'int32' },
      ],
      { constants, byRow: true },
    );
  const network = (x: Float32Array, t: Times, labels: Int32Array): Float32Array => {
    const rows = labels.length;
    const program = compiled.get(rows) ?? compile(rows);
    compiled.set(rows, program);
    const wanted = prompts?.vectors(labels) ?? labels;
    return program.run(x, timesOfRows(t, rows), wanted)[0] as Float32Array;
  };
  return Object.assign(network, {
    dispose: () => {
      for (const program of compiled.values()) program.dispose();
    },
  });
}
