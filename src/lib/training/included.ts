/** What a run's data hold besides latents and labels: found when it starts, kept in its checkpoints. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { PURPOSE, permutation } from '../numbers/random.js';
import type { ProcessGroup } from '../parallel/group.js';
import { readCheckpointPart } from './checkpoint.js';
import type { Included, TrainingSet } from './dataset.js';
import {
  type FeatureComponents,
  FeatureMoments,
  principalComponents,
  restoreComponents,
} from './feature-components.js';
import type { RunRecord } from './settings.js';

/** Name of the file of a checkpoint that holds the components of features. */
export const COMPONENTS_PART = 'components';

/** The images whose features the components are fitted to, and how many of them at a time. */
const FITTED_IMAGES = 2048;
const FITTED_AT_A_TIME = 32;

/**
 * What the data of a run have to hold: components are those of its checkpoint, or fitted to the set's features, and the
 * same on all ranks. Needs a selected backend.
 */
export async function includedIn(
  record: RunRecord,
  set: TrainingSet,
  checkpoint: string | undefined,
  group: ProcessGroup,
): Promise<Included> {
  const kept = storedIncluded(record, checkpoint);
  const { representation } = record.training;
  if (!representation || kept.components || set.features.length === 0) return kept;
  const components = await fitComponents(set, representation.channels, record.training.seed);
  for (const array of [components.weight, components.bias]) {
    group.broadcast(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  }
  return { ...kept, components };
}

/** What the data of a trained model have to hold, as its checkpoint tells. */
export function storedIncluded({ model, training }: RunRecord, checkpoint: string | undefined): Included {
  const classToken = (model.classTokenDim ?? 0) > 0;
  if (!training.representation || !checkpoint || !existsSync(path.join(checkpoint, `${COMPONENTS_PART}.safetensors`))) {
    return { classToken };
  }
  return { classToken, components: restoreComponents(readCheckpointPart(checkpoint, COMPONENTS_PART), checkpoint) };
}

/** The components of the first encoder's features, on images drawn from the set. */
async function fitComponents(set: TrainingSet, channels: number, seed: number): Promise<FeatureComponents> {
  const [{ dim }] = set.features;
  const moments = new FeatureMoments(dim);
  const images = permutation(set.rows, seed, PURPOSE.components, 0).subarray(0, FITTED_IMAGES).sort();
  for (let start = 0; start < images.length; start += FITTED_AT_A_TIME) {
    moments.add(await set.readFeatures(images.subarray(start, start + FITTED_AT_A_TIME), 0));
  }
  return principalComponents(moments, channels, seed);
}
