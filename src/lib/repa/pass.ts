/** What the terms of a loss are made of: one pass of the network on a noisy batch. */
import { tf } from '../engine/index.js';
import type { Architecture, TransformerConfig } from '../models/dit-sizes.js';
import type { Parameters } from '../models/parameters.js';
import type { Term } from './term.js';
import type { AlignmentVariant } from './variant.js';

export const meanSquare = (predicted: tf.Tensor, wanted: tf.Tensor): tf.Tensor =>
  tf.mean(tf.squaredDifference(predicted, wanted));

/** The network that a method is part of. */
export interface Surroundings {
  architecture: Architecture;
  model: TransformerConfig;
  /** P + T, the tokens of an image with those before the patches. */
  tokens: number;
  /** What all methods together change in REPA's term. */
  variant: AlignmentVariant;
}

/** A prediction and its target, of one shape. */
export interface Predicted {
  predicted: tf.Tensor;
  wanted: tf.Tensor;
}

/** One pass of the network on a noisy batch of B images, as terms see it. */
export interface Pass extends Surroundings {
  p: Parameters;
  /** The tensors that the method drew, by name. */
  draws: Readonly<Record<string, tf.Tensor>>;
  /** Velocities of a SiT, noises of a DiT: [B, C, h, w], of the latents' own channels. */
  latents: Predicted;
  /** The latents without noise, [B, C, h, w]. */
  clean: tf.Tensor;
  /** The same for the channels that methods add, [B, K, h, w]. */
  channels?: Predicted;
  /** The velocities of what is generated beside the image, and its clean values: [B, Z] each. */
  companion?: Predicted & { clean: tf.Tensor };
  /** The tokens after block number `block`, [B, P + T, D]; fewer where some skip it. */
  hidden(block: number): tf.Tensor;
  /** Takes from values of all tokens [B, P + T, ...] those of the tokens that pass the block. */
  seen(values: tf.Tensor, block: number): tf.Tensor;
  /** The vector that modulates every block, [B, D]. */
  condition: tf.Tensor;
  /** Times of a SiT as training draws them, or steps of a DiT, and classes: [B] each. */
  times: tf.Tensor;
  labels: tf.Tensor;
  /** The velocity, or noise of a DiT, that the output of a further head stands for, [B, C, h, w]. */
  velocityOf(predicted: tf.Tensor): tf.Tensor;
  /** Features of each encoder [B, T, D], for methods that follow them. */
  features: readonly tf.Tensor[];
  /**
   * A pass of the network's moving average on the same images and noise at times `t` [B], for methods with a teacher.
   */
  average(t: tf.Tensor): Pick<Pass, 'hidden' | 'condition' | 'latents'>;
}

/** The tensors that methods drew, by method and name. */
export type MethodDraws = Readonly<Record<string, Readonly<Record<string, tf.Tensor>>>>;

/** A batch of B images as the loss takes it. */
export interface LossInputs {
  /** Clean latents [B, C, h, w], with the channels that methods add. */
  x: tf.Tensor;
  /** Standard normals [B, C, h, w]. */
  noise: tf.Tensor;
  /** Of SiT: times [B], 0 = data, 1 = noise. Of DiT: steps [B] int32 of 0..999. */
  t: tf.Tensor;
  /** Classes [B] int32, dropped ones already replaced by the null class; of an MM-DiT, captions [B, L, D]. */
  y: tf.Tensor;
  /** Features of each encoder, [B, T, D]; empty where none are followed. */
  features?: readonly tf.Tensor[];
  /** What is generated beside the images, and its noise, [B, Z] each. */
  companion?: { clean: tf.Tensor; noise: tf.Tensor };
  /** What methods drew. */
  draws?: MethodDraws;
}

/** A pass before any method's draws are joined to it, with the terms of the velocity or noise. */
export interface OwnPass {
  pass: Omit<Pass, 'draws'>;
  terms: Term[];
}
