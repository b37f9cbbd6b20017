/** An official checkpoint as a training folder of ours, so that it can be trained on, probed and sampled like one. */
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { UsageError } from '../errors.js';
import { readChecksums } from '../files/checksums.js';
import { portablePath } from '../files/portable-path.js';
import { temporaryName } from '../files/temporary-files.js';
import { toFloat32 } from '../formats/host-tensor.js';
import type { LazyTensor } from '../formats/safetensors.js';
import { locateWeights } from '../hub/locate.js';
import { REGISTRY } from '../hub/registry.js';
import { checkFinite, matchWeights, type Shapes } from '../models/parameters.js';
import { isFrozen, type ParameterPlan } from '../models/start.js';
import {
  type OfficialCheckpoint,
  openOfficialCheckpoint,
  type StateDict,
  type StoredTensor,
} from '../pretrained/official-checkpoint.js';
import { networkParameters } from '../repa/network.js';
import { checkpointSteps, saveCheckpoint, stepFolder } from '../training/checkpoint.js';
import type { RunRecord, WeightsOrigin } from '../training/record.js';
import { describeOfficial, type OfficialHints } from './official-run.js';

export interface ImportedCheckpoint {
  /** Where it was written. */
  folder: string;
  record: RunRecord;
  /** Whether the optimiser's state came along. */
  hasMoments: boolean;
  /** What the file does not tell, and what of it is left out. */
  notes: string[];
}

/**
 * Imports a file, or weights that were pulled by their name, to `folder/step-...`: weights, their moving average (the
 * same where the file has one set) and the optimiser's moments where it has them. Without moments, training from here
 * starts at step 0.
 * @throws UsageError when `folder` holds a run already, or what the hints say is not so; DataError when the file does
 *   not hold the model that it seems to, or weights that are not finite
 */
export function importCheckpoint(input: string, folder: string, hints: OfficialHints): ImportedCheckpoint {
  const published = existsSync(input) ? undefined : REGISTRY.get(input);
  const file = published ? locateWeights(input) : input;
  const checkpoint = openOfficialCheckpoint(file, hints.key);
  try {
    const moments = checkpoint.optimiser?.moments;
    const described = describeOfficial(checkpoint, { ...hints, model: hints.model ?? published?.model });
    const { step, images } = moments ? described.record : { step: 0, images: 0 };
    const record: RunRecord = {
      ...described.record,
      step,
      images,
      origin: originOf(input, checkpoint, described.weights, step),
    };
    checkCodec(record, hints, file);
    const expected = networkParameters(record);
    const arrays = (tensors: StateDict, shapes: Shapes) =>
      [...matchWeights(tensors, shapes, file)].map(([name, tensor]) => [name, asFloats(tensor, name, file)] as const);
    const parts = new Map([
      ['model', arrays(checkpoint.model, expected)],
      ['ema', arrays(checkpoint.ema, expected)],
    ]);
    if (moments) parts.set('optimizer', arrays(moments, momentShapes(expected)));
    const notes = notesOn(checkpoint, described.weights.ema, record);
    return { folder: saveOnce(folder, record, parts), record, hasMoments: moments !== undefined, notes };
  } finally {
    checkpoint.close();
  }
}

/**
 * Saves a checkpoint where there is none yet. What a run before has saved whole stays as it is, if it is the same: an
 * import that was killed at its end can be run again.
 */
function saveOnce(folder: string, record: RunRecord, parts: Parameters<typeof saveCheckpoint>[2]): string {
  const steps = checkpointSteps(folder);
  if (steps.length === 0) return saveCheckpoint(folder, record, parts, 1);
  if (steps.length === 1 && steps[0] === record.step) {
    const before = stepFolder(folder, record.step);
    const again = temporaryName(path.join(folder, 'import'));
    try {
      const made = saveCheckpoint(again, record, parts, 1);
      if (readChecksums(before) === readChecksums(made)) return before;
    } finally {
      rmSync(again, { recursive: true, force: true });
    }
  }
  throw new UsageError(`${folder} holds checkpoints already`, 'Choose another folder with --out.');
}

const asFloats = (tensor: StoredTensor, name: string, file: string): LazyTensor => ({
  shape: tensor.shape,
  dtype: 'f32',
  load: () => checkFinite(toFloat32(tensor.read()), name, file),
});

/** @throws UsageError for a codec that is not that of the record, which an exported file tells */
function checkCodec({ latent, data }: RunRecord, { codec = {} }: OfficialHints, file: string): void {
  const told = data.latents.metadata['repa.model'];
  const facts = [
    ['--vae', codec.name, told],
    ['--latent-scale', codec.scale, latent.scale],
    ['--latent-shift', codec.shift, latent.shift],
  ] as const;
  for (const [flag, given, own] of facts) {
    if (given === undefined || own === undefined || String(given) === String(own)) continue;
    throw new UsageError(`${flag} ${given}: ${file} tells that its latents are of ${own}`, 'Drop it.');
  }
}

/** The origin of the weights, for the record. */
const originOf = (
  input: string,
  { model, step }: OfficialCheckpoint,
  weights: WeightsOrigin['weights'],
  at: number,
): WeightsOrigin => ({
  ...{ by: 'import', source: portablePath(input), sha256: null, step: step ?? null, weights, at },
  ...{ taken: model.size, adapted: [], fresh: [], left: [] },
});

/** Notes for training from these weights. */
function notesOn({ optimiser, holds }: OfficialCheckpoint, weights: string, { training }: RunRecord): string[] {
  const [decay] = training.emaDecays;
  return [
    ...(optimiser?.problem ? [`its optimiser's state is left out: ${optimiser.problem}`] : []),
    ...(holds === 'one' ? [`it has one set of weights (${weights}), which becomes the moving average too`] : []),
    ...(weights === 'ema' ? [`it does not tell the decay of its moving average: training goes on with ${decay}`] : []),
  ];
}

const momentShapes = (parameters: ReadonlyMap<string, ParameterPlan>): Shapes =>
  new Map(
    [...parameters]
      .filter(([, plan]) => !isFrozen(plan))
      .flatMap(([name, { shape }]) => [
        [`exp_avg.${name}`, { shape }],
        [`exp_avg_sq.${name}`, { shape }],
      ]),
  );
