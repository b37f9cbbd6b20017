/** Weights of networks on the host, their check against what a network needs, and their way into the engine. */
import { tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import type { Parameters } from '../nn/layers.js';
import { firstNonFinite } from '../numbers/finite.js';
import { sameShape, showShape } from '../numbers/typed-array.js';

export type { Parameters } from '../nn/layers.js';

export interface Weight {
  shape: readonly number[];
  /** Of a weight in a file: read anew each time it is asked for. */
  readonly data: Float32Array<ArrayBufferLike>;
}

/** A state dict in f32: PyTorch's names and layouts, in the order of the model. */
export type Weights = Map<string, Weight>;

/** Names and shapes, of weights in memory or of a file that is not read yet. */
export type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** How many numbered names `<prefix><n>.<rest>` there are, n = 0, 1, ... */
export function countLayers(shapes: Shapes, prefix: string, rest: string): number {
  let count = 0;
  while (shapes.has(`${prefix}${count}.${rest}`)) count++;
  return count;
}

/**
 * Values of a weight, which are numbers.
 * @throws DataError naming the tensor of `source` that holds an infinity or NaN
 */
export function checkFinite(data: Float32Array, name: string, source: string): Float32Array {
  const index = firstNonFinite(data);
  if (index < 0) return data;
  throw new DataError(
    `${source}: element ${index} of ${name} is ${data[index]}, not a finite number`,
    'Weights of a run that diverged: take those of an earlier step.',
  );
}

/** The weights as tensors; dispose them with `tf.dispose(Object.values(parameters))`. */
export function toParameters(weights: Weights): Parameters {
  const tensors: Record<string, tf.Tensor> = {};
  for (const [name, { shape, data }] of weights) tensors[name] = tf.keep(tf.tensor(data, [...shape], 'float32'));
  return tensors;
}

// A wrong file differs in every name: the first few tell the story.
const SHOWN = 8;

function listed(title: string, items: readonly string[]): string[] {
  if (items.length === 0) return [];
  const more = items.length > SHOWN ? [`  ... and ${items.length - SHOWN} more`] : [];
  return [`${items.length} ${title}:`, ...items.slice(0, SHOWN).map((item) => `  ${item}`), ...more];
}

/**
 * The weights that `expected` asks for, in its order; in memory, or of a file and not read yet.
 *
 * @param source names the file in the message.
 * @param ignored tells which further names may be there unused (a training head, for instance).
 * @throws DataError that lists all missing, unexpected and mis-shaped names.
 */
export function matchWeights<T extends { readonly shape: readonly number[] }>(
  weights: ReadonlyMap<string, T>,
  expected: Shapes,
  source: string,
  ignored: (name: string) => boolean = () => false,
): Map<string, T> {
  const matched = new Map<string, T>();
  const missing: string[] = [];
  const misshaped: string[] = [];
  for (const [name, { shape }] of expected) {
    const weight = weights.get(name);
    if (!weight) missing.push(name);
    else if (!sameShape(weight.shape, shape)) {
      misshaped.push(`${name} is ${showShape(weight.shape)}, not ${showShape(shape)}`);
    } else matched.set(name, weight);
  }
  const unexpected = [...weights.keys()].filter((name) => !expected.has(name) && !ignored(name));
  const problems = [
    ...listed('missing', missing),
    ...listed('of another shape', misshaped),
    ...listed('unexpected', unexpected),
  ];
  if (problems.length > 0) {
    throw new DataError(
      `${source}: the weights do not fit the model\n${problems.join('\n')}`,
      'Check that the file holds this architecture (repa info FILE lists its tensors).',
    );
  }
  return matched;
}
