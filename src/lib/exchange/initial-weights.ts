/** Weights that a run may start from: a training folder, a checkpoint in it, a file of anybody's, or published ones. */
import { existsSync, statSync } from 'node:fs';
import { portablePath } from '../files/portable-path.js';
import { sha256Of } from '../files/sha256.js';
import { toFloat32 } from '../formats/host-tensor.js';
import { locateWeights } from '../hub/locate.js';
import { REGISTRY } from '../hub/registry.js';
import { checkFinite } from '../models/parameters.js';
import { openOfficialCheckpoint, type StoredTensor } from '../pretrained/official-checkpoint.js';
import { findCheckpoint, openCheckpointPart, readCheckpointRecord } from '../training/checkpoint.js';
import type { InitialWeights } from '../training/initial-weights.js';
import { type WeightsChoice, weightsName, weightsPart } from '../training/weights-choice.js';
import { chosenWeights, describeOfficial, type OfficialHints } from './official-run.js';

/**
 * Opens the weights to start a run from.
 * @param choice hints count for files: a folder tells what it holds
 * @throws MissingInputError when there are none; DataError when they are not those of a SiT or DiT; UsageError when
 *   what is asked for is not there
 */
export async function openInitialWeights(
  location: string,
  choice: OfficialHints & WeightsChoice,
): Promise<InitialWeights> {
  const isFolder = statSync(location, { throwIfNoEntry: false })?.isDirectory();
  return isFolder ? openFolder(location, choice) : openFile(location, choice);
}

async function openFolder(location: string, choice: WeightsChoice): Promise<InitialWeights> {
  const folder = findCheckpoint(location);
  const record = readCheckpointRecord(folder);
  const file = openCheckpointPart(folder, weightsPart(record, choice));
  const tensors = file.names.map((name) => [name, { ...file.info(name), read: () => file.read(name) }] as const);
  return {
    source: portablePath(folder),
    sha256: await sha256Of(file.path),
    record,
    weights: weightsName(record, choice),
    step: record.step,
    tensors: readable(new Map(tensors), folder),
    close: () => file.close(),
  };
}

async function openFile(
  location: string,
  { raw = false, ema, ...hints }: OfficialHints & WeightsChoice,
): Promise<InitialWeights> {
  const published = existsSync(location) ? undefined : REGISTRY.get(location);
  const file = published ? locateWeights(location) : location;
  const checkpoint = openOfficialCheckpoint(file, hints.key);
  try {
    const described = describeOfficial(checkpoint, { ...hints, model: hints.model ?? published?.model });
    const weights = chosenWeights(checkpoint, described, { raw, ema });
    return {
      source: published ? location : portablePath(file),
      sha256: await sha256Of(file),
      record: described.record,
      weights,
      step: checkpoint.step ?? null,
      tensors: readable(raw ? checkpoint.model : checkpoint.ema, file),
      close: () => checkpoint.close(),
    };
  } catch (error) {
    checkpoint.close();
    throw error;
  }
}

const readable = (tensors: ReadonlyMap<string, StoredTensor>, source: string): InitialWeights['tensors'] =>
  new Map(
    [...tensors].map(([name, tensor]) => [
      name,
      { shape: tensor.shape, read: () => checkFinite(toFloat32(tensor.read()), name, source) },
    ]),
  );
