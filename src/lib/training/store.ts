/** The parameters in training: drawn or restored from a checkpoint, and laid out as the files of a checkpoint. */

import { DataError } from '../errors.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { checkFinite } from '../models/parameters.js';
import { isFrozen, type ParameterPlan } from '../models/start.js';
import { firstNonFinite } from '../numbers/finite.js';
import { type Learning, ParameterStore, type StoredParameter } from '../optim/index.js';
import { type Network, networkParameters, startingNetwork } from '../repa/network.js';
import { averagePart, checkpointSteps, readCheckpointPart, readCheckpointRecord, stepFolder } from './checkpoint.js';
import { type InitialWeights, initialNetwork } from './initial-weights.js';
import type { RunRecord, TrainingSettings } from './record.js';

/** How a parameter is learned. Muon takes matrices between hidden states, not embeddings, the output or vectors. */
function learningOf(plan: ParameterPlan, optimizer: TrainingSettings['optimizer']): Learning {
  if (isFrozen(plan)) return 'frozen';
  return optimizer === 'muon' && plan.shape.length === 2 && plan.hidden ? 'muon' : 'adamw';
}

export interface StoreChoice {
  optimizer?: TrainingSettings['optimizer'];
  /** How many moving averages are kept. */
  averages?: number;
  /** Room to add up the gradients of several batches. */
  accumulation?: boolean;
  /** The first weights by name; zeros where they are not given. */
  weights?: Iterable<readonly [name: string, weight: { readonly data: Float32Array }]>;
}

/** The parameters of a network, with room for their gradients, moments and averages. */
export function modelStore(network: Network, choice: StoreChoice = {}): ParameterStore {
  const { optimizer = 'adamw', averages = 1, accumulation = false, weights } = choice;
  const specs = [...networkParameters(network)].map(([name, plan]) => {
    return { name, shape: plan.shape, learning: learningOf(plan, optimizer) };
  });
  const store = new ParameterStore(specs, { accumulation, averages });
  if (!weights) return store;
  const places = new Map(store.parameters.map((parameter) => [parameter.name, parameter]));
  // One by one: all of them at once would be in memory twice.
  for (const [name, { data }] of weights) {
    const { value, averages } = places.get(name)!;
    for (const array of [value, ...averages]) array.set(data);
  }
  store.refresh();
  return store;
}

const choiceOf = ({ training }: RunRecord, accumulation: boolean): StoreChoice => ({
  optimizer: training.optimizer,
  averages: training.emaDecays.length,
  accumulation,
});

/** The store of a run at its start: its weights drawn, or taken from elsewhere as far as they fit. */
export const freshStore = (record: RunRecord, accumulation: boolean, initial?: InitialWeights): ParameterStore =>
  modelStore(record, {
    ...choiceOf(record, accumulation),
    weights: initial ? initialNetwork(record, initial) : startingNetwork(record, record.training.seed),
  });

/** The arrays of a parameter by the file of a checkpoint that holds them, each with its name there. */
function storedArrays(
  { emaDecays }: TrainingSettings,
  { name, learning, value, averages, firstMoment, secondMoment }: StoredParameter,
): [part: string, name: string, array: Float32Array][] {
  const moments = {
    [learning === 'muon' ? `momentum.${name}` : `exp_avg.${name}`]: firstMoment,
    [`exp_avg_sq.${name}`]: secondMoment,
  };
  return [
    ['model', name, value],
    ...averages.map((array, i) => [averagePart(emaDecays, i), name, array] as [string, string, Float32Array]),
    ...Object.entries(moments).flatMap(([key, array]): [string, string, Float32Array][] =>
      array ? [['optimizer', key, array]] : [],
    ),
  ];
}

/** The arrays of each file of a checkpoint. */
export function checkpointParts(
  { training }: RunRecord,
  store: Pick<ParameterStore, 'parameters'>,
): Map<string, [name: string, tensor: HostTensor][]> {
  const parts = new Map<string, [string, HostTensor][]>();
  for (const parameter of store.parameters) {
    for (const [part, name, data] of storedArrays(training, parameter)) {
      const tensors = parts.get(part) ?? [];
      tensors.push([name, { shape: [...parameter.shape], dtype: 'f32', data }]);
      parts.set(part, tensors);
    }
  }
  return parts;
}

/** Bytes of the arrays of a checkpoint. */
export const checkpointBytes = (record: RunRecord, store: Pick<ParameterStore, 'parameters'>): number =>
  [...checkpointParts(record, store).values()].flat().reduce((sum, [, { data }]) => sum + data.byteLength, 0);

/**
 * Checks all arrays of a checkpoint before it is saved: one that is not finite would push out an older one that is.
 * @throws DataError naming the first array that is not finite, and the checkpoint that stays
 */
export function checkSavable(parts: ReturnType<typeof checkpointParts>, step: number, out: string): void {
  for (const [part, tensors] of parts) {
    for (const [name, { data }] of tensors) {
      const index = firstNonFinite(data as Float32Array);
      if (index < 0) continue;
      const newest = checkpointSteps(out).at(-1);
      const kept = newest === undefined ? 'There is no earlier one' : `The last one is ${stepFolder(out, newest)}`;
      throw new DataError(
        `the checkpoint of step ${step} is not saved: element ${index} of ${name} in its ${part} is ${data[index]}`,
        `${kept}. Lower --lr, or give --beta2, --clip and --warmup their defaults.`,
      );
    }
  }
}

/** @throws DataError when the checkpoint's arrays are not those of the model, or not finite */
export function restoreStore(record: RunRecord, checkpoint: string, accumulation: boolean): ParameterStore {
  const store = modelStore(record, choiceOf(record, accumulation));
  const { emaDecays: saved } = readCheckpointRecord(checkpoint).training;
  const { emaDecays: wanted } = record.training;
  // A run may go on with some of its averages, or another first: what they are, not where they stand, names their
  // files.
  const savedPart = new Map(wanted.map((each, i) => [averagePart(wanted, i), averagePart(saved, saved.indexOf(each))]));
  for (const [name, tensors] of checkpointParts(record, store)) {
    if (name === 'optimizer' && record.step === 0) continue; // weights from elsewhere: the moments start at zero
    const part = savedPart.get(name) ?? name;
    const places = new Map(tensors.map(([name, { data }]) => [name, data as Float32Array]));
    for (const [name, tensor] of readCheckpointPart(checkpoint, part)) {
      const place = places.get(name);
      if (place?.length !== tensor.data.length || !(tensor.data instanceof Float32Array)) {
        throw new DataError(`${checkpoint}: ${part}.safetensors: '${name}' is not an array of this model`);
      }
      place.set(checkFinite(tensor.data, name, `${checkpoint}: ${part}.safetensors`));
      places.delete(name);
    }
    const [missing] = places.keys();
    if (missing !== undefined) throw new DataError(`${checkpoint}: ${part}.safetensors: '${missing}' is missing`);
  }
  store.refresh();
  return store;
}
