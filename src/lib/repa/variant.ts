/** What a follow-up may vary of REPA's term: its projector, its targets, a further term. */
import type { tf } from '../engine/index.js';
import type { Parameters } from '../models/parameters.js';
import type { PlannedParameter } from '../models/start.js';
import type { Term } from './term.js';

/** A perceptron or the like between hidden states and features. */
export interface Projector {
  parameters(name: string, hiddenSize: number, dim: number): PlannedParameter[];
  /** Tokens of the aligned block, [B, P + T, D], to [B, P + T, dim], or to [B, T, dim] if it takes patches alone. */
  project(p: Parameters, name: string, tokens: tf.Tensor): tf.Tensor;
  patchesAlone: boolean;
}

/** What a follow-up varies of REPA's term. */
export interface AlignmentVariant {
  projector?: Projector;
  /** What is followed in place of the features [B, T, D]. */
  target?(features: tf.Tensor): tf.Tensor;
  /** A further term, within lambda. */
  term?(projected: readonly tf.Tensor[], targets: readonly tf.Tensor[], lambda: number): Term;
}
