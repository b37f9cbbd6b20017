/** A trained model ready to sample: the weights of a checkpoint, ours or an official one, and what is known of its latents. */
import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { type ConditionalNetwork, type Times, timesOfRows } from '../diffusion/guidance.js';
import { type Captured, capture, tf } from '../engine/index.js';
import { DataError, UsageError } from '../errors.js';
import { chosenWeights, describeOfficial, type OfficialHints } from '../exchange/official-run.js';
import { type HostTensor, toFloat32 } from '../formats/host-tensor.js';
import { locateWeights } from '../hub/locate.js';
import { REGISTRY } from '../hub/registry.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import { checkFinite, matchWeights, type Parameters, toParameters, type Weights } from '../models/parameters.js';
import { bytesOf } from '../numbers/typed-array.js';
import { inUse } from '../options/resolve.js';
import { openOfficialCheckpoint, type StateDict } from '../pretrained/official-checkpoint.js';
import { companionSize, forward as networkForward, networkParameters, weakerPrediction } from '../repa/network.js';
import { findCheckpoint, readCheckpointPart, readCheckpointRecord } from '../training/checkpoint.js';
import type { RunRecord } from '../training/record.js';
import { type WeightsChoice, weightsName, weightsPart } from '../training/weights-choice.js';
import { CHECKPOINT_FILE } from './options.js';
import { packStates, stateSize, unpackStates } from './state.js';

export interface DiffusionModel {
  /** The checkpoint's folder or file. */
  source: string;
  record: RunRecord;
  config: TransformerConfig;
  parameters: Parameters;
  /** Of weights that were loaded, and are not in training, which of the checkpoint they are: `raw`, `ema 0.9999`. */
  weights?: string;
  /** Of these too: a checkpoint of the same name may hold others tomorrow. */
  sha256?: string;
}

export interface ModelOptions extends OfficialHints, WeightsChoice {}

/** Whether `location` is a file of official weights or the name of published ones, and not a folder of ours. */
export const isWeightsFile = (location: string): boolean =>
  statSync(location, { throwIfNoEntry: false })?.isFile() ?? REGISTRY.has(location);

/**
 * Refuses what a training folder tells itself.
 * @param guide a checkpoint that guides, of which the hints may be
 * @throws UsageError
 */
export function checkHints(ckpt: string, hints: OfficialHints, guide?: string): void {
  if (isWeightsFile(ckpt) || (guide !== undefined && isWeightsFile(guide))) return;
  const given = inUse(CHECKPOINT_FILE, hints).map(({ long }) => long);
  if (given.length === 0) return;
  throw new UsageError(
    `${given.join(', ')}: of a checkpoint file, but ${ckpt} is a folder, which tells what it holds`,
    'Drop it, or name a file with --ckpt.',
  );
}

/**
 * Loads a checkpoint: a moving average of its weights, or with `raw` the weights themselves.
 * @param location a training folder, a checkpoint in one, a file of the official code or of published weights, or the
 *   name of such weights
 * @param options hints count for files: a folder tells what it holds
 * @throws MissingInputError when there is none; DataError when it holds another architecture; UsageError when a file
 *   does not tell enough, or a checkpoint has no such weights; DataError also for weights that are not finite
 */
export function loadDiffusionModel(location: string, options: ModelOptions = {}): DiffusionModel {
  if (isWeightsFile(location)) return loadOfficial(location, options);
  const source = findCheckpoint(location);
  const record = readCheckpointRecord(source);
  const part = weightsPart(record, options);
  return assemble(source, record, weightsName(record, options), readCheckpointPart(source, part));
}

/**
 * Loads the checkpoint that guides `model`: of the same architecture and latents.
 * @throws DataError when the two do not fit, and as loadDiffusionModel
 */
export function loadGuide(location: string, model: DiffusionModel, options: ModelOptions): DiffusionModel {
  const family = options.model?.replace(/-.*/, ''); // of any size
  const guide = loadDiffusionModel(location, { ...options, model: family });
  const facts = ({ record, config }: DiffusionModel): Record<string, unknown> => ({
    architecture: record.architecture,
    path: record.training.path,
    'latent shape': record.latent.shape.join(' x '),
    'number of classes': config.numClasses,
    'number of output channels': config.outChannels,
    'size of what is generated beside': companionSize(record),
  });
  const own = facts(model);
  for (const [name, value] of Object.entries(facts(guide))) {
    if (value === own[name]) continue;
    throw new DataError(`${guide.source} cannot guide ${model.source}: its ${name} is ${value}, not ${own[name]}`);
  }
  return guide;
}

function loadOfficial(location: string, { raw = false, ema, ...hints }: ModelOptions): DiffusionModel {
  const file = existsSync(location) ? location : locateWeights(location);
  const checkpoint = openOfficialCheckpoint(file, hints.key);
  try {
    const model = hints.model ?? REGISTRY.get(location)?.model;
    const described = describeOfficial(checkpoint, { ...hints, model });
    const weights = chosenWeights(checkpoint, described, { raw, ema });
    return assemble(file, described.record, weights, readAll(raw ? checkpoint.model : checkpoint.ema));
  } finally {
    checkpoint.close();
  }
}

function* readAll(weights: StateDict): Generator<[string, HostTensor]> {
  for (const [name, tensor] of weights) yield [name, tensor.read()];
}

function assemble(
  source: string,
  record: RunRecord,
  weights: string,
  tensors: Iterable<[string, HostTensor]>,
): DiffusionModel {
  const read: Weights = new Map();
  for (const [name, tensor] of tensors) {
    read.set(name, { shape: tensor.shape, data: checkFinite(toFloat32(tensor), name, source) });
  }
  const matched = matchWeights(read, networkParameters(record), source);
  const sha256 = weightsHash(matched);
  return { source, record, config: record.model, parameters: toParameters(matched), weights, sha256 };
}

/** SHA-256 over the names and the values of weights. */
function weightsHash(weights: Weights): string {
  const hash = createHash('sha256');
  for (const name of [...weights.keys()].sort()) hash.update(`${name}\0`).update(bytesOf(weights.get(name)!.data));
  return hash.digest('hex');
}

export interface Prediction {
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
}

/** The forward pass of states [N, S] at times [N]. */
export function forward(
  { record, parameters }: DiffusionModel,
  states: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
  { internal, weakened }: PassOptions = {},
): Prediction {
  const pass = networkForward(parameters, record, { ...unpackStates(record, states), t, y }, { weakened });
  const { companion, hidden } = pass;
  const output = internal
    ? guidedInside(pass.output, weakerPrediction(parameters, record, pass), t, internal)
    : pass.output;
  return { output: packStates(output, companion), hidden };
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

/**
 * The network as the samplers call it, compiled once for each number of rows that occurs (with guidance, twice the batch
 * as well).
 * @param options `constants` are `feed` where the parameters change between runs
 */
export function compiledNetwork(
  model: DiffusionModel,
  { constants = 'bake', ...pass }: PassOptions & { constants?: 'bake' | 'feed' } = {},
): ConditionalNetwork<Times> & { dispose(): void } {
  const compiled = new Map<number, Captured>();
  const compile = (rows: number): Captured =>
    capture(
      (x, t, y) => [forward(model, x, t, y, pass).output],
      [
        { shape: [rows, stateSize(model.record)], dtype: 'float32' },
        { shape: [rows], dtype: 'float32' },
        { shape: [rows], dtype: 'int32' },
      ],
      { constants },
    );
  const network = (x: Float32Array, t: Times, labels: Int32Array): Float32Array => {
    const rows = labels.length;
    const program = compiled.get(rows) ?? compile(rows);
    compiled.set(rows, program);
    return program.run(x, timesOfRows(t, rows), labels)[0] as Float32Array;
  };
  return Object.assign(network, {
    dispose: () => {
      for (const program of compiled.values()) program.dispose();
    },
  });
}
