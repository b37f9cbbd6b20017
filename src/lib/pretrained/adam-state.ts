/** The state that PyTorch's Adam saved of each parameter, found by the numbers or names in its groups. */
import { isDict, type PickleDict } from '../formats/pickle.js';
import { TorchTensor } from '../formats/torch-tensor.js';
import { sameShape } from '../numbers/typed-array.js';
import { isTrained, type StateDict, type StoredTensor, trainedNames, unwrappedName } from './weight-sets.js';

/** An optimiser's state, or why it cannot be used. */
export interface AdamState {
  /** `exp_avg.<name>` and `exp_avg_sq.<name>` of each trained parameter; undefined where they cannot be had. */
  moments: StateDict | undefined;
  /** Steps that were taken, where the file tells. */
  step: number | undefined;
  /** Why there are no moments. */
  problem?: string;
}

/**
 * The moments of an optimiser's state dict.
 * @param weights of the model, in the order of the module, by which PyTorch numbers parameters
 * @returns undefined where there is no state at all
 */
export function readAdam(saved: unknown, weights: StateDict): AdamState | undefined {
  const state = isDict(saved) && isDict(saved.state) ? Object.entries(saved.state) : [];
  if (state.length === 0) return undefined;
  const entries = state.map(([key, value]): [string, PickleDict] => [key, isDict(value) ? value : {}]);
  const step = entries.map(([, entry]) => stepOf(entry)).find((value) => value !== undefined);
  const without = (problem: string): AdamState => ({ moments: undefined, step, problem });
  const other = entries.find(
    ([, entry]) => !(entry.exp_avg instanceof TorchTensor && entry.exp_avg_sq instanceof TorchTensor),
  );
  if (other) {
    const kept = Object.keys(other[1]).slice(0, 4).join(', ');
    return without(`it keeps ${kept || 'nothing'} of a parameter, not the exp_avg and exp_avg_sq of Adam`);
  }
  const isNamed = entries.every(([key]) => weights.has(unwrappedName(key))); // as sharded training gathers it
  const names = isNamed ? new Map<number, string>() : namesOfParameters(saved as PickleDict, weights);
  if (!names) return without('its groups do not tell which of its parameters is which');
  const moments = new Map<string, StoredTensor>();
  for (const [key, entry] of entries) {
    const name = /^\d+$/.test(key) ? names.get(Number(key)) : unwrappedName(key);
    const [first, second] = [entry.exp_avg as TorchTensor, entry.exp_avg_sq as TorchTensor];
    const shape = name === undefined ? undefined : weights.get(name)?.shape;
    if (name === undefined || !shape || ![first, second].every((moment) => sameShape(moment.shape, shape))) {
      return without(`what it keeps of ${name ?? `parameter number ${key}`} is of another shape`);
    }
    if (isTrained(name)) moments.set(`exp_avg.${name}`, first).set(`exp_avg_sq.${name}`, second);
  }
  const missing = trainedNames(weights).find((name) => !moments.has(`exp_avg.${name}`));
  return missing === undefined ? { moments, step } : without(`it keeps nothing of ${missing}`);
}

function stepOf({ step }: PickleDict): number | undefined {
  const value = step instanceof TorchTensor && step.shape.length === 0 ? Number(step.read().data[0]) : step;
  return Number.isSafeInteger(value) ? (value as number) : undefined;
}

/**
 * The name of each numbered parameter: as the groups tell it, or in the order of the module, where one group has all
 * parameters or all that are trained. Undefined where neither is so.
 */
function namesOfParameters({ param_groups: groups }: PickleDict, weights: StateDict): Map<number, string> | undefined {
  if (!Array.isArray(groups) || !groups.every(isDict)) return undefined;
  const numbers = groups.flatMap(({ params }) => (Array.isArray(params) ? params : []));
  const told = groups.flatMap(({ param_names: names }) => (Array.isArray(names) ? names : []));
  const inOrder = [[...weights.keys()], trainedNames(weights)].find(({ length }) => length === numbers.length);
  const names = told.length === numbers.length ? told : groups.length === 1 ? inOrder : undefined;
  return names && new Map(numbers.map((number, i) => [Number(number), unwrappedName(String(names[i]))]));
}
