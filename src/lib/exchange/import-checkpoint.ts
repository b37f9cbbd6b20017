/** An official checkpoint as a training folder of ours, so that it can be trained on, probed and sampled like one. */
import { existsSync } from 'node:fs';
import { UsageError } from '../errors.js';
import { toFloat32 } from '../formats/host-tensor.js';
import type { LazyTensor } from '../formats/safetensors.js';
import { locateWeights } from '../hub/locate.js';
import { REGISTRY } from '../hub/registry.js';
import { matchWeights, type Shapes } from '../models/parameters.js';
import { isFrozen, type ParameterPlan } from '../models/start.js';
import { openOfficialCheckpoint, type StateDict, type StoredTensor } from '../pretrained/official-checkpoint.js';
import { networkParameters } from '../repa/network.js';
import { checkpointSteps, saveCheckpoint } from '../training/checkpoint.js';
import type { RunRecord } from '../training/record.js';
import { describeOfficial, type OfficialHints } from './official-run.js';

export interface ImportedCheckpoint {
  /** Where it was written. */
  folder: string;
  record: RunRecord;
  /** Whether the optimiser's state came along. */
  hasMoments: boolean;
}

/**
 * Imports a file, or weights that were pulled by their name, to `folder/step-...`: weights, their moving average (the same where the file has one set) and the optimiser's
 * moments where it has them. Without moments, training from here starts at step 0.
 * @throws UsageError when `folder` holds a run already; DataError when the file does not hold the model that it seems to
 */
export function importCheckpoint(input: string, folder: string, hints: OfficialHints): ImportedCheckpoint {
  if (checkpointSteps(folder).length > 0) {
    throw new UsageError(`${folder} holds checkpoints already`, 'Choose another folder with --out.');
  }
  const published = existsSync(input) ? undefined : REGISTRY.get(input);
  const file = published ? locateWeights(input) : input;
  const checkpoint = openOfficialCheckpoint(file);
  try {
    const { moments } = checkpoint;
    const described = describeOfficial(checkpoint, { ...hints, model: hints.model ?? published?.model });
    const { training } = described;
    const record: RunRecord = {
      ...described,
      step: moments ? described.step : 0,
      training: { ...training, emaDecays: training.emaDecays.slice(0, 1) }, // there is one average
    };
    const expected = networkParameters(record);
    const arrays = (tensors: StateDict, shapes: Shapes) =>
      [...matchWeights(tensors, shapes, file)].map(([name, tensor]) => [name, asFloats(tensor)] as const);
    const parts = new Map([
      ['model', arrays(checkpoint.model, expected)],
      ['ema', arrays(checkpoint.ema, expected)],
    ]);
    if (moments) parts.set('optimizer', arrays(moments, momentShapes(expected)));
    return { folder: saveCheckpoint(folder, record, parts, 1), record, hasMoments: moments !== undefined };
  } finally {
    checkpoint.close();
  }
}

const asFloats = (tensor: StoredTensor): LazyTensor => ({
  shape: tensor.shape,
  dtype: 'f32',
  load: () => toFloat32(tensor.read()),
});

const momentShapes = (parameters: ReadonlyMap<string, ParameterPlan>): Shapes =>
  new Map(
    [...parameters]
      .filter(([, plan]) => !isFrozen(plan))
      .flatMap(([name, { shape }]) => [
        [`exp_avg.${name}`, { shape }],
        [`exp_avg_sq.${name}`, { shape }],
      ]),
  );
