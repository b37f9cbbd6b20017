/** Opens a trained model: the weights of a checkpoint, ours or an official one, and what is known of its latents. */
import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { DataError, UsageError } from '../errors.js';
import { chosenWeights, describeOfficial, type OfficialHints } from '../exchange/official-run.js';
import { type HostTensor, toFloat32 } from '../formats/host-tensor.js';
import { locateWeights } from '../hub/locate.js';
import { REGISTRY } from '../hub/registry.js';
import { checkFinite, matchWeights, toParameters, type Weights } from '../models/parameters.js';
import { bytesOf } from '../numbers/typed-array.js';
import { inUse } from '../options/resolve.js';
import { openOfficialCheckpoint, type StateDict } from '../pretrained/official-checkpoint.js';
import { companionSize, networkParameters } from '../repa/network.js';
import { findCheckpoint, readCheckpointPart, readCheckpointRecord } from '../training/checkpoint.js';
import type { RunRecord } from '../training/record.js';
import { type WeightsChoice, weightsName, weightsPart } from '../training/weights-choice.js';
import type { DiffusionModel } from './model.js';
import { CHECKPOINT_FILE } from './options.js';

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
  const facts = ({ record }: DiffusionModel): Record<string, unknown> => ({
    architecture: record.architecture,
    path: record.training.path,
    'latent shape': record.latent.shape.join(' x '),
    'number of classes': record.model.numClasses,
    'number of output channels': record.model.outChannels,
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
  return { source, record, parameters: toParameters(matched), weights, sha256 };
}

/** SHA-256 over the names and the values of weights. */
function weightsHash(weights: Weights): string {
  const hash = createHash('sha256');
  for (const name of [...weights.keys()].sort()) hash.update(`${name}\0`).update(bytesOf(weights.get(name)!.data));
  return hash.digest('hex');
}
