/** What a follow-up may change in REPA's term: its projector, its targets, a further term. */
import type { tf } from '../engine/index.js';
import type { Parameters } from '../models/parameters.js';
import type { PlannedParameter } from '../models/start.js';
import type { Term } from './term.js';

/** What maps hidden states to features: a perceptron, or a convolution. */
export interface Projector {
  parameters(name: string, hiddenSize: number, dim: number): PlannedParameter[];
  /** Tokens of the aligned block, [B, P + T, D], to [B, P + T, dim], or to [B, T, dim] if it takes patches alone. */
  project(p: Parameters, name: string, tokens: tf.Tensor): tf.Tensor;
  patchesAlone: boolean;
}

export interface AlignmentVariant {
  projector?: Projector;
  /** Turns features into the targets that take their place, [B, T, D] both. */
  target?(features: tf.Tensor): tf.Tensor;
  /** A further term, whose weight has `lambda` as a factor. */
  term?(projected: readonly tf.Tensor[], targets: readonly tf.Tensor[], lambda: number): Term;
}
