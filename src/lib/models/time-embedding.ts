/** The embedding of time: sinusoids, or random Fourier features (RAE's code), through a perceptron. */
import { tf } from '../engine/index.js';
import { fourierFeatures, timestepEmbedding } from '../nn/embeddings.js';
import { dense, type Parameters, parameter } from '../nn/layers.js';
import { leadEmbedding, leadPlan } from './channel-times.js';
import type { TransformerConfig } from './dit-sizes.js';
import { linearPlan, type PlannedParameter } from './start.js';

/** Width of the sinusoids, before the perceptron. */
const SINUSOIDS = 256;

/** Frequencies of random Fourier features, of which each gives a sine and a cosine. */
const FOURIER_FREQUENCIES = 256;

export function timePlan({ hiddenSize, timeEmbedding, lead }: TransformerConfig): PlannedParameter[] {
  const features = timeEmbedding === undefined ? SINUSOIDS : 2 * FOURIER_FREQUENCIES;
  if (lead) return leadPlan(hiddenSize, features);
  return [
    ...(timeEmbedding === undefined
      ? []
      : [['t_embedder.W', { shape: [FOURIER_FREQUENCIES], start: 'frequencies' }] as PlannedParameter]),
    ...linearPlan('t_embedder.mlp.0', hiddenSize, features, 'normal'),
    ...linearPlan('t_embedder.mlp.2', hiddenSize, hiddenSize, 'normal'),
  ];
}

/** The embedding of times `t` [B] or [B, T]: [B, D] or [B, T, D]. */
export function timeEmbedding(p: Parameters, config: TransformerConfig, t: tf.Tensor): tf.Tensor {
  if (config.lead) return leadEmbedding(p, config, t, SINUSOIDS);
  const features =
    config.timeEmbedding === 'fourier'
      ? fourierFeatures(t, parameter(p, 't_embedder.W'))
      : timestepEmbedding(t, SINUSOIDS); // [B, F] or [B T, F]
  const embedded = dense(p, 't_embedder.mlp.2', dense(p, 't_embedder.mlp.0', features), 'silu'); // [B, D] or [B T, D]
  return t.rank === 1 ? embedded : tf.reshape(embedded, [...t.shape, embedded.shape[1]!]);
}
