/** Renames and reshapes the tensors of state dicts. */
import { DataError } from '../errors.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { Weight, Weights } from './parameters.js';

/** Replaces what the pattern matches in a name, as String.replace does. */
export type Rule = readonly [pattern: RegExp, replacement: string];

/**
 * The weights under the names that `rules`, each applied in turn, make of theirs.
 *
 * @throws DataError if two names become one.
 */
export function renamed(weights: Weights, rules: readonly Rule[]): Weights {
  const result: Weights = new Map();
  for (const [name, weight] of weights) {
    const target = rules.reduce((current, [pattern, replacement]) => current.replace(pattern, replacement), name);
    if (result.has(target)) throw new DataError(`two tensors of the file stand for ${target}; one is ${name}`);
    result.set(target, weight);
  }
  return result;
}

/**
 * The part of a state dict that holds one network, under its own names: what wrappers such as `module.` or
 * `base_encoder.` put in front of the first name that ends in one of `landmarks` is taken away, and tensors without
 * that prefix (a momentum copy, a predictor) are left out. Unchanged where no name has a landmark.
 */
export function unwrapped<T>(weights: ReadonlyMap<string, T>, landmarks: readonly string[]): Map<string, T> {
  const isLandmark = (name: string) => landmarks.find((end) => name === end || name.endsWith(`.${end}`));
  for (const name of weights.keys()) {
    const landmark = isLandmark(name);
    if (landmark === undefined) continue;
    const prefix = name.slice(0, name.length - landmark.length);
    const inside = [...weights].filter(([key]) => key.startsWith(prefix));
    return new Map(inside.map(([key, weight]) => [key.slice(prefix.length), weight]));
  }
  return new Map(weights);
}

/** The same elements in another shape. */
export const reshaped = (weight: Weight, shape: readonly number[]): Weight => ({
  shape,
  get data() {
    return weight.data;
  },
});

/** The part of a weight from row `first` up to, but without, row `end` of its first axis. */
export function rowsOf(weight: Weight, first: number, end: number): Weight {
  const [, ...rest] = weight.shape;
  const size = sizeOf(rest);
  return {
    shape: [end - first, ...rest],
    get data() {
      return weight.data.subarray(first * size, end * size);
    },
  };
}
