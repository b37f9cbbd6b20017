/** Weights of networks on the host, their check against what a network needs, and their way into the engine. */
import { tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import type { Parameters } from '../nn/layers.js';
import { firstNonFinite } from '../numbers/finite.js';
import { sameShape, showShape } from '../numbers/typed-array.js';

export type { Parameters } from '../nn/layers.js';

export interface Weight {
  shape: readonly number[];
  /** Those of a weight in a file are read anew each time they are asked for. */
  readonly data: Float32Array<ArrayBufferLike>;
}

/** A state dict in f32: PyTorch's names and layouts, in the order of the model. */
export type Weights = Map<string, Weight>;

/** Names and shapes, of weights in memory or of a file that is not read yet. */
export type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** The name and shape of a parameter. */
export type Entry = [name: string, { shape: readonly number[] }];

export const vectorShapes = (name: string, dim: number): Entry[] => [[name, { shape: [dim] }]];

/** A linear layer. */
export const linearShapes = (name: string, outputs: number, inputs: number, bias = true): Entry[] => [
  [`${name}.weight`, { shape: [outputs, inputs] }],
  ...(bias ? vectorShapes(`${name}.bias`, outputs) : []),
];

/** An affine norm. */
export const normShapes = (name: string, dim: number): Entry[] => [
  ...vectorShapes(`${name}.weight`, dim),
  ...vectorShapes(`${name}.bias`, dim),
];

/** @throws DataError for a tensor that a network such as `what` has, and these weights have not */
export function requiredShape(shapes: Shapes, name: string, source: string, what: string): readonly number[] {
  const entry = shapes.get(name);
  if (entry) return entry.shape;
  throw new DataError(`${source}: not the weights of ${what}: ${name} is missing`);
}

/** How many numbered names `<prefix><n>.<rest>` there are, n = 0, 1, ... */
export function countLayers(shapes: Shapes, prefix: string, rest: string): number {
  let count = 0;
  while (shapes.has(`${prefix}${count}.${rest}`)) count++;
  return count;
}

/**
 * The values of a weight, checked to be finite.
 * @throws DataError naming the tensor of `source` that holds an infinity or NaN
 */
export function checkFinite(data: Float32Array, name: string, source: string): Float32Array {
  const index = firstNonFinite(data);
  if (index < 0) return data;
  throw new DataError(
    `${source}: element ${index} of ${name} is ${data[index]}, not a finite number`,
    'The run that made them diverged: take the weights of an earlier step.',
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
