/** The kinds of norms and perceptrons that a block may have: DiT's, or LightningDiT's (arXiv 2501.01423). */
import { rmsNorm, type tf } from '../engine/index.js';
import { layerNorm } from '../nn/functional.js';
import { mlp, type NormKind, type Parameters, rmsNormed, swiglu } from '../nn/layers.js';
import { affineNorm, gatedUnits, type TransformerConfig } from './dit-sizes.js';
import { linearPlan, normPlan, type PlannedParameter } from './start.js';

const EPSILON = 1e-6;

/** The kind of the norm of queries and keys; null for none. */
export const headNorm = (config: TransformerConfig): NormKind | null =>
  config.qkNorm ? (config.qkNormKind ?? affineNorm(config)) : null;

/** The parameters of a norm before a modulation: a scale if it is an RMS norm with one, else none. */
export const plainNormPlan = (name: string, { norm, hiddenSize }: TransformerConfig): PlannedParameter[] =>
  norm === 'rms' ? normPlan(name, hiddenSize, norm) : [];

/** The norm `name` before a modulation: `x` [B, T, D] to [B, T, D]. */
export function normalised(p: Parameters, name: string, { norm }: TransformerConfig, x: tf.Tensor): tf.Tensor {
  if (norm === 'rms') return rmsNormed(p, name, x, EPSILON);
  return norm === 'layer' ? layerNorm(x, { epsilon: EPSILON }) : rmsNorm(x, EPSILON);
}

export function feedForwardPlan(
  name: string,
  { hiddenSize, mlpRatio, feedForward }: TransformerConfig,
): PlannedParameter[] {
  if (feedForward === 'gelu') {
    const inner = Math.trunc(hiddenSize * mlpRatio);
    return [
      ...linearPlan(`${name}.fc1`, inner, hiddenSize, 'xavier'),
      ...linearPlan(`${name}.fc2`, hiddenSize, inner, 'xavier'),
    ];
  }
  const gated = gatedUnits(hiddenSize, mlpRatio);
  return [
    ...linearPlan(`${name}.w12`, 2 * gated, hiddenSize, 'xavier'),
    ...linearPlan(`${name}.w3`, hiddenSize, gated, 'xavier'),
  ];
}

export const feedForward = (p: Parameters, name: string, config: TransformerConfig, x: tf.Tensor): tf.Tensor =>
  config.feedForward === 'swiglu' ? swiglu(p, name, x) : mlp(p, name, x, 'tanh');
