/**
 * A trained model as samplers call it. What they move of one image is one row of numbers: the latent with all channels
 * that the network generates, then what is generated beside it.
 */
import { type ConditionalNetwork, type Times, timesOfRows, type Values } from '../diffusion/guidance.js';
import { type Captured, capture, type DeviceRows, type DeviceSpace, type TensorSpec, tf } from '../engine/index.js';
import { byClock } from '../models/channel-times.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import type { Parameters } from '../models/parameters.js';
import { companionSize, type Network, forward as networkForward } from '../repa/network.js';
import { projectedPatches } from '../repa/projected.js';
import { weakerPrediction } from '../repa/weaker.js';
import type { RunRecord } from '../training/record.js';
import { type Anchor, drawnTo } from './anchor.js';
import { guidedInside, type InternalGuidance } from './internal-guidance.js';

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

/**
 * States [N, S] as the network takes them: latents [N, C, h, w] and what is generated beside them, if anything, [N, Z].
 */
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
  const { x, companion } = unpackStates(record, states);
  const run = (x: tf.Tensor) => networkForward(parameters, record, { x, t, y, companion }, { weakened });
  const pass = run(x);
  let { output } = pass; // [N, C', h, w]
  if (internal) output = guidedInside(output, weakerPrediction(parameters, record, pass), t, internal);
  output = byClock(record.model, output, t);
  if (anchor) {
    const seen = (moving: tf.Tensor): tf.Tensor => projectedPatches(parameters, record, run(moving)); // [N, T, dim]
    output = tf.add(output, drawnTo(anchor, seen, x, t));
  }
  return { output: packStates(output, pass.companion), hidden: pass.hidden };
}

export interface CompileOptions extends PassOptions {
  /** `feed` where the parameters change between runs. */
  constants?: 'bake' | 'feed';
  /**
   * Of a network that draws from text: the vectors [N, L, D] of captions, whose numbers come in the place of labels.
   */
  prompts?: { vectors(numbers: Int32Array): Float32Array };
}

/** A network as samplers call it. */
export type CompiledNetwork<State = Values, Input = Float32Array> = ConditionalNetwork<Times, State, Input> & {
  dispose(): void;
};

/** The forward pass as a function of states [N, S], times [N] and labels [N] or captions [N, L, D]. */
function passOf(model: DiffusionModel, { prompts, constants: _constants, ...pass }: CompileOptions) {
  const { text } = model.record.model;
  return {
    compute: (x: tf.Tensor, t: tf.Tensor, y: tf.Tensor) => [forward(model, x, t, y, pass).output],
    inputs: (rows: number, state: 'float32' | 'float64'): TensorSpec[] => [
      { shape: [rows, stateSize(model.record)], dtype: state },
      { shape: [rows], dtype: 'float32' },
      text ? { shape: [rows, text.tokens, text.dim], dtype: 'float32' } : { shape: [rows], dtype: 'int32' },
    ],
    /** What the network is told: the same array of the same labels. */
    told: (labels: Int32Array): Int32Array | Float32Array => prompts?.vectors(labels) ?? labels,
  };
}

/**
 * The network as the samplers call it, compiled once for each number of rows that occurs (with guidance, twice the
 * batch as well).
 */
export function compiledNetwork(model: DiffusionModel, options: CompileOptions = {}): CompiledNetwork {
  const compiled = new Map<number, Captured>();
  const { constants = 'bake' } = options;
  const { compute, inputs, told } = passOf(model, options);
  const network = (x: Float32Array, t: Times, labels: Int32Array): Float32Array => {
    const rows = labels.length;
    const program = compiled.get(rows) ?? capture(compute, inputs(rows, 'float32'), { constants, byRow: true });
    compiled.set(rows, program);
    return program.run(x, timesOfRows(t, rows), told(labels))[0] as Float32Array;
  };
  return Object.assign(network, {
    dispose: () => {
      for (const program of compiled.values()) program.dispose();
    },
  });
}

/** The same of states that stay on a device. */
export function deviceNetwork(
  space: DeviceSpace,
  model: DiffusionModel,
  options: CompileOptions,
): CompiledNetwork<DeviceRows, DeviceRows> {
  const { compute, inputs, told } = passOf(model, options);
  const program = space.program(compute, (rows) => inputs(rows, 'float64'), options.constants ?? 'bake');
  const network = (x: DeviceRows, t: Times, labels: Int32Array): DeviceRows =>
    program.run(x, timesOfRows(t, labels.length), told(labels))[0];
  return Object.assign(network, { dispose: () => program.dispose() });
}
