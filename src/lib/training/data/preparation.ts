/**
 * What methods compute from the data before the first step, such as principal components. It is kept in the checkpoints
 * of the run, and the data are read by it from then on.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { HostTensor } from '../../formats/host-tensor.js';
import { bytesOf, type TypedArray } from '../../numbers/typed-array.js';
import type { ProcessGroup } from '../../parallel/group.js';
import type { Besides, FeatureChannels } from '../../repa/method.js';
import { type ActiveMethod, activeMethods } from '../../repa/methods.js';
import { readCheckpointPart } from '../checkpoint.js';
import type { RunRecord } from '../record.js';
import type { TrainingSet } from './set.js';

export interface Prepared {
  /** What the data have to give besides latents, labels and features. */
  besides: Besides;
  /** The files of a checkpoint that hold it, by name. */
  parts: ReadonlyMap<string, [name: string, tensor: HostTensor][]>;
  /** Methods that have yet to compute what they need. */
  missing: readonly string[];
}

function preparedWith(active: readonly ActiveMethod[], found: ReadonlyMap<string, FeatureChannels>): Prepared {
  const parts = new Map<string, [string, HostTensor][]>();
  const missing: string[] = [];
  for (const { method } of active) {
    const own = found.get(method.name);
    if (method.prepare && own) parts.set(method.prepare.part, method.prepare.store(own));
    else if (method.prepare) missing.push(method.name);
  }
  const besides = active.map(({ method, settings }) => method.besides?.(settings, found.get(method.name)));
  return { besides: Object.assign({}, ...besides), parts, missing };
}

/** What methods have stored in a checkpoint, by their names. */
function readPrepared(active: readonly ActiveMethod[], checkpoint: string | undefined): Map<string, FeatureChannels> {
  const found = new Map<string, FeatureChannels>();
  for (const { method } of active) {
    const { prepare, name } = method;
    if (!prepare || !checkpoint || !existsSync(path.join(checkpoint, `${prepare.part}.safetensors`))) continue;
    found.set(name, prepare.restore(readCheckpointPart(checkpoint, prepare.part), checkpoint));
  }
  return found;
}

/** What a trained model needs of its data, as its checkpoint tells. */
export function storedPreparation({ methods }: Pick<RunRecord, 'methods'>, checkpoint: string): Prepared {
  const active = activeMethods(methods);
  return preparedWith(active, readPrepared(active, checkpoint));
}

/**
 * What the methods of a run need of its data: read from its checkpoint, else computed from the set, and the same on all
 * ranks. Needs a selected backend.
 */
export async function prepareMethods(
  { methods, training }: RunRecord,
  set: TrainingSet,
  checkpoint: string | undefined,
  group: ProcessGroup,
): Promise<Prepared> {
  const active = activeMethods(methods);
  const found = readPrepared(active, checkpoint);
  for (const { method, settings } of active) {
    const { prepare, name } = method;
    if (!prepare || found.has(name) || set.features.length === 0) continue;
    const own = await prepare.fit(settings, set, training.seed);
    for (const [, { data }] of prepare.store(own)) group.broadcast(bytesOf(data as TypedArray));
    found.set(name, own);
  }
  return preparedWith(active, found);
}
