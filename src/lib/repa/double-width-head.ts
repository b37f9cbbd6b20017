/** The head of SRA and of Self-Flow: a perceptron of one hidden layer, twice as wide as the network. */
import type { tf } from '../engine/index.js';
import { linearPlan, type PlannedParameter } from '../models/start.js';
import { dense, type Parameters } from '../nn/layers.js';

/** The parameters of the head `name` on tokens of width `hiddenSize`. */
export const headPlan = (name: string, hiddenSize: number): PlannedParameter[] => [
  ...linearPlan(`${name}.linear1`, 2 * hiddenSize, hiddenSize, 'xavier'),
  ...linearPlan(`${name}.linear2`, hiddenSize, 2 * hiddenSize, 'xavier'),
];

/** The head `name` on tokens `x` [B, T, D]: [B, T, D]. */
export const throughHead = (p: Parameters, name: string, x: tf.Tensor): tf.Tensor =>
  dense(p, `${name}.linear2`, dense(p, `${name}.linear1`, x), 'silu');
